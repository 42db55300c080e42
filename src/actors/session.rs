//! One accepted TCP connection: its lifecycle and its place in the books.
//!
//! The bytes are the pump's (`net::echo`). Each session is counted out exactly
//! once, whatever ends it: that is what [`Books`] is for.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context as Task, Poll};

use actix::fut::ActorFuture;
use actix::{Actor, ActorContext, AsyncContext, Context, Handler};
use tokio::net::TcpStream;

use super::admission::Seat;
use super::local::WorkerLocal;
use super::protocol::{EndSession, GroupRuntime, SessionFailed};
use super::watch::{Ended, start_watched};
use crate::net::echo::{End, Phase, Pump, Tally};
use crate::net::sys;
use crate::spec::Endpoint;
use crate::supervision::{Expired, Fault, FaultKind, SessionClock, SessionEnd};

/// One accepted connection.
pub(crate) struct EchoSession {
    pump: Pump<TcpStream>,
    clock: Rc<SessionClock>,
    books: Books,
}

/// A connection that was accepted, with its seat.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// Non-blocking, known to no runtime yet.
    pub(crate) stream: std::net::TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) seat: Seat,
}

impl EchoSession {
    /// Starts a session on this thread.
    pub(crate) fn spawn(
        local: &Rc<WorkerLocal>,
        endpoint: Endpoint,
        group: &GroupRuntime,
        accepted: Accepted,
    ) {
        let Accepted { stream, peer, seat } = accepted;
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => stream,
            Err(error) => return refuse(local, endpoint, peer, &error),
        };
        let pump = Pump::new(stream, group.settings.mode, group.terminator.clone());
        let clock = Rc::new(SessionClock::new(local.now()));
        // It is known before it runs: a drain that begins now finds it.
        local.enter_session(&clock, peer, |key| {
            let books = Books::open(Rc::clone(local), key, endpoint, peer, seat);
            let session = Self { pump, clock: Rc::clone(&clock), books };
            let local = Rc::clone(local);
            start_watched(session, move |ended| {
                if let Ended::Panicked(message) = ended {
                    // The books are closed next, when the session is dropped.
                    local.session_panic.replace(Some(message));
                }
            })
        });
    }

    fn end(&mut self, end: End, ctx: &mut Context<Self>) {
        self.books.end = Some(end);
        ctx.stop();
    }
}

/// Books a connection that could not even begin.
fn refuse(local: &WorkerLocal, endpoint: Endpoint, peer: SocketAddr, error: &io::Error) {
    local.share.counters.session_accepted();
    local.share.counters.session_ended(SessionEnd::Failed);
    let errno = error.raw_os_error().unwrap_or(0);
    let fault = Fault { kind: FaultKind::SessionFailed, errno };
    local.report_session(SessionFailed { endpoint, peer: Some(peer), fault, panic: None });
}

impl Actor for EchoSession {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.spawn(Drive);
    }
}

impl Handler<EndSession> for EchoSession {
    type Result = ();

    fn handle(&mut self, EndSession(expired): EndSession, ctx: &mut Self::Context) {
        let end = match expired {
            Expired::Write => {
                // Or the kernel would hold megabytes for a peer that never reads.
                let _gone = sys::reset_on_close(self.pump.stream());
                return self.end(End::WriteTimeout, ctx);
            }
            Expired::Linger => return self.end(End::Terminated, ctx),
            Expired::Idle => End::Idle,
            Expired::Lifetime => End::Lifetime,
            Expired::Quiet => {
                // What the peer has not acknowledged is still in flight.
                if sys::unacknowledged(self.pump.stream()).is_ok_and(|bytes| bytes > 0) {
                    return;
                }
                End::Drain
            }
        };
        if self.pump.unsent() > 0 || self.pump.phase() == Phase::Flushing {
            // The peer takes nothing: waiting for a flush would be waiting for ever.
            self.end(end, ctx);
        } else {
            self.pump.finish(end);
        }
    }
}

/// Polls the pump with the thread's read buffer.
struct Drive;

impl ActorFuture<EchoSession> for Drive {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        session: &mut EchoSession,
        ctx: &mut Context<EchoSession>,
        task: &mut Task<'_>,
    ) -> Poll<()> {
        let local = &session.books.local;
        let mut tally = Tally::default();
        let polled = session.pump.poll(task, &mut local.scratch.borrow_mut(), &mut tally);
        local.share.counters.session_bytes(tally.read, tally.written);
        session.clock.observe(
            local.now(),
            tally.read + tally.written > 0,
            tally.written > 0,
            session.pump.unsent() > 0,
            session.pump.phase() == Phase::Lingering,
        );
        match polled {
            Poll::Ready(end) => {
                session.end(end, ctx);
                Poll::Ready(())
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// A session's entry in the counters: written when it opens, closed on drop.
struct Books {
    local: Rc<WorkerLocal>,
    endpoint: Endpoint,
    peer: SocketAddr,
    key: usize,
    /// How it ended; `None` when it was dropped from outside.
    end: Option<End>,
    _seat: Seat,
}

impl Books {
    fn open(
        local: Rc<WorkerLocal>,
        key: usize,
        endpoint: Endpoint,
        peer: SocketAddr,
        seat: Seat,
    ) -> Self {
        local.share.counters.session_accepted();
        local.share.gauge.enter();
        Self { local, endpoint, peer, key, end: None, _seat: seat }
    }

    /// What the books say of the session, and the failure to report.
    fn verdict(&self, panicked: bool) -> (SessionEnd, Option<Fault>) {
        let failed = |kind| (SessionEnd::Failed, Some(Fault::without_errno(kind)));
        if panicked {
            return failed(FaultKind::SessionPanic);
        }
        match self.end {
            Some(End::Eof | End::Terminated | End::Idle | End::Lifetime | End::Drain) => {
                (SessionEnd::Closed, None)
            }
            Some(End::WriteTimeout) => failed(FaultKind::SessionWriteTimeout),
            Some(End::Reset { errno, .. }) => {
                let errno = errno.unwrap_or(0);
                (SessionEnd::Failed, Some(Fault { kind: FaultKind::SessionReset, errno }))
            }
            None if self.local.share.ending.load(Ordering::Acquire) => (SessionEnd::Forced, None),
            // Its thread has ended, and the service has not.
            None => failed(FaultKind::WorkerLost),
        }
    }
}

impl Drop for Books {
    fn drop(&mut self) {
        let panic = self.local.session_panic.take();
        let (end, fault) = self.verdict(panic.is_some());
        self.local.share.counters.session_ended(end);
        self.local.share.gauge.leave();
        if let Some(fault) = fault {
            let failed =
                SessionFailed { endpoint: self.endpoint, peer: Some(self.peer), fault, panic };
            self.local.report_session(failed);
        }
        self.local.leave_session(self.key);
    }
}
