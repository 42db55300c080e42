//! The way to a session from its thread, whatever serves it.

use std::rc::Rc;
use std::time::Instant;

use actix::dev::ToEnvelope;
use actix::{Addr, Context, Handler, Message};

use super::connection::Connection;
use super::{EchoSession, OwnSession, Shared};
use crate::actors::admission::Admission;
use crate::net::reactor::Registration;
use crate::supervision::{SessionClock, Stamp};

/// The way to a session of this thread. There is no other: a message that came
/// past it would lie unseen.
pub(crate) struct SessionHandle {
    pub(super) mailbox: Mailbox,
    pub(super) shared: Rc<Shared>,
}

pub(super) enum Mailbox {
    Echo(Addr<EchoSession>, Registration),
    Own(Box<(Addr<OwnSession>, Rc<Connection>)>),
}

impl SessionHandle {
    /// What its deadlines are measured from.
    pub(crate) fn clock(&self) -> &SessionClock {
        &self.shared.clock
    }

    /// Gives the endpoint's meter what moved since the last time.
    pub(crate) fn settle(&self, at: Stamp) {
        self.shared.settle(at);
    }

    /// Counts it among the sessions of its source.
    pub(crate) fn count_source(&self, admission: &Admission) {
        self.shared.count_source(admission);
    }

    /// Says whether its service or its endpoint drains, to a session that listens
    /// to that. It begins to be quiet when it hears so.
    pub(crate) fn drains(&self, drains: bool, now: Instant) {
        if let Mailbox::Own(own) = &self.mailbox {
            own.1.drains(drains, now);
        }
    }

    /// Sends a message, which is lost where the mailbox is full: false then.
    pub(crate) fn tell<M>(&self, message: M) -> bool
    where
        M: Message + Send + 'static,
        M::Result: Send,
        EchoSession: Handler<M>,
        OwnSession: Handler<M>,
        Context<EchoSession>: ToEnvelope<EchoSession, M>,
        Context<OwnSession>: ToEnvelope<OwnSession, M>,
    {
        self.shared.has_mail.set(true);
        match &self.mailbox {
            Mailbox::Echo(addr, registration) => {
                registration.call();
                addr.try_send(message).is_ok()
            }
            Mailbox::Own(own) => own.0.try_send(message).is_ok(),
        }
    }
}
