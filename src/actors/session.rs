//! One accepted TCP connection: an actor, the task that moves its bytes, and its
//! place in the books.
//!
//! What moves the bytes is a [`Body`]: the pump that echoes, or an embedder's own
//! (`own`). The actor takes the session's messages, and costs nothing where there
//! are none: the task that polls both asks it only when something was sent. Each
//! session is counted out exactly once, whatever ends it: that is what [`Books`]
//! is for.

mod body;
mod books;
mod connection;
mod context;
mod echo;
mod handle;
mod handler;
mod own;
mod shared;
mod stream;

use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};

use actix::dev::ContextFut;
use actix::{Actor, Addr, Context, Handler};
use tokio::net::TcpStream;

use super::admission::Seat;
use super::local::WorkerLocal;
use super::protocol::{CutSession, EndSession, GroupRuntime, SessionFailed};
use super::watch::{Ended, watched_within};
use crate::net::echo::{End, Pump};
use crate::net::lean_stream::LeanStream;
use crate::net::reactor::Registration;
use crate::net::sys;
use crate::spec::Endpoint;
use crate::supervision::{AccessReason, EndReason, Expired, Fault, FaultKind, Meter, Place};
use body::Body;
use books::Books;
use connection::{About, Connection};
use handle::Mailbox;
use own::Own;
use shared::{Order, Shared};

pub use context::{Busy, Outcome, SessionContext};
pub(crate) use handle::SessionHandle;
pub(crate) use handler::{OwnSessions, StartSession, erase};
pub use handler::{SessionHandler, session_actors};
pub use stream::SessionStream;

/// One accepted connection, as far as it is spoken to.
pub(crate) struct Session<B> {
    shared: Rc<Shared>,
    body: PhantomData<fn() -> B>,
}

/// A session that echoes, or discards.
pub(crate) type EchoSession = Session<Pump<LeanStream>>;

/// A session that an embedder serves.
pub(crate) type OwnSession = Session<Own>;

/// A connection that was accepted, with its seat.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// Non-blocking, known to no runtime yet.
    pub(crate) stream: std::net::TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) seat: Seat,
}

/// The endpoint that a connection came to, and what it counts into.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) endpoint: Endpoint,
    pub(crate) place: Place,
    pub(crate) meter: Meter,
}

/// Starts a session on this thread.
pub(crate) fn begin(
    local: &Rc<WorkerLocal>,
    served: Served,
    group: &Arc<GroupRuntime>,
    accepted: Accepted,
) {
    let Accepted { stream, peer, seat } = accepted;
    let connected = match &group.sessions {
        None => local.reactor().and_then(|reactor| reactor.register(stream)).map(Connected::Lean),
        Some(sessions) => {
            TcpStream::from_std(stream).map(|stream| Connected::Own(stream, sessions))
        }
    };
    let connected = match connected {
        Ok(connected) => connected,
        Err(error) => return refuse(local, &served, group, peer, &error),
    };
    // It is known before it runs: a drain that begins now finds it.
    let Served { endpoint, place, meter } = served;
    let recording = local
        .share
        .records
        .as_ref()
        .map(|records| records.begin(&endpoint, group, || connected.local_addr(), local.now()));
    local.enter_session(place, peer, |key| {
        let shared = Rc::new(Shared::new((endpoint, peer), local.now(), meter, recording));
        let books = Books::open(Rc::clone(local), key, Rc::clone(&shared), seat);
        let mailbox = match connected {
            Connected::Lean((stream, registration)) => {
                let pump = Pump::new(stream, group.settings.mode, group.terminator.clone());
                let (addr, task) = make(pump, books);
                registration.begin(task);
                Mailbox::Echo(addr, registration)
            }
            Connected::Own(stream, sessions) => {
                let about =
                    About { id: sessions.next_id(), endpoint, peer, group: Arc::clone(group) };
                let to = (Rc::clone(local), Rc::clone(&shared));
                let connection = Rc::new(Connection::new(stream, to, about));
                let own = Own::new(sessions.handler(), Rc::clone(&connection));
                let (addr, task) = make(own, books);
                actix::spawn(task);
                Mailbox::Own(Box::new((addr, connection)))
            }
        };
        SessionHandle { mailbox, shared }
    });
}

/// A connection that somebody tells when it is ready.
enum Connected<'a> {
    Lean((LeanStream, Registration)),
    Own(TcpStream, &'a OwnSessions),
}

impl Connected<'_> {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Lean((stream, _)) => stream.local_addr(),
            Self::Own(stream, _) => stream.local_addr(),
        }
    }
}

