//! Giving chunks to workers, and waking up when one is due.

use std::time::{Duration, Instant};

use actix::{Addr, AsyncContext, Context};

use super::{AGAIN, Supervisor};
use crate::actors::orders;
use crate::actors::protocol::AssignChunk;
use crate::actors::worker::Worker;
use crate::supervision::{Leased, WorkerState};

impl Supervisor {
    /// What follows each message: give out chunks, publish, decide on `ready`,
    /// and wake up when something is due.
    pub(super) fn advance(&mut self, ctx: &mut Context<Self>) {
        if self.drain.is_some() {
            return;
        }
        let now = Instant::now();
        if self.paused_until.is_none_or(|until| until <= now) {
            self.paused_until = None;
            self.setup.table.wake(now);
            self.dispatch(now);
        }
        let table = &self.setup.table;
        self.setup.board.publish(table.endpoint_counts(), table.chunk_counts());
        if table.undecided() == 0 {
            self.announce();
        }
        let due = self.paused_until.or_else(|| self.setup.table.next_due());
        if let Some(due) = due {
            self.wake_at(due.max(now + Duration::from_millis(1)), ctx);
        }
    }

    fn wake_at(&mut self, due: Instant, ctx: &mut Context<Self>) {
        if let Some((at, handle)) = self.timer {
            if at <= due {
                return;
            }
            ctx.cancel_future(handle);
        }
        let delay = due.saturating_duration_since(Instant::now());
        let handle = ctx.run_later(delay, |supervisor, ctx| {
            supervisor.timer = None;
            supervisor.advance(ctx);
        });
        self.timer = Some((due, handle));
    }

    /// Gives the next ready chunks to the workers that are free.
    fn dispatch(&mut self, now: Instant) {
        for index in 0..self.workers.len() {
            let slot = &self.workers[index];
            if matches!(slot.state, WorkerState::Processing(_)) {
                continue;
            }
            let (id, addr) = (slot.id, slot.addr.clone());
            let Some(leased) = self.setup.table.lease_next(id, now) else {
                self.workers[index].state = WorkerState::Done;
                continue;
            };
            let lease = leased.lease;
            self.workers[index].state = self.assign(&addr, leased, now);
            if self.workers[index].state == WorkerState::Idle {
                tracing::warn!(worker = %id, chunk = %lease.chunk, "the worker takes no chunk now");
                self.paused_until = Some(now + AGAIN);
            }
        }
    }

    fn assign(&mut self, addr: &Addr<Worker>, leased: Leased, now: Instant) -> WorkerState {
        let Leased { lease, slots } = leased;
        let orders = orders::write(&mut self.setup, lease.chunk, &slots);
        match addr.try_send(AssignChunk { lease, orders }) {
            Ok(()) => WorkerState::Processing(lease.chunk),
            Err(_full_or_gone) => {
                let _present = self.setup.table.revoke(lease, now);
                WorkerState::Idle
            }
        }
    }
}
