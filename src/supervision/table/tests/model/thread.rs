//! The model's worker threads: they open, serve, crash, and answer.

use std::collections::VecDeque;

use super::{
    Address, Live, Message, Opened, Orders, Outcomes, Place, Report, THREADS, Thread, Token, World,
};
use crate::supervision::chunk::{Lease, WorkerId};

impl Thread {
    pub(super) fn new(worker: WorkerId, life: u32, fence: u64) -> Self {
        Self {
            address: Address { worker, life },
            alive: true,
            attached: true,
            staffed: true,
            opening: None,
            fence,
            listeners: Vec::new(),
            unacknowledged: Vec::new(),
            told: VecDeque::new(),
            last_member: 0,
            ended: Vec::new(),
        }
    }

    /// The actor's own state is gone; its listeners serve on.
    pub(super) fn panic_worker(&mut self) {
        self.staffed = false;
        self.opening = None;
        self.unacknowledged.clear();
    }

    pub(super) fn end(&mut self) {
        self.panic_worker();
        self.alive = false;
        self.listeners.clear();
        self.told.clear();
        self.ended.clear();
    }

    fn live_of(&self, lease: Lease) -> Outcomes {
        let of_lease = self.listeners.iter().filter(|live| live.lease == lease);
        of_lease.map(|live| (live.place.slot, Opened::Listens(live.token))).collect()
    }
}

impl World {
    /// The thread at this address, if its worker lives.
    pub(super) fn staffed(&mut self, to: Address) -> Option<&mut Thread> {
        self.threads.iter_mut().find(|thread| thread.address == to && thread.staffed)
    }

    pub(super) fn take_order(&mut self, to: Address, lease: Lease, orders: Orders) {
        let fenced = self.rules.fence;
        let Some(thread) = self.staffed(to) else { return };
        if fenced && lease.epoch <= thread.fence {
            return;
        }
        thread.fence = thread.fence.max(lease.epoch);
        thread.opening = Some((lease, orders, Vec::new()));
    }

    /// What became of this lease? Whatever comes of it later is refused.
    pub(super) fn take_question(&mut self, to: Address, lease: Lease) {
        let whole = self.rules.whole;
        let Some(thread) = self.staffed(to) else { return };
        if thread.opening.as_ref().is_some_and(|(opening, ..)| *opening == lease) {
            return;
        }
        let waits = thread.unacknowledged.iter().any(|report| match report {
            Report::Finished { lease: of, .. } => *of == lease,
            Report::Adopted { lease: of, .. } => *of == Some(lease),
            Report::ListenerEnded { .. } | Report::ListenerClosed { .. } => false,
        });
        if waits && whole {
            return;
        }
        thread.fence = thread.fence.max(lease.epoch);
        let outcomes = if whole { thread.live_of(lease) } else { Vec::new() };
        let report = Report::Finished { lease, outcomes };
        thread.unacknowledged.push(report.clone());
        self.wire.push(Message::Report { from: to, report });
    }

    /// Opens the next endpoint of an order, or reports that none is left.
    pub(super) fn work(&mut self, thread: usize, fails: bool) {
        let address = self.threads[thread].address;
        let Some((lease, mut orders, mut outcomes)) = self.threads[thread].opening.take() else {
            return;
        };
        let Some((slot, held)) = orders.pop() else {
            let report = Report::Finished { lease, outcomes };
            self.threads[thread].unacknowledged.push(report.clone());
            self.wire.push(Message::Report { from: address, report });
            return;
        };
        let place = Place { chunk: lease.chunk, slot };
        let token = held.or_else(|| self.bind(place)).filter(|_| !fails);
        let outcome = match token.filter(|_| !self.away.contains(&place)) {
            Some(token) => {
                self.threads[thread].listeners.push(Live { place, lease, token, member: 0 });
                Opened::Listens(token)
            }
            None => Opened::Fails,
        };
        outcomes.push((slot, outcome));
        self.threads[thread].opening = Some((lease, orders, outcomes));
    }

    /// The kernel's part: an endpoint has one socket at a time.
    fn bind(&mut self, place: Place) -> Option<Token> {
        let served = self.live().any(|live| live.place == place);
        if served || self.table.held(place).1.is_some() {
            return None;
        }
        self.tokens += 1;
        Some(Token(self.tokens))
    }

    /// A listener that was told to close; one that is gone is said to be gone.
    pub(super) fn close_listener(&mut self, worker: WorkerId, place: Place, lease: Lease) {
        let thread = self.threads.iter_mut().find(|thread| thread.address.worker == worker);
        let Some(thread) = thread.filter(|thread| thread.alive) else { return };
        thread.listeners.retain(|live| (live.place, live.lease) != (place, lease));
        let report = Report::ListenerClosed { place, lease };
        self.wire.push(Message::Report { from: thread.address, report });
    }

    pub(super) fn resend(&mut self, thread: usize) {
        let thread = &self.threads[thread];
        for report in thread.unacknowledged.iter().chain(&thread.ended).cloned() {
            self.wire.push(Message::Report { from: thread.address, report });
        }
    }

    /// A listener ends; its thread's worker, if there is one, says so.
    pub(super) fn end_listener(&mut self, pick: usize, keeps: bool) {
        let thread = &mut self.threads[pick % THREADS];
        let Some(at) = (pick / THREADS).checked_rem(thread.listeners.len()) else { return };
        let live = thread.listeners.remove(at);
        if live.member > 0 || thread.staffed {
            let report = Report::ListenerEnded { live, keeps };
            let member = live.member > 0;
            let kept = if member { &mut thread.ended } else { &mut thread.unacknowledged };
            kept.push(report.clone());
            self.wire.push(Message::Report { from: thread.address, report });
        }
    }

    /// Every listener of every thread.
    pub(super) fn live(&self) -> impl Iterator<Item = Live> + '_ {
        self.threads.iter().flat_map(|thread| thread.listeners.iter().copied())
    }
}
