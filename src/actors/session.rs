//! One accepted TCP connection: an actor, the task that moves its bytes, and its
//! place in the books.
//!
//! The bytes are the pump's (`net::echo`). The actor takes the session's
//! messages, and costs nothing where there are none: the task that polls both
//! asks it only when something was sent. Each session is counted out exactly
//! once, whatever ends it: that is what [`Books`] is for.

mod books;

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as Task, Poll, ready};

use actix::dev::{ContextFut, ToEnvelope};
use actix::{Actor, Addr, Context, Handler, Message};
use tokio::net::TcpStream;

use super::admission::{Admission, Seat};
use super::local::WorkerLocal;
use super::protocol::{CutSession, EndSession, GroupRuntime, SessionFailed};
use super::watch::{Ended, start_watched_within};
use crate::net::echo::{End, Phase, Pump, Tally};
use crate::net::source_seats::SourceSeat;
use crate::net::sys;
use crate::spec::Endpoint;
use crate::supervision::{EndReason, Expired, Fault, FaultKind, Meter, Place, SessionClock, Stamp};
use books::Books;

/// One accepted connection, as far as it is spoken to.
pub(crate) struct EchoSession {
    shared: Rc<Shared>,
}

/// What a session's actor, its task and its thread know of it.
struct Shared {
    peer: SocketAddr,
    clock: SessionClock,
    /// Its place among the sessions of its source, where those are counted.
    source: Cell<Option<SourceSeat>>,
    /// Something was sent that the actor has not seen.
    has_mail: Cell<bool>,
    /// What the actor was told and the task has not done.
    order: Cell<Option<Order>>,
    meter: Meter,
    unmetered: Cell<Unmetered>,
}

/// Bytes that the meter does not have yet: it is common to all threads, and too
/// dear for each read.
#[derive(Debug, Clone, Copy, Default)]
struct Unmetered {
    read: u64,
    written: u64,
    /// The run in which they moved.
    run: u64,
}

impl Shared {
    /// Counts it among the sessions of its source, where those are counted and it is
    /// not yet.
    fn count_source(&self, admission: &Admission) {
        let seat = self.source.take();
        self.source.set(seat.or_else(|| admission.late_seat(self.peer.ip())));
    }

    fn settle(&self, at: Stamp) {
        let Unmetered { read, written, run } = self.unmetered.take();
        self.meter.session_bytes(read, written, Stamp { run, ..at });
    }
}

/// Why a session is to end.
#[derive(Debug, Clone, Copy)]
enum Order {
    /// A deadline has passed.
    Deadline(Expired),
    /// An operator says so.
    Cut(CutSession),
}

/// A connection that was accepted, with its seat.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// Non-blocking, known to no runtime yet.
    pub(crate) stream: std::net::TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) seat: Seat,
}

/// The way to a session of this thread. There is no other: a message that came
/// past it would lie unseen.
pub(crate) struct SessionHandle {
    addr: Addr<EchoSession>,
    shared: Rc<Shared>,
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

    /// Sends a message, which is lost where the mailbox is full: false then.
    pub(crate) fn tell<M>(&self, message: M) -> bool
    where
        M: Message + Send + 'static,
        M::Result: Send,
        EchoSession: Handler<M>,
        Context<EchoSession>: ToEnvelope<EchoSession, M>,
    {
        let sent = self.addr.try_send(message).is_ok();
        self.shared.has_mail.set(true);
        sent
    }
}

/// The endpoint that a connection came to, and what it counts into.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) endpoint: Endpoint,
    pub(crate) place: Place,
    pub(crate) meter: Meter,
}

impl EchoSession {
    /// Starts a session on this thread.
    pub(crate) fn spawn(
        local: &Rc<WorkerLocal>,
        served: Served,
        group: &GroupRuntime,
        accepted: Accepted,
    ) {
        let Accepted { stream, peer, seat } = accepted;
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => stream,
            Err(error) => return refuse(local, &served, peer, &error),
        };
        let pump = Pump::new(stream, group.settings.mode, group.terminator.clone());
        // It is known before it runs: a drain that begins now finds it.
        let Served { endpoint, place, meter } = served;
        local.enter_session(place, peer, |key| {
            let shared = Rc::new(Shared {
                peer,
                source: Cell::default(),
                clock: SessionClock::new(local.now()),
                // An actor begins when it is polled for the first time.
                has_mail: Cell::new(true),
                order: Cell::new(None),
                meter,
                unmetered: Cell::default(),
            });
            let to = (endpoint, Rc::clone(&shared));
            let books = Books::open(Rc::clone(local), key, to, seat);
            let wrap = |mailbox| Moving { pump, mailbox, books };
            let local = Rc::clone(local);
            let actor = Self { shared: Rc::clone(&shared) };
            let addr = start_watched_within(actor, wrap, move |ended| {
                if let Ended::Panicked(message) = ended {
                    // The books are closed next, when the session is dropped.
                    local.session_panic.replace(Some(message));
                }
            });
            SessionHandle { addr, shared }
        });
    }
}

