//! A client's stream that gives up a client which takes nothing.
//!
//! The HTTP library times out slow requests; this times out slow readers of answers.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How long a client may take nothing of its answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A stream whose writes end at [`PATIENCE`].
pub(super) struct Patient<S> {
    stream: S,
    /// Since a write had to wait.
    stuck: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self { stream, stuck: None }
    }

    /// `done`, or an error where it has been pending for too long.
    fn within<T>(
        &mut self,
        done: Poll<io::Result<T>>,
        task: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.stuck = None;
            return done;
        }
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
        match stuck.as_mut().poll(task) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(task, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(task, bytes);
        self.within(done, task)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(task)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up_and_a_slow_one_is_not() {
        let (ours, mut theirs) = duplex(8);
        let mut ours = Patient::new(ours);
        let slow = tokio::spawn(async move {
            let mut taken = [0; 8];
            for _ in 0..4 {
                sleep(PATIENCE / 2).await;
                theirs.read_exact(&mut taken).await.expect("it writes on");
            }
            theirs
        });
        ours.write_all(&[0; 40]).await.expect("the client takes a bit again and again");
        let _silent = slow.await.expect("it read");
        let error = ours.write_all(&[0; 40]).await.expect_err("nobody takes anything");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
