//! A TCP connection that reads and writes when its thread's [`Reactor`] says that it
//! can, and costs nothing else.
//!
//! It wakes nobody: whoever polls it is polled again by the reactor, for each of its
//! events. Its user bounds the turn (`echo`).
//!
//! [`Reactor`]: super::reactor::Reactor

use std::cell::Cell;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::sys::poller::Told;
use super::sys::stream_calls::{receive, send};

/// What was told of a connection and is not used up.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    readable: Cell<bool>,
    writable: Cell<bool>,
    /// A short read does not mean that the next one waits.
    more: Cell<bool>,
}

impl Readiness {
    pub(super) fn hear(&self, told: Told) {
        self.readable.set(self.readable.get() || told.readable);
        self.writable.set(self.writable.get() || told.writable);
        self.more.set(self.more.get() || told.more);
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct LeanStream {
    tcp: TcpStream,
    ready: Rc<Readiness>,
}

impl LeanStream {
    /// `tcp` does not block, and `ready` hears what epoll(7) tells of it.
    pub(super) fn new(tcp: TcpStream, ready: Rc<Readiness>) -> Self {
        // There is room in a connection that nothing was written to.
        ready.writable.set(true);
        Self { tcp, ready }
    }

    /// Has the next read ask the kernel, whatever was told: what came a moment ago may
    /// not have been.
    pub(crate) fn look_again(&self) {
        self.ready.readable.set(true);
    }

    /// The connection, to ask the kernel about it.
    pub(crate) const fn tcp(&self) -> &TcpStream {
        &self.tcp
    }
}

impl AsyncRead for LeanStream {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ready.readable.get() {
            return Poll::Pending;
        }
        let room = buffer.initialize_unfilled();
        let most = room.len();
        match receive(&self.tcp, room) {
            Ok(read) => {
                // One that was short took all that was there, as a rule; what has come since
                // is another event.
                if read > 0 && read < most && !self.ready.more.get() {
                    self.ready.readable.set(false);
                }
                buffer.advance(read);
                Poll::Ready(Ok(()))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.ready.readable.set(false);
                self.ready.more.set(false);
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl AsyncWrite for LeanStream {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.ready.writable.get() {
            return Poll::Pending;
        }
        match send(&self.tcp, bytes) {
            Ok(written) => {
                if written > 0 && written < bytes.len() {
                    self.ready.writable.set(false);
                }
                Poll::Ready(Ok(written))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.ready.writable.set(false);
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.tcp.shutdown(Shutdown::Write))
    }
}
