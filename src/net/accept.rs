//! Takes connections, and says what a failure to take one means.
//!
//! Errors are classified here, once. Never decides about limits, never sleeps,
//! never logs: the listener that polls it does.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;

use super::bind::Bound;
use super::stream_options::{HandDown, StreamOptions};
use super::sys::{self, Watched};

pub(crate) mod shortage;

/// A connection and where it comes from.
pub(crate) type Connection = (TcpStream, SocketAddr);

/// Something that connections come from: a socket, or a script in a test.
pub(crate) trait Accept {
    /// What it hands out.
    type Connection;

    /// The next connection; see [`Acceptor::poll_accept`].
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Self::Connection>>;
}

/// A listening socket, registered with the runtime of this thread.
#[derive(Debug)]
pub(crate) struct Acceptor {
    socket: Watched,
    hand_down: HandDown,
}

impl Acceptor {
    /// Registers a listening socket whose connections get these options.
    ///
    /// # Errors
    /// What epoll_ctl(2) says: EEXIST while another acceptor of this thread
    /// still holds the socket, ENOSPC and ENOMEM.
    pub(crate) fn new(bound: Bound, options: StreamOptions) -> io::Result<Self> {
        Ok(Self { socket: Watched::new(bound)?, hand_down: HandDown::new(options) })
    }

    /// The socket that connections come from.
    pub(crate) fn bound(&self) -> &Bound {
        self.socket.bound()
    }

    /// Connections that are taken from now on get these options.
    pub(crate) fn set_options(&self, options: StreamOptions) {
        self.hand_down.change(options, self.bound());
    }

    /// Waits until a connection may be there, without taking it.
    ///
    /// # Errors
    /// That the runtime is shutting down (no errno).
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_ready(cx)
    }

    /// Takes a connection, or has the task woken when one is there.
    ///
    /// The connection has its options, is non-blocking and close-on-exec, and not
    /// yet registered with any runtime.
    ///
    /// # Errors
    /// What accept(2) says; [`classify`] says what it means. After an error the
    /// next call tries again without waiting.
    pub(crate) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Connection>> {
        self.socket.poll_io(cx, |bound| take(bound, &self.hand_down))
    }

    /// How many connections wait to be taken; one where the kernel does not say.
    pub(crate) fn waiting(&self) -> u32 {
        sys::waiting_connections(self.bound()).unwrap_or(1)
    }

    /// Takes a connection that is there already; `None` when there is none.
    ///
    /// At a drain this empties the backlog, whose clients a close would reset.
    ///
    /// # Errors
    /// As [`Self::poll_accept`].
    pub(crate) fn try_accept(&self) -> io::Result<Option<Connection>> {
        match take(self.bound(), &self.hand_down) {
            Ok(connection) => Ok(Some(connection)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Accept for Acceptor {
    type Connection = Connection;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Connection>> {
        Self::poll_accept(self, cx)
    }
}

/// One accept4(2), again when a signal interrupts it.
fn take(bound: &Bound, hand_down: &HandDown) -> io::Result<Connection> {
    loop {
        match bound.socket().accept4(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) {
            Ok((stream, peer)) => {
                hand_down.given(bound, &stream);
                let peer = peer.as_socket();
                let unknown = || io::Error::from_raw_os_error(libc::EAFNOSUPPORT);
                return Ok((stream.into(), peer.ok_or_else(unknown)?));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// What a listener does after a failed accept(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AcceptClass {
    /// One connection was lost before it was taken: take the next at once.
    Retry,
    /// The machine has no room: wait ([`AcceptPause`]), or the loop burns a core.
    Pause,
    /// This socket will never give another connection.
    Fatal,
}

/// The causes that accept(2) names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// Nothing there, or a signal came: no failure.
    NotNow,
    /// The peer gave up, a filter refused it, or the network failed under it.
    ConnectionLost,
    /// No descriptor, no buffer or no memory.
    NoRoom,
    /// No descriptor, no socket, or one that does not listen.
    NotAListener,
    /// A number that accept(2) does not name.
    Unknown,
}

impl Cause {
    fn of(errno: i32) -> Self {
        match Errno::from_raw(errno) {
            Errno::EAGAIN | Errno::EINTR => Self::NotNow,
            // "Linux passes already-pending network errors on the new socket as
            // an error code from accept(): treat them like EAGAIN" (accept(2)).
            Errno::ECONNABORTED
            | Errno::EPROTO
            | Errno::EPERM
            | Errno::ENETDOWN
            | Errno::ENOPROTOOPT
            | Errno::EHOSTDOWN
            | Errno::ENONET
            | Errno::EHOSTUNREACH
            | Errno::EOPNOTSUPP
            | Errno::ENETUNREACH
            | Errno::ECONNRESET
            | Errno::ETIMEDOUT => Self::ConnectionLost,
            Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM => Self::NoRoom,
            Errno::EBADF | Errno::EINVAL | Errno::ENOTSOCK | Errno::EFAULT => Self::NotAListener,
            _ => Self::Unknown,
        }
    }
}

/// What a failed accept(2), or a failed receive, means for the one who called it.
///
/// A number that the manual does not name pauses: that can neither burn a core
/// nor give up a socket that works.
pub(crate) fn classify(errno: i32) -> AcceptClass {
    match Cause::of(errno) {
        Cause::NotNow | Cause::ConnectionLost => AcceptClass::Retry,
        Cause::NoRoom | Cause::Unknown => AcceptClass::Pause,
        Cause::NotAListener => AcceptClass::Fatal,
    }
}

/// How long a listener waits while the machine has no room.
///
/// 100, 200, 400, 800 and then 1000 ms, each less up to a fifth by chance, so
/// that many listeners do not try in step; back to 100 ms after a success.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct AcceptPause {
    failures: u32,
}

impl AcceptPause {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(1);
    const JITTER: f64 = 0.2;

    /// The wait after one more failure; `chance` is a random number from 0 to 1.
    pub(crate) fn next(&mut self, chance: f64) -> Duration {
        let doubled = Self::FIRST * (1 << self.failures.min(4));
        self.failures = self.failures.saturating_add(1);
        let chance = if chance.is_finite() { chance.clamp(0.0, 1.0) } else { 0.0 };
        doubled.min(Self::LONGEST).mul_f64(1.0 - Self::JITTER * chance)
    }

    /// A connection was taken.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// What one accept(2) came to.
#[derive(Debug)]
pub(crate) enum Step<C> {
    /// A connection.
    Taken(C),
    /// One was lost; count it and go on.
    Lost(io::Error),
    /// No room: leave the socket alone for a while ([`Shortage`]).
    ///
    /// [`Shortage`]: shortage::Shortage
    NoRoom(io::Error),
    /// The socket is of no more use.
    Broken(io::Error),
}

/// Takes a connection, or classifies why there is none.
pub(crate) fn poll_step<A: Accept>(
    source: &mut A,
    cx: &mut Context<'_>,
) -> Poll<Step<A::Connection>> {
    let error = match ready!(source.poll_accept(cx)) {
        Ok(connection) => return Poll::Ready(Step::Taken(connection)),
        Err(error) => error,
    };
    // An error without a number comes from a runtime that is shutting down.
    let class = error.raw_os_error().map_or(AcceptClass::Fatal, classify);
    Poll::Ready(match class {
        AcceptClass::Retry => Step::Lost(error),
        AcceptClass::Pause => Step::NoRoom(error),
        AcceptClass::Fatal => Step::Broken(error),
    })
}

#[cfg(test)]
mod tests;
