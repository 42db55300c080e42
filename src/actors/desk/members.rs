//! The further sockets of endpoints, given out: which thread serves which.
//!
//! Who gets one is the table's decision; this tells the threads, whether a
//! Worker lives there or not.

use std::collections::BTreeMap;
use std::time::Instant;

use super::Desk;
use crate::actors::orders;
use crate::actors::protocol::ServeMember;
use crate::supervision::{SubLease, WorkerId};

/// Most endpoints that are looked at before the Supervisor does other things.
const SLICE: usize = 512;
/// Most listeners that a thread starts before it does other things.
const A_TURN: usize = 256;

impl Desk {
    /// Gives out the sockets that nobody serves.
    pub(super) fn share_out_members(&mut self, now: Instant) {
        // One that hangs would leave its share of the clients waiting.
        let serves = |slot: &&super::WorkerSlot| slot.thread.is_some() && !slot.hung;
        let workers: Vec<_> = self.slots.iter().filter(serves).map(|slot| slot.id).collect();
        let given = self.setup.table.share_out(&workers, SLICE, now);
        self.share_out_at = self.setup.table.is_uneven().then_some(now);
        self.give(given);
    }

    /// A Supervisor begins: its predecessor may have died before it told anybody.
    pub(super) fn share_out_again(&mut self) {
        let given = self.setup.table.share_out_again();
        self.give(given);
    }

    fn give(&mut self, given: Vec<SubLease>) {
        let mut by_worker: BTreeMap<WorkerId, Vec<ServeMember>> = BTreeMap::new();
        for SubLease { place, member, lease } in given {
            let (_, socket) = self.setup.table.held(place);
            let at = usize::from(member).checked_sub(1);
            let socket = socket.and_then(|socket| socket.members().get(at?)).cloned();
            let order = orders::write(&mut self.setup, lease.chunk, &[place.slot]).pop();
            if let (Some(socket), Some(order)) = (socket, order) {
                let order = ServeMember { lease, order, socket };
                by_worker.entry(lease.worker).or_default().push(order);
            }
        }
        for (worker, mut orders) in by_worker {
            while !orders.is_empty() {
                let rest = orders.split_off(orders.len().min(A_TURN));
                let turn = std::mem::replace(&mut orders, rest);
                self.on_thread(worker, move |local| local.serve_members(turn));
            }
        }
    }
}
