//! The calls of one poll of a session: reads, writes, and when to stop.
//!
//! Counts every byte where the kernel took or gave it, so that the counts hold
//! also when the session fails. Never decides what a read means.

use std::io;
use std::task::{Context, Poll, ready};

use super::head::Head;

/// Reads (and interrupted calls) after which a session lets its neighbours run.
const READS_A_POLL: u32 = 16;

/// Bytes after which it does so, however few reads they took: as many as one
/// read can bring.
const BYTES_A_POLL: usize = super::MOST_UNSENT;

/// What a session's bytes come from and go to: tokio's `AsyncRead` and `AsyncWrite`, without
/// what no session needs of them.
pub(crate) trait ByteStream {
    /// Reads what has come into `room`, which is not empty; 0 bytes mean that the peer has
    /// ended its side. Where it is `Pending`, the task is polled again when more has come.
    fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Takes as many of these bytes as there is room for. Where it is `Pending`, the task is
    /// polled again when there is room.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;

    /// Ends this side, behind what was written.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// What a session moved, in bytes; [`super::Pump::poll`] adds to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Bytes that read(2) delivered, echoed or not.
    pub(crate) read: u64,
    /// Bytes that write(2) accepted.
    pub(crate) written: u64,
    /// The first of the bytes that were read.
    pub(crate) head: Head,
}

/// What one call of [`super::Pump::poll`] works with, beside its buffer.
pub(super) struct Calls<'call, 'waker> {
    pub(super) cx: &'call mut Context<'waker>,
    pub(super) tally: &'call mut Tally,
    pub(super) budget: Budget,
}

impl Calls<'_, '_> {
    /// One read into `scratch`; 0 bytes mean that the peer ended its side.
    // Always: a small echo is as dear as the code that it runs through.
    #[inline(always)]
    pub(super) fn poll_read(
        &mut self,
        stream: &mut impl ByteStream,
        scratch: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if scratch.is_empty() {
            // It would look like the peer's end.
            return Poll::Ready(Err(io::ErrorKind::InvalidInput.into()));
        }
        loop {
            ready!(self.budget.poll_spend(self.cx));
            match ready!(stream.poll_read(self.cx, scratch)) {
                Ok(read) => {
                    self.tally.read += read as u64;
                    self.tally.head.take_in(&scratch[..read]);
                    self.budget.bytes = self.budget.bytes.saturating_sub(read);
                    return Poll::Ready(Ok(read));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Writes until all is taken or no more is; how many bytes were.
    ///
    /// Fewer than all means that the task will be polled again.
    #[inline(always)]
    pub(super) fn write(
        &mut self,
        stream: &mut impl ByteStream,
        bytes: &[u8],
    ) -> io::Result<usize> {
        let mut taken = 0;
        while taken < bytes.len() {
            match stream.poll_write(self.cx, &bytes[taken..]) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => {
                    taken += written;
                    self.tally.written += written as u64;
                }
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {
                    if self.budget.poll_spend(self.cx).is_pending() {
                        break;
                    }
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        Ok(taken)
    }

    /// Reads and drops; `Ready` when the peer has ended its side or is gone.
    pub(super) fn poll_drop_input(
        &mut self,
        stream: &mut impl ByteStream,
        scratch: &mut [u8],
    ) -> Poll<()> {
        loop {
            match ready!(self.poll_read(stream, scratch)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
    }
}

/// What is left of a session's turn.
pub(super) struct Budget {
    reads: u32,
    bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { reads: READS_A_POLL, bytes: BYTES_A_POLL }
    }
}

impl Budget {
    /// Spends a read; when the turn is over, asks to be polled again, after the
    /// others, and says `Pending`.
    #[inline]
    fn poll_spend(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.reads == 0 || self.bytes == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.reads -= 1;
        Poll::Ready(())
    }
}
