//! A TCP connection whose reads and writes cost one look at its readiness.
//!
//! tokio's own ask for readiness, and for the task's budget, before each call, and
//! a session that answers a message asks three times. This one calls first, and
//! asks when there was nothing to be done. Its user bounds the turn (`echo`).

use std::io::{self, Read as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use nix::libc::MSG_NOSIGNAL;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// See the module.
#[derive(Debug)]
pub(crate) struct LeanStream {
    tcp: TcpStream,
    /// The last read took all that was there: the next waits before it calls.
    emptied: bool,
}

impl From<TcpStream> for LeanStream {
    fn from(tcp: TcpStream) -> Self {
        Self { tcp, emptied: false }
    }
}

impl LeanStream {
    /// The connection, to ask the kernel about it.
    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Has `call` move at most `room` bytes, waiting until it can.
    ///
    /// One that moved fewer emptied or filled the kernel's buffer: as after EAGAIN
    /// the next has to wait for an event of epoll(7), which forgets none.
    fn poll_call(
        &self,
        (interest, room): (Interest, usize),
        cx: &mut Context<'_>,
        mut call: impl FnMut(SockRef<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut moved = None;
            let called = self.tcp.try_io(interest, || {
                let count = call(SockRef::from(&self.tcp))?;
                moved = Some(count);
                let over = count > 0 && count < room;
                if over { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match (moved, called) {
                (Some(count), _) => return Poll::Ready(Ok(count)),
                (None, Err(error)) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Poll::Ready(Err(error));
                }
                (None, _) if interest.is_readable() => ready!(self.tcp.poll_read_ready(cx))?,
                (None, _) => ready!(self.tcp.poll_write_ready(cx))?,
            }
        }
    }
}

impl AsyncRead for LeanStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.emptied {
            ready!(self.tcp.poll_read_ready(cx))?;
            self.emptied = false;
        }
        let room = buffer.initialize_unfilled();
        let most = room.len();
        let reading = (Interest::READABLE, most);
        let read = ready!(self.poll_call(reading, cx, |socket| (&*socket).read(room)))?;
        self.emptied = read > 0 && read < most;
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for LeanStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let writing = (Interest::WRITABLE, bytes.len());
        self.poll_call(writing, cx, |socket| socket.send_with_flags(bytes, MSG_NOSIGNAL))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
