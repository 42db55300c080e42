//! A client's stream that gives up a client which takes nothing, or asks nothing.
//!
//! The HTTP library times out the first head, and a connection that is idle. It waits for
//! ever for who reads no answer, for the rest of a later head, and for that of a body in
//! chunks which no route has read.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How long a client may take nothing of its answer, and after an answer have no request
/// that is answered. Longer than an answer that is followed is silent.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether a request of a connection is being answered. Clones are of the same connection.
#[derive(Clone, Default)]
pub(super) struct Answering(Rc<Cell<bool>>);

/// It is, until this is dropped.
pub(super) struct Turn(Answering);

impl Answering {
    pub(super) fn begin(&self) -> Turn {
        self.0.set(true);
        Turn(self.clone())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.0.set(false);
    }
}

/// A stream whose writes end at [`PATIENCE`], and its reads, too, while nothing is answered.
pub(super) struct Patient<S> {
    stream: S,
    answering: Answering,
    /// Since a write had to wait.
    stuck: Option<Pin<Box<Sleep>>>,
    /// Since the client was told something, whatever it sent after that.
    untold: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, answering: Answering::default(), stuck: None, untold: None }
    }

    /// Of this connection.
    pub(super) fn answering(&self) -> Answering {
        self.answering.clone()
    }

    /// Whether the client has had its time to ask; until then the task is woken at its end.
    fn had_its_time(&mut self, task: &mut Context<'_>) -> bool {
        if self.answering.0.get() || self.stuck.is_some() {
            self.untold = None;
            return false;
        }
        let untold = self.untold.get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
        untold.as_mut().poll(task).is_ready()
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
        if self.had_its_time(task) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
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
        if done.is_ready() {
            (self.stuck, self.untold) = (None, None);
            let _just_begun = self.had_its_time(task);
        }
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
    use tokio::time::{Instant, timeout};

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

    #[tokio::test(start_paused = true)]
    async fn a_client_that_asks_nothing_whole_is_given_up_and_not_while_it_is_answered() {
        let (ours, mut theirs) = duplex(64);
        let mut ours = Patient::new(ours);
        let drips = tokio::spawn(async move {
            while theirs.write_all(b"x").await.is_ok() {
                sleep(PATIENCE / 10).await;
            }
        });
        let mut read = Vec::new();
        let turn = ours.answering().begin();
        let answered = timeout(PATIENCE * 3, ours.read_to_end(&mut read)).await;
        assert!(answered.is_err(), "an answer may take its time");
        drop(turn);
        ours.write_all(b"here it is").await.expect("there is room");
        let told = Instant::now();
        let given_up = timeout(PATIENCE * 3, ours.read_to_end(&mut read)).await.expect("it ends");
        let error = given_up.expect_err("it asks nothing more");
        assert_eq!((error.kind(), told.elapsed().as_secs()), (io::ErrorKind::TimedOut, 30));
        drop(ours);
        drips.await.expect("it was cut off");
    }
}
