//! Draining: thread by thread, in whatever state the tree is.
//!
//! Speaks to threads and not to Workers: a Worker may be dead or in
//! quarantine while its listeners and sessions live.

use std::rc::Rc;
use std::time::Instant;

use super::Desk;
use crate::actors::local::WorkerLocal;
use crate::actors::protocol::Outcomes;
use crate::supervision::{DrainReport, Event, Lease, WorkerId};

impl Desk {
    /// Closes every listener and lets sessions end. The service does this, so
    /// that it waits for no Supervisor.
    pub(crate) fn begin_drain(&mut self) {
        self.close_down(WorkerLocal::drain);
    }

    /// Ends what each thread does; those that are told so twice obey both.
    pub(super) fn close_down(&mut self, order: impl Fn(Rc<WorkerLocal>) + Clone + Send + 'static) {
        if self.drain.is_none() {
            let report = self.describe();
            let (endpoints, chunks) = (report.endpoints, report.chunks);
            self.drain = Some(report);
            self.tell(Event::Draining { endpoints, chunks });
            self.setup.board.publish_draining();
        }
        // The table's share of each socket goes first: a thread that closes
        // its own then really closes the port.
        self.setup.table.close();
        for (slot, share) in self.slots.iter_mut().zip(&self.setup.shares) {
            let (worker, share, order) = (slot.id, share.clone(), order.clone());
            let told = slot.thread.as_ref().is_some_and(|thread| {
                thread.spawn_fn(move || order(WorkerLocal::here(worker, share)))
            });
            slot.drained |= !told;
        }
        self.check_drained();
    }

    /// What was there when the drain began, as far as is known by now: a chunk
    /// that was being opened is reported after that.
    pub(crate) fn drain_report(&self) -> DrainReport {
        self.drain.clone().unwrap_or_else(|| self.describe())
    }

    /// A report that was on its way when the drain began: it tells what was
    /// there then. The closed table keeps no socket of it.
    pub(super) fn take_late_report(&mut self, lease: Lease, outcomes: Outcomes, now: Instant) {
        let taken = self.setup.table.finish(lease, outcomes, now).is_ok();
        let (endpoints, chunks) =
            (self.setup.table.endpoint_counts(), self.setup.table.chunk_counts());
        let failures = self.failures();
        if let Some(report) = self.drain.as_mut().filter(|_| taken) {
            report.endpoints = endpoints;
            report.chunks = chunks;
            report.failures = failures;
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

    /// Tells the service when all that can end has ended: when each thread is
    /// empty but those that hang, of which nothing more can be expected.
    pub(super) fn check_drained(&self) {
        let over = self.slots.iter().all(|slot| slot.drained || slot.hung);
        if self.drain.is_none() || !over || *self.setup.drained.borrow() {
            return;
        }
        for slot in self.slots.iter().filter(|slot| !slot.drained) {
            tracing::error!(worker = %slot.id, "the drain ends without a worker that hangs");
        }
        self.setup.drained.send_replace(true);
    }
}