/// Books a connection that could not even begin.
fn refuse(local: &WorkerLocal, served: &Served, peer: SocketAddr, error: &io::Error) {
    let endpoint = served.endpoint;
    local.share.counters.session_accepted();
    served.meter.session_accepted(peer, local.stamp());
    served.meter.session_ended();
    local.share.counters.session_ended(EndReason::NotBegun);
    let errno = error.raw_os_error().unwrap_or(0);
    let fault = Fault { kind: FaultKind::SessionFailed, errno };
    local.report_session(SessionFailed { endpoint, peer: Some(peer), fault, panic: None });
}

impl Actor for EchoSession {
    type Context = Context<Self>;
}

impl Handler<EndSession> for EchoSession {
    type Result = ();

    fn handle(&mut self, EndSession(expired): EndSession, _ctx: &mut Self::Context) {
        // What an operator says is said once; a deadline comes again.
        if !matches!(self.shared.order.get(), Some(Order::Cut(_))) {
            self.shared.order.set(Some(Order::Deadline(expired)));
        }
    }
}

impl Handler<CutSession> for EchoSession {
    type Result = ();

    fn handle(&mut self, cut: CutSession, _ctx: &mut Self::Context) {
        self.shared.order.set(Some(Order::Cut(cut)));
    }
}

/// A session's task. What it holds is dropped from the first to the last: the
/// connection is closed before its end is counted.
struct Moving {
    pump: Pump<TcpStream>,
    mailbox: ContextFut<EchoSession, Context<EchoSession>>,
    books: Books,
}

impl Future for Moving {
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
            Some(Order::Deadline(expired)) => session.obey(expired),
            Some(Order::Cut(CutSession::Fin)) => session.finish(End::Drain),
            Some(Order::Cut(cut)) => {
                session.cut(cut);
                return Poll::Ready(());
            }
        };
        session.books.end = match end {
            Some(end) => Some(end),
            None => Some(ready!(session.move_bytes(task))),
        };
        Poll::Ready(())
    }
}

impl Moving {
    /// Ends the session because of a deadline; `Some` where it ends at once.
    fn obey(&mut self, expired: Expired) -> Option<End> {
        let end = match expired {
            Expired::Write => {
                // Or the kernel would hold megabytes for a peer that never reads.
                let _gone = sys::reset_on_close(self.pump.stream());
                return Some(End::WriteTimeout);
            }
            Expired::Linger => return Some(End::Terminated),
            Expired::Idle => End::Idle,
            Expired::Lifetime => End::Lifetime,
            Expired::Quiet => {
                // What the peer has not acknowledged is still in flight.
                if sys::unacknowledged(self.pump.stream()).is_ok_and(|bytes| bytes > 0) {
                    return None;
                }
                End::Drain
            }
        };
        self.finish(end)
    }

    /// Cuts it off: its books say so, and not how it ended.
    fn cut(&mut self, cut: CutSession) {
        if cut == CutSession::Reset {
            let _gone = sys::reset_on_close(self.pump.stream());
        }
        self.books.cut = true;
    }

    /// Ends it with FIN; `Some` where it ends at once.
    fn finish(&mut self, end: End) -> Option<End> {
        if self.pump.unsent() > 0 || self.pump.phase() == Phase::Flushing {
            // The peer takes nothing: waiting for a flush would be waiting for ever.
            return Some(end);
        }
        self.pump.finish(end);
        None
    }

    /// Polls the pump with the thread's read buffer.
    fn move_bytes(&mut self, task: &mut Task<'_>) -> Poll<End> {
        let local = &self.books.local;
        let mut tally = Tally::default();
        let polled = self.pump.poll(task, &mut local.scratch.borrow_mut(), &mut tally);
        local.share.counters.session_bytes(tally.read, tally.written);
        let shared = &self.books.shared;
        if tally.read + tally.written > 0 {
            let Unmetered { read, written, .. } = shared.unmetered.get();
            let (read, written) = (read + tally.read, written + tally.written);
            shared.unmetered.set(Unmetered { read, written, run: local.stamp().run });
        }
        shared.clock.observe(
            local.now(),
            tally.read + tally.written > 0,
            tally.written > 0,
            self.pump.unsent() > 0,
            self.pump.phase() == Phase::Lingering,
        );
        polled
    }
}
