//! The access log: records as lines of JSON, in a file or on stderr.
//!
//! A bounded queue and one thread that writes. Whoever serves never waits for it:
//! what the queue or the file has no room for is lost, and counted exactly.

mod output;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_queue::ArrayQueue;

use crate::actors::records::{AccessCounts, AccessSink};
use crate::config;
use crate::config::AccessLogPath;
use crate::supervision::AccessRecord;
use output::Output;
use writer::Writer;

/// Records that wait to be written, at most; more are lost.
const QUEUE: usize = 65_536;
/// Bytes of clients in them, at about which records are lost.
const CAPTURED: usize = 16 * 1024 * 1024;
/// How long the end of a service waits for a reader that takes nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// A file that the access log cannot be written to.
#[derive(Debug, thiserror::Error)]
#[error(
    "access_log.path: cannot open `{path}`: {cause}; give a path whose folder exists and may be \
     written, \"-\" for stderr, or \"none\""
)]
pub struct OpenError {
    /// The file.
    pub path: String,
    /// Why (open(2)).
    pub cause: std::io::Error,
}

/// Writes the records of a service; see
/// [`ServiceBuilder::access_log`](super::ServiceBuilder::access_log).
///
/// One line of JSON a record, as [`AccessRecord`] serialises. No line is ever split:
/// what does not fit any more goes on where it stopped, or is lost whole.
pub struct AccessLog {
    shared: Arc<Shared>,
    capture_bytes: usize,
    path: Option<PathBuf>,
    /// Until the first record: threads are not started before a process is confined.
    output: Mutex<Option<Output>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the log and its thread share.
pub(super) struct Shared {
    pub(super) queue: ArrayQueue<AccessRecord>,
    /// Bytes of clients in the queue.
    captured: AtomicUsize,
    /// Records that the thread holds.
    pub(super) in_hand: AtomicU64,
    pub(super) written: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) reopen: AtomicBool,
    pub(super) closing: AtomicBool,
    /// The thread has ended, or was given up.
    pub(super) over: AtomicBool,
}

impl AccessLog {
    /// Opens what `[access_log]` names; `None` where that is nothing. Starts no thread
    /// yet, so that a process may confine itself after it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(config: &config::AccessLog) -> Result<Option<Self>, OpenError> {
        let (output, path) = match &config.path {
            AccessLogPath::Off => return Ok(None),
            AccessLogPath::Stderr => (Output::Stderr, None),
            AccessLogPath::File(path) => {
                // Whoever changes the folder of the process means no other file.
                let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                let opened = Output::file(&path)
                    .map_err(|cause| OpenError { path: path.display().to_string(), cause })?;
                (opened, Some(path))
            }
        };
        let shared = Arc::new(Shared {
            queue: ArrayQueue::new(QUEUE),
            captured: AtomicUsize::new(0),
            in_hand: AtomicU64::new(0),
            written: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            reopen: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            over: AtomicBool::new(false),
        });
        let (output, thread) = (Mutex::new(Some(output)), Mutex::new(None));
        Ok(Some(Self { shared, capture_bytes: config.capture_bytes, path, output, thread }))
    }

    /// Starts the thread that writes. Records that come before wait for it.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(&self) -> std::io::Result<()> {
        let mut thread = lock(&self.thread);
        let Some(output) = lock(&self.output).take() else { return Ok(()) };
        let writer = Writer::new(Arc::clone(&self.shared), output, self.path.clone());
        let builder = std::thread::Builder::new().name("ipcow-access".to_owned());
        *thread = Some(builder.spawn(move || writer.run())?);
        Ok(())
    }

    /// The file; `None` for stderr.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Opens the file again, after it was moved away. The lines so far go to the old
    /// one, the next to the new one; where it cannot be opened they go on to the old
    /// one, and the log says so. Does not wait for it.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
        self.wake();
    }

    /// Why [`Self::reopen`] would not work now, as far as that can be tried: the
    /// folder may not be written, or a sandbox denies it.
    #[must_use]
    pub fn why_not_reopened(&self) -> Option<std::io::Error> {
        use nix::unistd::{AccessFlags, eaccess};
        let path = self.path.as_deref()?;
        let folder = path.parent().unwrap_or(path);
        let may = eaccess(folder, AccessFlags::W_OK | AccessFlags::X_OK).map_err(Into::into);
        may.and_then(|()| Output::file(path).map(drop)).err()
    }

    fn wake(&self) {
        if let Some(thread) = &*lock(&self.thread) {
            thread.thread().unpark();
        }
    }
}

impl AccessSink for AccessLog {
    fn record(&self, record: AccessRecord) {
        let shared = &*self.shared;
        let bytes = record.capture.len();
        let room = bytes == 0 || shared.captured.fetch_add(bytes, Ordering::Relaxed) < CAPTURED;
        let lost = match shared.over.load(Ordering::Relaxed) || !room {
            true => Some(record),
            false => shared.queue.push(record).err(),
        };
        if let Some(record) = lost {
            shared.forget_capture(&record);
            shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn capture_bytes(&self) -> usize {
        self.capture_bytes
    }

    /// Writes what waits. A reader that takes nothing is waited for a second; what it
    /// did not take then is lost.
    fn finish(&self) {
        self.shared.closing.store(true, Ordering::Release);
        self.wake();
        let end = Instant::now() + PATIENCE;
        let thread = lock(&self.thread).take();
        while thread.as_ref().is_some_and(|thread| !thread.is_finished()) && Instant::now() < end {
            std::thread::park_timeout(Duration::from_millis(2));
        }
        self.shared.over.store(true, Ordering::Release);
        self.shared.lose_rest();
        match thread {
            Some(thread) if thread.is_finished() => drop(thread.join()),
            // It waits for whoever reads it, and ends when that does.
            Some(_) => {
                tracing::warn!("the access log's reader takes nothing; its last lines are lost")
            }
            None => {}
        }
    }

    fn counts(&self) -> AccessCounts {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        AccessCounts::new(load(&self.shared.written), load(&self.shared.dropped))
    }
}

impl Shared {
    /// Nobody will write what waits, or what the thread still holds.
    fn lose_rest(&self) {
        self.dropped.fetch_add(self.in_hand.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        while self.queue.pop().is_some() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The record is in the queue no more.
    pub(super) fn forget_capture(&self, record: &AccessRecord) {
        if !record.capture.is_empty() {
            self.captured.fetch_sub(record.capture.len(), Ordering::Relaxed);
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Release);
        self.wake();
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("AccessLog").field("path", &self.path).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
