//! Poison: faults on demand, for tests alone.
//!
//! Compiled only with the feature `fault-injection`, which no release build
//! has. Every actor of the tree dies of [`Poison`].

use std::net::SocketAddr;
use std::panic::panic_any;
use std::time::Duration;

use actix::dev::SendError;
use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, WrapFuture};

use super::error_log::ErrorLog;
use super::listener::Listener;
use super::session::{EchoSession, OwnSession};
use super::supervisor::Supervisor;
use super::udp_listener::UdpListener;
use super::worker::Worker;
use crate::spec::Endpoint;
use crate::supervision::WorkerId;

/// A fault to inject into a running service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Injection {
    /// The Supervisor panics.
    PanicSupervisor,
    /// The ErrorLog panics.
    PanicErrorLog,
    /// The Worker actor of this thread panics.
    PanicWorker(WorkerId),
    /// The listener of this endpoint panics.
    PanicListener(Endpoint),
    /// The session with this peer panics.
    PanicSession(SocketAddr),
    /// The worker's arbiter ends its loop.
    EndThread(WorkerId),
    /// The worker's thread does nothing for this long, from some moment on.
    Hang(WorkerId, Duration),
    /// The ErrorLog handles nothing for this long.
    BlockErrorLog(Duration),
    /// Every Worker that opens this chunk panics; 0 = none does.
    PoisonChunk(u32),
    /// A random session, listener, worker, or one of the two at the top panics.
    PanicAny,
}

/// Command, test → any actor: die.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Poison;

macro_rules! mortal {
    ($($actor:ty),*) => {$(
        impl Handler<Poison> for $actor {
            type Result = ();

            fn handle(&mut self, _poison: Poison, _ctx: &mut Self::Context) {
                die(concat!("poisoned ", stringify!($actor)));
            }
        }
    )*};
}

mortal!(Supervisor, ErrorLog, Worker, Listener, UdpListener, EchoSession, OwnSession);

/// Gives an actor an order of a test; one whose mailbox is full gets it when there is
/// room.
pub(crate) fn order<A, M>(addr: Addr<A>, order: M)
where
    A: Actor<Context = Context<A>> + Handler<M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    if let Err(SendError::Full(order)) = addr.try_send(order) {
        actix::spawn(async move {
            let _dead = addr.send(order).await;
        });
    }
}

/// Panics with this message.
pub(crate) fn die(message: &str) {
    panic_any(message.to_owned());
}

/// Command, test → ErrorLog: handle nothing for this long.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Block(pub(crate) Duration);

impl Handler<Block> for ErrorLog {
    type Result = ();

    fn handle(&mut self, Block(time): Block, ctx: &mut Context<Self>) {
        ctx.wait(tokio::time::sleep(time).into_actor(self));
    }
}
