//! A TCP connection that reads and writes when its thread's [`Reactor`] says that it
//! can, and costs nothing else.
//!
//! It wakes nobody: whoever polls it is polled again by the reactor, for each of its
//! events. Its user bounds the turn (`echo`).
//!
//! [`Reactor`]: super::reactor::Reactor

use std::cell::Cell;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll};

use socket2::SockRef;

use super::echo::ByteStream;
use super::sys::poller::News;
use super::sys::stream_calls::{receive, send};

/// What was told of a connection and is not used up. Lent by the [`Reactor`] while the
/// connection's task is polled; at any other time nothing is known.
///
/// [`Reactor`]: super::reactor::Reactor
#[derive(Debug, Default)]
pub(super) struct Readiness(Cell<News>);

impl Readiness {
    pub(super) fn set(&self, known: News) {
        self.0.set(known);
    }

    pub(super) fn take(&self) -> News {
        self.0.take()
    }

    fn has(&self, wanted: News) -> bool {
        self.0.get().has(wanted)
    }

    fn forget(&self, old: News) {
        self.0.set(self.0.get().without(old));
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct LeanStream {
    socket: OwnedFd,
    ready: Rc<Readiness>,
}

impl LeanStream {
    /// `tcp` does not block, and `ready` has what epoll(7) told of it whenever it is used.
    pub(super) fn new(tcp: TcpStream, ready: Rc<Readiness>) -> Self {
        Self { socket: tcp.into(), ready }
    }

    /// Has the next read ask the kernel, whatever was told: what came a moment ago may
    /// not have been.
    pub(crate) fn look_again(&self) {
        self.ready.set(self.ready.0.get().and(News::READABLE));
    }

    /// The connection, to ask the kernel about it.
    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The address that the peer dialled.
    ///
    /// # Errors
    /// What getsockname(2) says.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        let dialled = SockRef::from(&self.socket).local_addr()?;
        dialled.as_socket().ok_or_else(|| io::ErrorKind::Unsupported.into())
    }
}

impl ByteStream for LeanStream {
    #[inline]
    fn poll_read(&mut self, _cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        if !self.ready.has(News::READABLE) {
            return Poll::Pending;
        }
        match receive(&self.socket, room) {
            Ok(read) => {
                // One that was short took all that was there, as a rule; what has come since
                // is another event.
                if read > 0 && read < room.len() && !self.ready.has(News::MORE) {
                    self.ready.forget(News::READABLE);
                }
                Poll::Ready(Ok(read))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.ready.forget(News::READABLE.and(News::MORE));
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    #[inline]
    fn poll_write(&mut self, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.ready.has(News::WRITABLE) {
            return Poll::Pending;
        }
        match send(&self.socket, bytes) {
            Ok(written) => {
                if written > 0 && written < bytes.len() {
                    self.ready.forget(News::WRITABLE);
                }
                Poll::Ready(Ok(written))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.ready.forget(News::WRITABLE);
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_shutdown(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(&self.socket).shutdown(Shutdown::Write))
    }
}
