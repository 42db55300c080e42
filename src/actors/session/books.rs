//! A session's place in the counters, its seat, and its place in the error log.
//!
//! Never decides how a session ends: it is told, or nobody was left to say.

use std::rc::Rc;
use std::sync::atomic::Ordering;

use super::Shared;
use crate::actors::admission::{Permit, Seat};
use crate::actors::local::WorkerLocal;
use crate::actors::protocol::SessionFailed;
use crate::net::echo::End;
use crate::spec::Endpoint;
use crate::supervision::{EndReason, Fault};

/// A session's entry in the counters: written when it opens, closed on drop.
pub(super) struct Books {
    pub(super) local: Rc<WorkerLocal>,
    endpoint: Endpoint,
    pub(super) shared: Rc<Shared>,
    key: usize,
    /// How it ended; `None` when it was dropped from outside.
    pub(super) end: Option<End>,
    /// An operator cut it off.
    pub(super) cut: bool,
    _permit: Permit,
}

impl Books {
    pub(super) fn open(
        local: Rc<WorkerLocal>,
        key: usize,
        (endpoint, shared): (Endpoint, Rc<Shared>),
        seat: Seat,
    ) -> Self {
        let Seat { permit, source } = seat;
        shared.source.set(source);
        shared.count_source(&local.share.admission);
        local.share.counters.session_accepted();
        local.share.gauge.enter();
        shared.meter.session_accepted(shared.peer, local.stamp());
        Self { local, endpoint, shared, key, end: None, cut: false, _permit: permit }
    }

    /// Why it is over, and the failure to report, if that is one.
    fn verdict(&self, panicked: bool) -> (EndReason, Option<Fault>) {
        let reason = match self.end {
            _ if panicked => EndReason::Panic,
            Some(end) => end.reason(),
            None if self.cut || self.local.share.ending.load(Ordering::Acquire) => {
                EndReason::Forced
            }
            // Its thread has ended, and the service has not.
            None => EndReason::WorkerLost,
        };
        let errno = match self.end {
            Some(End::Reset { errno, .. }) => errno.unwrap_or(0),
            _ => 0,
        };
        (reason, reason.fault().map(|kind| Fault { kind, errno }))
    }
}

impl Drop for Books {
    fn drop(&mut self) {
        let panic = self.local.session_panic.take();
        let error = self.local.session_error.take();
        let (reason, fault) = self.verdict(panic.is_some());
        self.local.share.counters.session_ended(reason);
        if let (Some(records), Some(recording)) =
            (&self.local.share.records, &self.shared.recording)
        {
            records.end(recording, self.shared.peer, reason);
        }
        self.local.share.gauge.leave();
        self.shared.settle(self.local.stamp());
        self.shared.meter.session_ended();
        drop(self.shared.source.take());
        if let Some(fault) = fault {
            let (endpoint, peer) = (self.endpoint, Some(self.shared.peer));
            let failed = SessionFailed { endpoint, peer, fault, panic, error };
            self.local.report_session(failed);
        }
        self.local.leave_session(self.key);
    }
}
