//! Output that never blocks: a bounded queue and a thread that writes.
//!
//! A terminal on hold, a full pipe or a closed one costs lines, which are
//! counted; it never costs an endpoint its service.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// Pieces that wait to be written; more are lost.
const QUEUE: usize = 4096;
/// The sending end: cheap to clone, never blocks. A piece is text, mostly.
#[derive(Debug)]
pub(crate) struct Outlet<T = Vec<u8>> {
    queue: SyncSender<Item<T>>,
    lost: Arc<AtomicU64>,
}

impl<T> Clone for Outlet<T> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), lost: Arc::clone(&self.lost) }
    }
}

#[derive(Debug)]
enum Item<T> {
    Piece(T),
    /// Everything before this is written: say so by dropping the sender.
    Mark(std::sync::mpsc::Sender<()>),
}

impl<T: Send + 'static> Outlet<T> {
    /// Starts a thread named `name` that hands each piece to `write`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn open(
        name: &str,
        mut write: impl FnMut(T) -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, inbox) = sync_channel(QUEUE);
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            for item in inbox {
                match item {
                    // A reader that has gone misses the rest; the service goes on.
                    Item::Piece(piece) => drop(write(piece)),
                    Item::Mark(done) => drop(done),
                }
            }
        })?;
        Ok(Self { queue, lost: Arc::default() })
    }

    /// Queues one piece.
    pub(crate) fn send(&self, piece: impl Into<T>) {
        if self.queue.try_send(Item::Piece(piece.into())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many pieces found the queue full, and are not written.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until all is written that was sent before, or until `deadline`
    /// where nobody reads.
    pub(crate) fn flush(&self, deadline: Instant) {
        let (mark, written) = channel();
        let mut item = Item::Mark(mark);
        while let Err(TrySendError::Full(back)) = self.queue.try_send(item) {
            if Instant::now() >= deadline {
                return;
            }
            item = back;
            thread::sleep(Duration::from_millis(5));
        }
        let _written_or_stalled =
            written.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

/// One log line on its way into an [`Outlet`].
#[derive(Debug)]
pub(crate) struct Line {
    outlet: Outlet,
    text: Vec<u8>,
}

impl Write for Line {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.outlet.send(std::mem::take(&mut self.text));
    }
}

impl MakeWriter<'_> for Outlet {
    type Writer = Line;

    fn make_writer(&self) -> Line {
        Line { outlet: self.clone(), text: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn everything_sent_is_written_before_the_end() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&written);
        let outlet = Outlet::open("test-outlet", move |text: Vec<u8>| {
            sink.lock().expect("no panic elsewhere").extend_from_slice(&text);
            Ok(())
        })
        .expect("a thread");
        outlet.send("one ");
        write!(outlet.make_writer(), "two").expect("a line takes everything");
        outlet.flush(Instant::now() + Duration::from_secs(10));
        assert_eq!(*written.lock().expect("no panic elsewhere"), b"one two");
    }

    #[test]
    fn a_reader_that_stalls_costs_lines_and_no_time() {
        let (release, held) = channel::<()>();
        let outlet = Outlet::open("test-stalled", move |_text: Vec<u8>| {
            let _released = held.recv();
            Ok(())
        })
        .expect("a thread");
        for _ in 0..QUEUE + 10 {
            outlet.send("line");
        }
        assert!(outlet.lost() >= 8);
        let begun = Instant::now();
        outlet.flush(begun + Duration::from_millis(50));
        assert!(begun.elapsed() < Duration::from_secs(5), "a stalled reader is not waited for");
        drop(release);
    }
}
