//! Draining: thread by thread, in whatever state the tree is.
//!
//! Speaks to threads and not to Workers: a Worker may be dead or in
//! quarantine while its listeners and sessions live.

use std::time::{Duration, Instant};

use super::Desk;
use crate::actors::local::WorkerLocal;
use crate::actors::protocol::Outcomes;
use crate::supervision::{DrainReport, Lease, WorkerId};

/// A drain under way.
pub(super) struct Drain {
    report: DrainReport,
    pub(super) deadline: Option<Instant>,
}

impl Desk {
    /// Closes every listener and lets sessions end.
    pub(crate) fn begin_drain(&mut self, timeout: Option<Duration>, now: Instant) {
        if self.drain.is_some() {
            return;
        }
        let deadline = timeout.map(|timeout| now + timeout);
        self.drain = Some(Drain { report: self.describe(), deadline });
        // The table's share of each socket goes first: a thread that closes
        // its own then really closes the port.
        self.setup.table.close();
        for (slot, share) in self.slots.iter_mut().zip(&self.setup.shares) {
            let (worker, share) = (slot.id, share.clone());
            let told = slot.thread.as_ref().is_some_and(|thread| {
                thread.spawn_fn(move || WorkerLocal::here(worker, share).drain())
            });
            slot.drained = !told;
        }
        self.check_drained();
    }

    /// What was there when the drain began, as far as is known by now: a chunk
    /// that was being opened is reported after that.
    pub(crate) fn drain_report(&self) -> DrainReport {
        self.drain.as_ref().map_or_else(|| self.describe(), |drain| drain.report.clone())
    }

    /// A report that was on its way when the drain began: it tells what was
    /// there then. The closed table keeps no socket of it.
    pub(super) fn take_late_report(&mut self, lease: Lease, outcomes: Outcomes, now: Instant) {
        let taken = self.setup.table.finish(lease, outcomes, now).is_ok();
        let (endpoints, chunks) =
            (self.setup.table.endpoint_counts(), self.setup.table.chunk_counts());
        let failures = self.failures();
        if let Some(drain) = self.drain.as_mut().filter(|_| taken) {
            drain.report.endpoints = endpoints;
            drain.report.chunks = chunks;
            drain.report.failures = failures;
        }
    }

    fn describe(&self) -> DrainReport {
        DrainReport {
            endpoints: self.setup.table.endpoint_counts(),
            chunks: self.setup.table.chunk_counts(),
            picture: self.picture(),
            failures: self.failures(),
        }
    }

    pub(crate) fn worker_drained(&mut self, worker: WorkerId) {
        if let Some(slot) = self.slot_mut(worker) {
            slot.drained = true;
        }
        self.check_drained();
    }

    /// Tells the service when the last thread is empty.
    pub(super) fn check_drained(&self) {
        if self.drain.is_some() && self.slots.iter().all(|slot| slot.drained) {
            self.setup.drained.send_replace(true);
        }
    }

    /// Ends a drain whose deadline has passed.
    pub(super) fn check_deadline(&self, now: Instant) {
        let deadline = self.drain.as_ref().and_then(|drain| drain.deadline);
        if deadline.is_some_and(|deadline| deadline <= now) {
            self.setup.drained.send_replace(true);
        }
    }
}
