//! What follows each message: start Workers, give out chunks, decide on ready.

use std::time::{Duration, Instant};

use super::Desk;
use crate::actors::orders;
use crate::actors::protocol::AssignChunk;
use crate::supervision::{Leased, WorkerState};

/// Pause before a worker whose mailbox was full is offered a chunk again.
const AGAIN: Duration = Duration::from_millis(250);

impl Desk {
    /// Does everything that is due.
    pub(crate) fn advance(&mut self, now: Instant) {
        self.check_hearts(now);
        if self.drain.is_some() {
            // One that hangs is waited for no longer.
            self.check_drained();
            self.answer_waiters(now);
            self.tell_changes();
            return;
        }
        self.start_workers(now);
        self.resend(now);
        if !self.is_offering() && self.paused_until.is_none_or(|until| until <= now) {
            self.paused_until = None;
            self.setup.table.wake(now);
            self.dispatch(now);
        }
        self.share_out_members(now);
        self.follow_orders(now);
        self.publish();
        self.tell_changes();
        if self.setup.table.undecided() == 0 || self.ready_at.is_some_and(|due| due <= now) {
            self.ready_at = None;
            self.announce();
        }
    }

    /// When something will be due next.
    pub(crate) fn next_wake(&self) -> Instant {
        if self.drain.is_some() {
            return self.heartbeat_at;
        }
        let table = self.paused_until.or_else(|| self.setup.table.next_due());
        let table = table.filter(|_| !self.is_offering());
        let own =
            [table, self.share_out_at, self.resend_at, self.ready_at, self.orders.next_wake()];
        let starting =
            self.slots.iter().filter(|slot| slot.thread.is_some() && slot.addr.is_none());
        let all = own.into_iter().chain(starting.map(|slot| slot.restart_at)).flatten();
        all.fold(self.heartbeat_at, Instant::min)
    }

    /// Gives the next ready chunks to the workers that are free. Waits for the
    /// first Worker of every thread, so that all take part from the start.
    fn dispatch(&mut self, now: Instant) {
        if self.slots.iter().any(|slot| slot.is_starting()) {
            return;
        }
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            if !slot.is_free() {
                continue;
            }
            let Some(leased) = self.setup.table.lease_next(slot.id, now) else {
                self.slots[index].state = WorkerState::Done;
                continue;
            };
            self.assign(index, leased, now);
        }
    }

    fn assign(&mut self, index: usize, leased: Leased, now: Instant) {
        let Leased { lease, slots } = leased;
        let orders = orders::write(&mut self.setup, lease.chunk, &slots);
        let slot = &mut self.slots[index];
        let sent = slot.addr.as_ref().map(|addr| addr.try_send(AssignChunk { lease, orders }));
        if let Some(Ok(())) = sent {
            slot.state = WorkerState::Processing(lease.chunk);
            return;
        }
        slot.state = WorkerState::Idle;
        tracing::warn!(worker = %slot.id, chunk = %lease.chunk, "the worker takes no chunk now");
        let _present = self.setup.table.revoke(lease, now);
        self.paused_until = self.paused_until.max(Some(now + AGAIN));
    }
}
