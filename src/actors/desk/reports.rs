//! What workers report and what the error log decides.

use std::time::{Duration, Instant};

use super::{Desk, Part};
use crate::actors::orders;
use crate::actors::protocol::{Failure, FailuresJudged, JudgeFailures, ListenerFailed, Outcomes};
use crate::net::bind::Bound;
use crate::supervision::{
    Charge, ChunkId, Fault, FaultClass, FaultKind, Lease, Outcome, PartKind, Place, Verdict,
    WorkerState,
};

/// Pause before failures that found the error log's mailbox full are sent again,
/// and before anything is leased after a shortage that is not judged yet.
const AGAIN: Duration = Duration::from_millis(250);

impl Desk {
    pub(crate) fn take_report(&mut self, lease: Lease, outcomes: Outcomes, now: Instant) {
        if self.drain.is_some() {
            self.take_late_report(lease, outcomes, now);
            return;
        }
        let opened: Vec<_> = outcomes
            .iter()
            .filter(|(_, outcome)| matches!(outcome, Outcome::Opened { .. }))
            .map(|(slot, _)| Place { chunk: lease.chunk, slot: *slot })
            .collect();
        let short = outcomes.iter().any(|(_, outcome)| is_shortage(outcome));
        match self.setup.table.finish(lease, outcomes, now) {
            Ok(recovered) => {
                if short {
                    // What comes next would meet it too. The verdict may say to pause
                    // for longer, and where none comes this is the pause.
                    self.paused_until = self.paused_until.max(Some(now + AGAIN));
                }
                if let Some(slot) = self.slot_mut(lease.worker) {
                    slot.state = WorkerState::Idle;
                }
                self.tell_recovered(&recovered);
                self.check_addresses(&opened);
                self.send_failures(lease.chunk, now);
            }
            Err(refused) => tracing::debug!(%refused, ?lease, "a late report was refused"),
        }
    }

    pub(crate) fn listener_failed(&mut self, failed: ListenerFailed, now: Instant) {
        let ListenerFailed { place, lease, fault } = failed;
        let table = &mut self.setup.table;
        let member = table.has_member(place, lease);
        if !member && !table.is_present(place, lease) {
            return self.refuse_late("the failure of a listener");
        }
        if fault.kind == FaultKind::AddressLost {
            let _not_served = table.address_moved(place, fault, now);
            return;
        }
        let lost = if member {
            table.member_lost(place, lease, fault, None)
        } else {
            table.listener_lost(place, fault)
        };
        if lost.is_ok() {
            // Opening it succeeds each time: its attempts would never be used up.
            let charge = self.charge(Part::Endpoint(place), now);
            self.send_failures(place.chunk, now);
            let name = orders::endpoint_at(&self.setup, place).map(|endpoint| endpoint.to_string());
            self.tell_exhausted(charge, PartKind::Endpoint, name.unwrap_or_default());
        }
    }

    pub(crate) fn failures_judged(&mut self, judged: FailuresJudged, now: Instant) {
        for (place, verdict) in judged.verdicts {
            self.setup.table.verdict(place, verdict, now);
            if let Verdict::Pause(delay) = verdict {
                self.paused_until = self.paused_until.max(Some(now + delay));
            }
        }
    }

    /// Counts a report of a lease or a Worker that was replaced meanwhile.
    pub(super) fn refuse_late(&mut self, report: &'static str) {
        self.setup.table.count_late();
        tracing::debug!(report, "a late report was refused");
    }

    /// The error log that was asked is gone: asks its successor.
    pub(crate) fn error_log_returned(&mut self, now: Instant) {
        self.setup.table.ask_again();
        self.send_all_failures(now);
    }

    fn send_all_failures(&mut self, now: Instant) {
        for chunk in self.setup.table.chunk_ids() {
            self.send_failures(chunk, now);
        }
    }

    /// Sends what could not be sent before.
    pub(super) fn resend(&mut self, now: Instant) {
        if self.resend_at.is_some_and(|due| due <= now) {
            self.resend_at = None;
            self.send_all_failures(now);
        }
    }

    /// What the restart intensity says of an endpoint whose listening socket failed.
    fn standing(&self, place: Place, fault: Fault, now: Instant) -> Option<Charge> {
        let restarts = self.crashes.get(&Part::Endpoint(place))?;
        let failed = fault.kind == FaultKind::Listener;
        failed.then(|| restarts.standing(&self.restart_policy(), now, fastrand::f64()))
    }

    /// Puts a chunk's new failures to the error log; after a while, when its
    /// mailbox is full.
    fn send_failures(&mut self, chunk: ChunkId, now: Instant) {
        let named = self.setup.table.unjudged(chunk).filter_map(|(place, fault, attempts)| {
            let endpoint = orders::endpoint_at(&self.setup, place)?;
            let charge = self.standing(place, fault, now);
            Some(Failure { place, endpoint, fault, attempts, charge })
        });
        let failures: Vec<_> = named.collect();
        if failures.is_empty() || self.drain.is_some() {
            return;
        }
        let order = JudgeFailures { chunk, failures };
        let sent = self.setup.error_log.current().map(|log| log.try_send(order));
        if let Some(Ok(())) = sent {
            self.setup.table.asked(chunk);
        } else {
            self.resend_at.get_or_insert(now + AGAIN);
        }
    }
}

fn is_shortage(outcome: &Outcome<Bound>) -> bool {
    matches!(outcome, Outcome::Failed(fault) if fault.class() == FaultClass::Resource)
}
