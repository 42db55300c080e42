//! What crashed, what that is charged to, and when it is tried again.
//!
//! A listener's crash is charged to its endpoint, one while a chunk is opened
//! to that chunk, any other to the worker's slot. A part that crashes too often
//! rests; its siblings stay.

use std::time::{Duration, Instant};

use super::{Desk, Part};
use crate::actors::orders;
use crate::actors::protocol::{ListenerCrashed, WorkerEnded};
use crate::supervision::{
    Charge, ChunkId, Event, Fault, FaultKind, Outlook, PartKind, WorkerState,
};

impl Desk {
    pub(super) fn charge(&mut self, part: Part, now: Instant) -> Charge {
        let policy = self.restart_policy();
        let restarts = self.crashes.entry(part).or_default();
        restarts.charge(&policy, now, fastrand::f64())
    }

    pub(crate) fn listener_crashed(&mut self, crashed: ListenerCrashed, now: Instant) {
        let ListenerCrashed { place, lease, panic } = crashed;
        let Some(endpoint) = orders::endpoint_at(&self.setup, place) else { return };
        let member = self.setup.table.has_member(place, lease);
        let present = member || self.setup.table.is_present(place, lease);
        if !present {
            self.refuse_late("the crash of a listener");
        }
        if self.drain.is_some() || !present {
            let outlook = Outlook::Gone;
            return self.tell_failure(Event::ListenerCrashed { endpoint, panic, outlook });
        }
        let fault = Fault::without_errno(FaultKind::ListenerPanic);
        let charge = self.charge(Part::Endpoint(place), now);
        match charge {
            Charge::Restart { after } => {
                // Anything but a listening endpoint was lost already.
                let _lost = if member {
                    self.setup.table.member_crashed(place, lease, now + after)
                } else {
                    self.setup.table.listener_crashed(place, fault, now + after)
                };
                self.setup.restarts.listener();
            }
            Charge::Exhausted { probe } => {
                let probe = probe.map(|pause| now + pause);
                if member {
                    let _known = self.setup.table.member_lost(place, lease, fault, Some(probe));
                } else {
                    self.setup.table.quarantine(place, fault, probe);
                }
            }
        }
        let outlook = charge.into();
        self.tell_failure(Event::ListenerCrashed { endpoint, panic, outlook });
        self.tell_exhausted(charge, PartKind::Endpoint, endpoint.to_string());
    }

    pub(crate) fn worker_ended(&mut self, ended: WorkerEnded, now: Instant) {
        let WorkerEnded { worker, epoch, panic } = ended;
        let lease = self.setup.table.lease_of(worker);
        let draining = self.drain.is_some();
        let panic = panic.unwrap_or_else(|| "it stopped".to_owned());
        let slot = self.slot_mut(worker).filter(|slot| slot.epoch == epoch);
        let present = slot.is_some();
        if let Some(slot) = slot {
            slot.addr = None;
            slot.greeted = true;
            slot.state = WorkerState::Idle;
        }
        if present {
            // Or nobody would say so before its successor does, and a drain would not
            // wait for the sessions of a thread that runs.
            self.hangs_no_longer(worker);
        } else {
            self.refuse_late("the end of a Worker");
        }
        if draining || !present {
            let (chunk, outlook) = (None, Outlook::Gone);
            return self.tell_failure(Event::WorkerCrashed { worker, chunk, panic, outlook });
        }
        let chunk = lease.map(|lease| lease.chunk);
        let part = chunk.map_or(Part::Worker(worker), Part::Chunk);
        let charge = self.charge(part, now);
        let Some(slot) = self.slot_mut(worker) else { return };
        let (restart_at, poisoned) = match (charge, chunk) {
            (Charge::Exhausted { probe }, Some(chunk)) => (Some(now), Some((chunk, probe))),
            (Charge::Exhausted { probe }, None) => (probe.map(|pause| now + pause), None),
            (Charge::Restart { after }, _) => (Some(now + after), None),
        };
        slot.restart_at = restart_at;
        slot.poisoned = poisoned;
        let outlook = charge.into();
        self.tell_failure(Event::WorkerCrashed { worker, chunk, panic, outlook });
        let (kind, name) = match chunk {
            Some(chunk) => (PartKind::Chunk, chunk.to_string()),
            None => (PartKind::Worker, worker.to_string()),
        };
        self.tell_exhausted(charge, kind, name);
    }

    /// Tells of a quarantine, after the crash that was one too many.
    pub(super) fn tell_exhausted(&self, charge: Charge, part: PartKind, name: String) {
        if matches!(charge, Charge::Exhausted { .. }) {
            self.tell(Event::Quarantined { part, name });
        }
    }

    /// A chunk that crashes whoever opens it rests.
    pub(super) fn quarantine_chunk(
        &mut self,
        chunk: ChunkId,
        probe: Option<Duration>,
        now: Instant,
    ) {
        let fault = Fault::without_errno(FaultKind::ChunkPanic);
        self.setup.table.quarantine_chunk(chunk, fault, probe.map(|pause| now + pause));
        if let Some(restarts) = self.crashes.get_mut(&Part::Chunk(chunk)) {
            restarts.release();
        }
    }

    /// A worker's thread has ended: its sessions are gone, its sockets are
    /// kept by the table, and others open them.
    pub(super) fn thread_lost(&mut self, index: usize, now: Instant) {
        self.epochs += 1;
        let slot = &mut self.slots[index];
        let worker = slot.id;
        // Of no Worker: what those of the lost thread still say is late.
        slot.epoch = self.epochs;
        slot.thread = None;
        slot.addr = None;
        slot.state = WorkerState::Idle;
        slot.silent_since = None;
        slot.hung = false;
        slot.drained = true;
        let poisoned = slot.poisoned.take();
        self.publish_hung();
        if self.drain.is_some() {
            self.check_drained();
            return;
        }
        // No successor will say what of it was opened: nothing of it lives.
        if let Some((chunk, probe)) = poisoned {
            self.quarantine_chunk(chunk, probe, now);
        }
        if let Some(lease) = self.setup.table.lease_of(worker) {
            let _present = self.setup.table.revoke(lease, now);
        }
        let fault = Fault::without_errno(FaultKind::WorkerLost);
        let lost = self.setup.table.worker_lost(worker, fault, now);
        let charge = self.charge(Part::Worker(worker), now);
        let restart_at = match charge {
            Charge::Restart { after } => Some(now + after),
            Charge::Exhausted { probe } => probe.map(|pause| now + pause),
        };
        self.slots[index].restart_at = restart_at;
        let outlook = charge.into();
        self.tell_failure(Event::WorkerLost { worker, listeners: lost, outlook });
        let _ending = self.setup.replace.send(worker);
    }
}