/// A session's actor, and the task that polls it.
fn make<B: Body>(
    body: B,
    books: Books,
) -> (Addr<Session<B>>, impl Future<Output = ()> + Unpin + 'static) {
    let (local, shared) = (Rc::clone(&books.local), Rc::clone(&books.shared));
    let wrap = |mailbox| Moving { body, books, mailbox };
    watched_within(Session { shared, body: PhantomData }, wrap, move |ended| {
        if let Ended::Panicked(message) = ended {
            // The books are closed next, when the session is dropped.
            local.session_panic.replace(Some(message));
        }
    })
}

/// Books a connection that could not even begin.
fn refuse(
    local: &WorkerLocal,
    served: &Served,
    group: &GroupRuntime,
    peer: SocketAddr,
    error: &io::Error,
) {
    let endpoint = served.endpoint;
    if let Some(records) = &local.share.records {
        let closed = || Err(io::ErrorKind::NotConnected.into());
        let reason = AccessReason::Ended(EndReason::NotBegun);
        records.never_served((&endpoint, &group.name), peer, closed, reason);
    }
    local.share.counters.session_accepted();
    served.meter.session_accepted(peer, local.stamp());
    served.meter.session_ended();
    local.share.counters.session_ended(EndReason::NotBegun);
    let errno = error.raw_os_error().unwrap_or(0);
    let fault = Fault { kind: FaultKind::SessionFailed, errno };
    local.report_session(SessionFailed {
        endpoint,
        peer: Some(peer),
        fault,
        panic: None,
        error: None,
    });
}

impl<B: 'static> Actor for Session<B> {
    type Context = Context<Self>;
}

impl<B: 'static> Handler<EndSession> for Session<B> {
    type Result = ();

    fn handle(&mut self, EndSession(expired): EndSession, _ctx: &mut Self::Context) {
        // What an operator says is said once; a deadline comes again.
        if !matches!(self.shared.order.get(), Some(Order::Cut(_))) {
            self.shared.order.set(Some(Order::Deadline(expired)));
        }
    }
}

impl<B: 'static> Handler<CutSession> for Session<B> {
    type Result = ();

    fn handle(&mut self, cut: CutSession, _ctx: &mut Self::Context) {
        self.shared.order.set(Some(Order::Cut(cut)));
    }
}

/// A session's task. What it holds is dropped from the first to the last: the
/// connection is closed before its end is counted.
///
/// It lies in memory as it is written here: what each message needs is together.
#[repr(C)]
struct Moving<B: 'static> {
    body: B,
    books: Books,
    mailbox: ContextFut<Session<B>, Context<Session<B>>>,
}

impl<B: Body> Future for Moving<B> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<()> {
        let session = &mut *self;
        if session.books.shared.has_mail.take()
            && Pin::new(&mut session.mailbox).poll(task).is_ready()
        {
            // Nobody has its address any more, which only its own end does.
            return Poll::Ready(());
        }
        let order = session.books.shared.order.take();
        let end = match order {
            None => None,
            Some(Order::Deadline(expired)) => session.obey(expired, task),
            Some(Order::Cut(CutSession::Fin)) => session.body.finish(End::Drain),
            Some(Order::Cut(cut)) => {
                session.cut(cut);
                return Poll::Ready(());
            }
        };
        session.books.end = match end {
            Some(end) => Some(end),
            None => Some(ready!(session.body.poll_run(task, &session.books))),
        };
        Poll::Ready(())
    }
}

impl<B: Body> Moving<B> {
    /// Ends the session because of a deadline; `Some` where it ends at once.
    fn obey(&mut self, expired: Expired, task: &mut Task<'_>) -> Option<End> {
        let end = match expired {
            Expired::Write if !self.body.is_stalled(task) => return None,
            Expired::Write => {
                // Or the kernel would hold megabytes for a peer that never reads.
                let _gone = self.body.ask(|socket| sys::reset_on_close(&socket));
                return Some(End::WriteTimeout);
            }
            Expired::Linger => return Some(self.body.lingered()),
            Expired::Idle => End::Idle,
            Expired::Lifetime => End::Lifetime,
            Expired::Quiet => {
                // What the peer has not acknowledged is still in flight.
                let unacknowledged = self.body.ask(|socket| sys::unacknowledged(&socket));
                if self.body.is_busy() || matches!(unacknowledged, Some(Ok(1..))) {
                    return None;
                }
                End::Drain
            }
        };
        self.body.finish(end)
    }

    /// Cuts it off: its books say so, and not how it ended.
    fn cut(&mut self, cut: CutSession) {
        if cut == CutSession::Reset {
            let _gone = self.body.ask(|socket| sys::reset_on_close(&socket));
        }
        self.books.cut = true;
    }
}
