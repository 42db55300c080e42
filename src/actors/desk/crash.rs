//! What crashed, what that is charged to, and when it is tried again.
//!
//! A listener's crash is charged to its endpoint, one while a chunk is opened
//! to that chunk, any other to the worker's slot. A part that crashes too often
//! rests; its siblings stay.

use std::time::{Duration, Instant};

use super::{Desk, Event, Part};
use crate::actors::orders;
use crate::actors::protocol::{ListenerCrashed, Notice, PartCrashed, WorkerEnded};
use crate::supervision::{Charge, ChunkId, Fault, FaultKind, WorkerState};

impl Desk {
    pub(super) fn charge(&mut self, part: Part, now: Instant) -> Charge {
        let restarts = self.crashes.entry(part).or_default();
        restarts.charge(&self.setup.policy, now, fastrand::f64())
    }

    pub(crate) fn listener_crashed(&mut self, crashed: ListenerCrashed, now: Instant) {
        let ListenerCrashed { place, lease, panic } = crashed;
        let Some(endpoint) = orders::endpoint_at(&self.setup, place) else { return };
        let (name, kind) = (endpoint.to_string(), FaultKind::ListenerPanic);
        let member = self.setup.table.has_member(place, lease);
        let present = member || self.setup.table.is_present(place, lease);
        if !present {
            self.refuse_late("the crash of a listener");
        }
        if self.drain.is_some() || !present {
            return self.report_crash("listener", name, kind, panic, None);
        }
        let fault = Fault::without_errno(kind);
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
        self.report_crash("listener", name.clone(), kind, panic.clone(), Some(charge));
        self.tell(Event::ListenerCrashed { endpoint, panic });
        self.tell_exhausted(charge, name);
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
        if !present {
            self.refuse_late("the end of a Worker");
        }
        if draining || !present {
            let (name, kind) = (worker.to_string(), FaultKind::WorkerPanic);
            return self.report_crash("worker", name, kind, panic, None);
        }
        let (part, kind) = match lease {
            Some(lease) => (Part::Chunk(lease.chunk), FaultKind::ChunkPanic),
            None => (Part::Worker(worker), FaultKind::WorkerPanic),
        };
        let charge = self.charge(part, now);
        let Some(slot) = self.slot_mut(worker) else { return };
        let (restart_at, poisoned, name) = match (charge, part) {
            (Charge::Exhausted { probe }, Part::Chunk(chunk)) => {
                (Some(now), Some((chunk, probe)), chunk.to_string())
            }
            (Charge::Exhausted { probe }, _) => {
                (probe.map(|pause| now + pause), None, worker.to_string())
            }
            (Charge::Restart { after }, Part::Chunk(chunk)) => {
                (Some(now + after), None, chunk.to_string())
            }
            (Charge::Restart { after }, _) => (Some(now + after), None, worker.to_string()),
        };
        slot.restart_at = restart_at;
        slot.poisoned = poisoned;
        self.report_crash("worker", name.clone(), kind, panic.clone(), Some(charge));
        self.tell(Event::WorkerCrashed { worker, panic });
        self.tell_exhausted(charge, name);
    }

    /// Tells of a quarantine, after the crash that was one too many.
    pub(super) fn tell_exhausted(&self, charge: Charge, name: String) {
        if matches!(charge, Charge::Exhausted { .. }) {
            self.tell(Event::Quarantined(name));
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
        let panic = format!("its thread ended with {lost} listeners");
        let (name, kind) = (worker.to_string(), FaultKind::WorkerLost);
        self.report_crash("thread", name, kind, panic, Some(charge));
        self.tell(Event::WorkerLost(worker));
        let _ending = self.setup.replace.send(worker);
    }

    fn report_crash(
        &self,
        part: &'static str,
        name: String,
        kind: FaultKind,
        panic: String,
        charge: Option<Charge>,
    ) {
        let outlook = match charge {
            // Its thread has ended too, or a drain is under way.
            None => "gone",
            Some(Charge::Restart { .. }) => "restarting",
            Some(Charge::Exhausted { probe: Some(_) }) => "quarantined, probed now and then",
            Some(Charge::Exhausted { probe: None }) => "quarantined",
        };
        let crashed = PartCrashed { part, name, kind, panic, outlook };
        self.tell_error_log(Notice::PartCrashed(crashed));
    }
}
