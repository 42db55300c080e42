//! The model of members: sockets of one endpoint that several threads serve.
//!
//! Their orders come in order, and are lost only with whoever was to give or to
//! hear them; their reports outlive the Worker of their thread.

use super::{Live, Message, Place, Report, THREADS, Thread, Told, World};
use crate::supervision::chunk::WorkerId;

/// The first of the plan have members, where any have.
const SHARED: u64 = 3;

impl Thread {
    fn tell(&mut self, told: Told) {
        if self.alive {
            self.told.push_back(told);
        }
    }
}

impl World {
    /// How many sockets an endpoint is opened with.
    pub(super) fn sockets(&self, place: Place) -> u16 {
        let shared = self.shared && self.table.endpoint(place) < SHARED;
        if shared { THREADS as u16 } else { 1 }
    }

    /// Gives out the members that nobody serves.
    pub(super) fn share_out(&mut self) {
        if !self.supervisor {
            return;
        }
        let attached = self.threads.iter().filter(|thread| thread.attached);
        let workers: Vec<_> = attached.map(|thread| thread.address.worker).collect();
        for given in self.table.share_out(&workers, 2, self.now) {
            let token = *self.table.held(given.place).1.expect("its sockets");
            self.tell(given.lease.worker, Told::Serve(given, token));
        }
        self.send_closings();
    }

    pub(super) fn share_out_again(&mut self) {
        for given in self.table.share_out_again() {
            if let Some(token) = self.table.held(given.place).1.copied() {
                self.tell(given.lease.worker, Told::Serve(given, token));
            }
        }
    }

    pub(super) fn tell(&mut self, worker: WorkerId, told: Told) {
        let thread = self.threads.iter_mut().find(|thread| thread.address.worker == worker);
        thread.expect("a worker of the model").tell(told);
    }

    /// The thread does the next that it was told.
    pub(super) fn obey(&mut self, index: usize) {
        let told_once = self.rules.told_once;
        let thread = &mut self.threads[index];
        match thread.told.pop_front() {
            Some(Told::Serve(given, token)) => {
                let epoch = given.lease.epoch;
                if told_once && epoch <= thread.last_member {
                    return;
                }
                thread.last_member = thread.last_member.max(epoch);
                let (place, lease, member) = (given.place, given.lease, given.member);
                thread.listeners.push(Live { place, lease, token, member });
            }
            Some(Told::Close(place, lease)) => {
                thread.listeners.retain(|live| (live.place, live.lease) != (place, lease));
                let report = Report::ListenerClosed { place, lease };
                thread.ended.push(report.clone());
                self.wire.push(Message::Report { from: thread.address, report });
            }
            None => {}
        }
    }

    /// A listener of a member ended.
    pub(super) fn end_member(&mut self, live: Live, keeps: bool) {
        let (place, lease) = (live.place, live.lease);
        if !self.table.has_member(place, lease) {
            return;
        }
        self.charge_member(place, lease, keeps);
    }
}
