//! A worker's slot: its thread, its Worker, and whether its heart beats.

use std::time::{Duration, Instant};

use actix::{Addr, ArbiterHandle};

use super::Desk;
use crate::actors::opening::opened;
#[cfg(feature = "fault-injection")]
use crate::actors::poison;
use crate::actors::protocol::{HeartBeaten, Heartbeat, WorkerStarted};
use crate::actors::worker::{self, Worker};
use crate::supervision::{ChunkId, Event, WorkerId, WorkerState};

/// How often each Worker is asked whether it runs.
pub(super) const HEARTBEAT: Duration = Duration::from_millis(500);
/// A Worker that has not answered for this long hangs.
const HUNG: Duration = Duration::from_secs(3);

/// The place of one worker in the tree.
#[derive(Debug)]
pub(super) struct WorkerSlot {
    pub(super) id: WorkerId,
    /// `None` while there is no thread for it.
    pub(super) thread: Option<ArbiterHandle>,
    /// `None` while no Worker runs there.
    pub(super) addr: Option<Addr<Worker>>,
    /// Of the newest Worker; reports of older ones are not believed.
    pub(super) epoch: u64,
    /// It has had a Worker, alive or dead.
    pub(super) greeted: bool,
    pub(super) state: WorkerState,
    /// When the next Worker is started; `None` = one runs, or none shall.
    pub(super) restart_at: Option<Instant>,
    /// When it was last heard of, while a heartbeat is unanswered.
    pub(super) silent_since: Option<Instant>,
    pub(super) hung: bool,
    pub(super) drained: bool,
    /// The chunk that crashed too often, to be put to rest when the next
    /// Worker has said what of it was opened; and the pause before its probe.
    pub(super) poisoned: Option<(ChunkId, Option<Duration>)>,
}

impl WorkerSlot {
    pub(super) const fn new(id: WorkerId) -> Self {
        Self {
            id,
            thread: None,
            addr: None,
            epoch: 0,
            greeted: false,
            state: WorkerState::Idle,
            restart_at: None,
            silent_since: None,
            hung: false,
            drained: true,
            poisoned: None,
        }
    }

    /// Whether its first Worker is still to come.
    pub(super) const fn is_starting(&self) -> bool {
        self.thread.is_some() && !self.greeted
    }

    /// Whether it could take a chunk.
    pub(super) const fn is_free(&self) -> bool {
        self.addr.is_some() && !matches!(self.state, WorkerState::Processing(_))
    }
}

impl Desk {
    /// Starts each Worker whose time has come.
    pub(super) fn start_workers(&mut self, now: Instant) {
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            let Some(thread) = slot.thread.as_ref() else { continue };
            if slot.addr.is_some() || slot.restart_at.is_none_or(|due| due > now) {
                continue;
            }
            if slot.greeted {
                self.setup.restarts.worker();
            }
            self.epochs += 1;
            slot.restart_at = None;
            slot.epoch = self.epochs;
            let share = self.setup.shares[index].clone();
            worker::start(thread, slot.id, slot.epoch, share);
        }
    }

    /// A Worker runs. What a predecessor left on the thread is its own now:
    /// the lease that the predecessor held ends with what it had opened.
    pub(crate) fn worker_started(&mut self, started: WorkerStarted, now: Instant) {
        let WorkerStarted { worker, epoch, addr, adopted } = started;
        let Some(slot) = self.slot_mut(worker).filter(|slot| slot.epoch == epoch) else {
            return self.refuse_late("the start of a Worker");
        };
        slot.addr = Some(addr);
        let returns = std::mem::replace(&mut slot.greeted, true);
        slot.state = WorkerState::Idle;
        slot.silent_since = None;
        let poisoned = slot.poisoned.take();
        if let Some(lease) = self.setup.table.lease_of(worker) {
            let lives = adopted.into_iter().filter(|(_, under, _)| *under == lease);
            let outcomes: Vec<_> = lives
                .map(|(slot, _, socket)| (slot, opened(socket.local_addr().port(), socket)))
                .collect();
            self.take_report(lease, outcomes, now);
        }
        if let Some((chunk, probe)) = poisoned {
            self.quarantine_chunk(chunk, probe, now);
        }
        if returns {
            self.tell(Event::WorkerRestarted { worker });
        }
    }

    pub(crate) fn heart_beaten(&mut self, beat: HeartBeaten, _now: Instant) {
        let Some(slot) = self.slot_mut(beat.worker).filter(|slot| slot.epoch == beat.epoch) else {
            return;
        };
        slot.silent_since = None;
        self.hangs_no_longer(beat.worker);
    }

    /// The worker's thread has said something, whatever that was.
    pub(super) fn hangs_no_longer(&mut self, worker: WorkerId) {
        let hung = self.slot_mut(worker).map(|slot| &mut slot.hung);
        if hung.is_some_and(std::mem::take) {
            self.setup.table.worker_came();
            self.publish_hung();
            self.tell(Event::WorkerAnswers { worker });
        }
    }

    /// Asks every Worker whether it runs, and looks for threads that ended.
    pub(super) fn check_hearts(&mut self, now: Instant) {
        if self.heartbeat_at > now {
            return;
        }
        self.heartbeat_at = now + HEARTBEAT;
        self.look_at_limits(now);
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            if slot.thread.as_ref().is_some_and(|thread| !thread.alive()) {
                self.thread_lost(index, now);
                continue;
            }
            let Some(addr) = &slot.addr else { continue };
            // A full mailbox is as silent as no answer.
            let _full = addr.try_send(Heartbeat);
            let since = *slot.silent_since.get_or_insert(now);
            if !slot.hung && now.duration_since(since) >= HUNG {
                slot.hung = true;
                let worker = slot.id;
                self.publish_hung();
                self.tell(Event::WorkerHung { worker });
            }
        }
    }

    /// Makes a Worker panic.
    #[cfg(feature = "fault-injection")]
    pub(crate) fn poison_worker(&self, worker: WorkerId) {
        let slot = self.slots.iter().find(|slot| slot.id == worker);
        if let Some(addr) = slot.and_then(|slot| slot.addr.as_ref()) {
            poison::order(addr.clone(), poison::Poison);
        }
    }

    pub(super) fn publish_hung(&self) {
        let hung = self.slots.iter().filter(|slot| slot.hung).count();
        self.setup.board.publish_hung(hung as u64);
    }
}
