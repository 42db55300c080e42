//! A session that echoes: the pump, as a session's body.
//!
//! Lends it the thread's read buffer and counts what it moved; the bytes are
//! `net::echo`'s.

use std::os::fd::BorrowedFd;
use std::task::{Context as Task, Poll};

use super::body::Body;
use super::books::Books;
use crate::net::echo::{End, Phase, Pump, Tally};
use crate::net::lean_stream::LeanStream;

impl Body for Pump<LeanStream> {
    fn poll_run(&mut self, task: &mut Task<'_>, books: &Books) -> Poll<End> {
        let (local, shared) = (&books.local, &books.shared);
        let mut tally = Tally::default();
        if let Some(recording) = &shared.recording {
            tally.head = recording.head(std::mem::take);
        }
        let polled = self.poll(task, &mut local.scratch.borrow_mut(), &mut tally);
        let Tally { read, written, head } = tally;
        if let Some(recording) = &shared.recording {
            recording.head(|kept| *kept = head);
        }
        shared.count(local, read, written);
        shared.clock.observe(
            local.now(),
            read + written > 0,
            written > 0,
            self.unsent() > 0,
            self.phase() == Phase::Lingering,
        );
        polled
    }

    fn finish(&mut self, end: End) -> Option<End> {
        if self.unsent() > 0 || self.phase() == Phase::Flushing {
            // The peer takes nothing: waiting for a flush would be waiting for ever.
            return Some(end);
        }
        self.stream().look_again();
        Pump::finish(self, end);
        None
    }

    fn lingered(&self) -> End {
        End::Terminated
    }

    fn ask<T>(&self, question: impl FnOnce(BorrowedFd<'_>) -> T) -> Option<T> {
        Some(question(self.stream().socket()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::session::{Moving, SessionHandle, Shared};

    #[test]
    fn a_session_that_echoes_pays_nothing_for_those_of_embedders() {
        let task = size_of::<Moving<Pump<LeanStream>>>();
        assert!(task <= 560, "{task} bytes");
        let known = size_of::<Shared>() + size_of::<SessionHandle>();
        assert!(known <= 280, "{known} bytes");
    }
}
