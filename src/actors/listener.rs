//! A bound TCP endpoint: accepts connections and starts their sessions.
//!
//! Takes a ticket before each accept: with `on_limit = "wait"` clients beyond the
//! limit wait in the kernel's backlog. Never reads or writes a connection.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};
use std::time::Instant;

use actix::fut::ActorFuture;
use actix::{Actor, ActorContext, AsyncContext, Context, Handler};

use super::admission::{self, Ticket, TicketQueue};
use super::local::WorkerLocal;
use super::protocol::{
    CloseListener, GroupRuntime, LookAgain, OpenOrder, SessionAccepted, SessionFailed,
};
use super::session::{Accepted, Served};
use super::share::WorkerShare;
use crate::net::accept::shortage::Turn;
use crate::net::accept::{AcceptClass, Acceptor, Connection, Step, classify, poll_step};
use crate::spec::Endpoint;
use crate::supervision::{Fault, FaultKind, Meter, Place};

/// Accepts in a row before other tasks of the thread have their turn.
const ACCEPTS_A_TURN: usize = 16;

/// The listener of one TCP endpoint.
pub(crate) struct Listener {
    place: Place,
    /// Of the lease under which it serves.
    epoch: u64,
    group: Arc<GroupRuntime>,
    meter: Meter,
    local: Rc<WorkerLocal>,
    acceptor: Acceptor,
}

impl Listener {
    pub(crate) fn new(
        (place, epoch): (Place, u64),
        order: OpenOrder,
        local: Rc<WorkerLocal>,
        acceptor: Acceptor,
    ) -> Self {
        let OpenOrder { group, meter, .. } = order;
        Self { place, epoch, group, meter, local, acceptor }
    }

    /// Starts a session for a client, or refuses it.
    fn serve(&self, (stream, peer): Connection, ticket: Ticket) {
        let share = &self.local.share;
        match share.admission.seat(peer.ip(), &self.group.datagrams.sources, ticket) {
            Ok(seat) => {
                let (endpoint, meter) = (self.endpoint(), self.meter.clone());
                let served = Served { endpoint, place: self.place, meter };
                let (group, accepted) = (Arc::clone(&self.group), Accepted { stream, peer, seat });
                self.local.place_session(SessionAccepted { served, group, accepted });
            }
            Err(refusal) => {
                self.meter.session_refused(peer, self.local.stamp());
                if let Some(records) = &share.records {
                    let to = (&self.endpoint(), &self.group.name);
                    records.never_served(to, peer, || stream.local_addr(), refusal.into());
                }
                admission::refuse(share, &stream, peer.ip(), refusal);
            }
        }
    }

    fn endpoint(&self) -> Endpoint {
        self.acceptor.bound().endpoint()
    }

    /// Tells the error log that an accept(2) failed.
    fn report(&self, kind: FaultKind, error: &std::io::Error) {
        let fault = Fault { kind, errno: error.raw_os_error().unwrap_or(0) };
        let endpoint = self.endpoint();
        self.local.report_session(SessionFailed {
            endpoint,
            peer: None,
            fault,
            panic: None,
            error: None,
        });
    }

    /// Starts a session for each client that the backlog still holds: closing
    /// the socket would reset them.
    fn empty_backlog(&self) {
        self.acceptor.set_options(self.local.share.settings.stream());
        // Those that wait now, and no more: under a flood there is always one
        // more, and what refuses accept(2) itself takes none away.
        for _ in 0..self.acceptor.waiting() {
            let Some(ticket) = self.local.share.admission.try_ticket() else { break };
            match self.acceptor.try_accept() {
                Ok(Some(connection)) => self.serve(connection, ticket),
                Ok(None) => break,
                Err(error) => match error.raw_os_error().map(classify) {
                    Some(AcceptClass::Retry) => {}
                    Some(AcceptClass::Pause | AcceptClass::Fatal) | None => break,
                },
            }
        }
    }
}

impl Actor for Listener {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let tickets = TicketQueue::new(&self.local.share.admission);
        let turn = Turn::new(Rc::clone(&self.local.shortage));
        ctx.spawn(Serve { tickets, turn, may_try: false });
    }
}

impl Handler<CloseListener> for Listener {
    type Result = ();

    fn handle(&mut self, close: CloseListener, ctx: &mut Self::Context) {
        if self.local.empties(close) {
            self.empty_backlog();
        }
        ctx.stop();
    }
}

impl Handler<LookAgain> for Listener {
    type Result = ();

    /// It was polled for the message, and so was what waits for room.
    fn handle(&mut self, _look: LookAgain, _ctx: &mut Self::Context) {}
}

/// Waits for a client, then for its turn in a shortage, then for a ticket, then
/// accepts.
struct Serve {
    tickets: TicketQueue,
    turn: Turn,
    /// It is its turn, and only a ticket is missing. The turn is not waited for
    /// again then: whoever holds up a ticket would hold up all who need one.
    may_try: bool,
}

impl ActorFuture<Listener> for Serve {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        listener: &mut Listener,
        ctx: &mut Context<Listener>,
        task: &mut Task<'_>,
    ) -> Poll<()> {
        ready!(listener.local.poll_gate(task));
        let WorkerShare { admission, settings, .. } = &listener.local.share;
        listener.acceptor.set_options(settings.stream());
        for _ in 0..ACCEPTS_A_TURN {
            if !self.may_try {
                if ready!(listener.acceptor.poll_ready(task)).is_err() {
                    // The runtime is shutting down.
                    return Poll::Ready(());
                }
                ready!(self.turn.poll(task));
                self.may_try = true;
            }
            let Some(ticket) = ready!(self.tickets.poll_ticket(admission, task)) else {
                return Poll::Ready(());
            };
            self.may_try = false;
            let Poll::Ready(step) = poll_step(&mut listener.acceptor, task) else {
                self.turn.pass_on();
                return Poll::Pending;
            };
            match step {
                Step::Taken(connection) => {
                    self.turn.succeeded();
                    listener.local.set_now(Instant::now());
                    listener.serve(connection, ticket);
                }
                Step::Lost(error) => listener.report(FaultKind::AcceptLost, &error),
                Step::NoRoom(error) => {
                    listener.report(FaultKind::AcceptShortage, &error);
                    if let Some(pause) = self.turn.refused(fastrand::f64()) {
                        listener.local.pause_accepting(pause);
                    }
                }
                Step::Broken(error) => {
                    let errno = error.raw_os_error().unwrap_or(0);
                    let fault = Fault { kind: FaultKind::Listener, errno };
                    listener.local.report_listener(listener.place, listener.epoch, fault);
                    ctx.stop();
                    return Poll::Ready(());
                }
            }
        }
        task.waker().wake_by_ref();
        Poll::Pending
    }
}
