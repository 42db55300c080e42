//! The thread that writes: records to lines, lines to pieces, pieces to the file.
//!
//! Looks at the queue ten times a second, so that whoever serves wakes nobody.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Shared;
use super::output::Output;
use crate::supervision::AccessRecord;

/// Between two looks at the queue.
const LOOK: Duration = Duration::from_millis(50);
/// Between two words about records that were lost.
const QUIET: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Writer {
    shared: Arc<Shared>,
    output: Output,
    /// What is opened again; `None` for stderr.
    path: Option<PathBuf>,
    /// Lines that are not written yet.
    piece: Vec<u8>,
    /// How long each of them is.
    lines: Vec<usize>,
    /// The first of them is the rest of one.
    begun: bool,
    /// The record that did not fit into the piece.
    next: Option<Vec<u8>>,
    /// Losses that were said, and when.
    said: (u64, Option<Instant>),
    /// Why the last write failed.
    failure: Option<std::io::Error>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, output: Output, path: Option<PathBuf>) -> Self {
        Self {
            shared,
            output,
            path,
            piece: Vec::new(),
            lines: Vec::new(),
            begun: false,
            next: None,
            said: (0, None),
            failure: None,
        }
    }

    pub(super) fn run(mut self) {
        loop {
            let closing = self.shared.closing.load(Ordering::Acquire);
            // What is in the queue when the file is opened again was there before.
            let reopen = self.shared.reopen.swap(false, Ordering::AcqRel);
            let waiting = self.shared.queue.len();
            self.write_all(if reopen { waiting } else { usize::MAX });
            if reopen {
                self.reopen();
            }
            self.tell_losses(closing);
            if closing {
                return;
            }
            if !reopen {
                std::thread::park_timeout(LOOK);
            }
        }
    }

    /// Writes at most so many records of those that wait.
    fn write_all(&mut self, most: usize) {
        let mut left = most;
        loop {
            left -= self.fill(left);
            if self.lines.is_empty() {
                return;
            }
            self.show_hand();
            if !self.write_piece() {
                return;
            }
        }
    }

    /// Makes lines of at most `most` records, as many as a piece takes; how many
    /// records those were.
    fn fill(&mut self, most: usize) -> usize {
        let mut taken = 0;
        loop {
            let line = match self.next.take() {
                Some(line) => line,
                None if taken == most => return taken,
                None => match self.shared.queue.pop() {
                    None => return taken,
                    Some(record) => {
                        taken += 1;
                        self.shared.forget_capture(&record);
                        line_of(&record)
                    }
                },
            };
            let fits = self.piece.len() + line.len() <= self.output.piece();
            if !fits && !self.lines.is_empty() {
                self.next = Some(line);
                return taken;
            }
            self.piece.extend_from_slice(&line);
            self.lines.push(line.len());
        }
    }

    /// Writes the piece. False where it was not taken: it is tried again at the next
    /// look, and meanwhile the queue fills.
    fn write_piece(&mut self) -> bool {
        while !self.piece.is_empty() {
            match self.output.write(&self.piece) {
                Ok(taken) => self.taken(taken),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failure = Some(error);
                    return false;
                }
            }
        }
        true
    }

    /// So many bytes are written.
    fn taken(&mut self, bytes: usize) {
        self.piece.drain(..bytes);
        let (mut left, mut whole) = (bytes, 0);
        for line in &mut self.lines {
            if *line > left {
                *line -= left;
                break;
            }
            left -= *line;
            whole += 1;
        }
        self.lines.drain(..whole);
        self.begun = left > 0;
        self.shared.written.fetch_add(whole as u64, Ordering::Relaxed);
        self.show_hand();
    }

    /// Says how many records it holds.
    fn show_hand(&self) {
        let held = self.lines.len() + usize::from(self.next.is_some());
        self.shared.in_hand.store(held as u64, Ordering::Relaxed);
    }

    fn reopen(&mut self) {
        let Some(path) = self.path.clone() else { return };
        match Output::file(&path) {
            Ok(output) => {
                self.forget_begun_line();
                self.output = output;
                tracing::info!(path = %path.display(), "the access log was opened again");
            }
            Err(error) => {
                let path = path.display();
                tracing::error!(%path, %error, "the access log cannot be opened again; it goes on in the old file");
            }
        }
    }

    /// The rest of a line belongs to the old file, which has no room for it.
    fn forget_begun_line(&mut self) {
        if std::mem::take(&mut self.begun) {
            self.piece.drain(..self.lines.remove(0));
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            self.show_hand();
        }
    }

    /// Says once in a while that lines cannot be written, and how many were lost.
    fn tell_losses(&mut self, closing: bool) {
        let dropped = self.shared.dropped.load(Ordering::Relaxed);
        let (told, at) = self.said;
        let quiet = at.is_some_and(|at| at.elapsed() < QUIET);
        let failure = self.failure.take();
        if dropped == told && failure.is_none() || quiet && !closing {
            return;
        }
        let error = failure.map(|error| error.to_string());
        let waiting = self.shared.queue.len() + self.lines.len();
        tracing::warn!(
            dropped,
            waiting,
            error,
            "the access log is behind: what finds no room is lost"
        );
        self.said = (dropped, Some(Instant::now()));
    }
}

/// A record as a line.
fn line_of(record: &AccessRecord) -> Vec<u8> {
    // Strings and numbers: this cannot fail.
    let mut line = serde_json::to_vec(record).unwrap_or_default();
    line.push(b'\n');
    line
}
