//! The byte stream of an embedder's own session.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as Task, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::Connection;

/// The connection of a session of your own, to read from and to write to
/// ([`tokio::io::AsyncReadExt`], [`tokio::io::AsyncWriteExt`], [`tokio::io::split`],
/// `tokio_util::codec`).
///
/// It counts every byte where the kernel takes or gives it, and is what the limits
/// of `[session]` look at: a read or write of at least a byte puts the idle deadline
/// off, and a write that waits for the peer for `session.write_timeout_secs` ends the
/// session. It stays on the thread of its session. Nothing is buffered: a flush has
/// nothing to do.
///
/// Dropping it sends FIN. The session goes on until its own code returns, and the
/// connection is closed then, also where the stream was given to somebody else: all
/// its calls give [`io::ErrorKind::NotConnected`] from then on.
pub struct SessionStream {
    connection: Rc<Connection>,
}

impl SessionStream {
    pub(super) const fn new(connection: Rc<Connection>) -> Self {
        Self { connection }
    }
}

impl AsyncRead for SessionStream {
    fn poll_read(
        self: Pin<&mut Self>,
        task: &mut Task<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.connection.poll_read(task, buffer)
    }
}

impl AsyncWrite for SessionStream {
    fn poll_write(
        self: Pin<&mut Self>,
        task: &mut Task<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.connection.poll_write(|socket| socket.poll_write(task, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        task: &mut Task<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.connection.poll_write(|socket| socket.poll_write_vectored(task, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _task: &mut Task<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        self.connection.poll_shutdown(task)
    }
}

impl Drop for SessionStream {
    fn drop(&mut self) {
        self.connection.hang_up();
    }
}

impl fmt::Debug for SessionStream {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let about = &self.connection.about;
        out.debug_struct("SessionStream").field("id", &about.id).field("peer", &about.peer).finish()
    }
}
