//! The model's Supervisor: what it does with the table, and what it says.

use std::time::Duration;

use nix::errno::Errno;

use super::{
    Address, ENDPOINTS, Hold, Lease, Message, Opened, Outcome, Place, Report, Slot, Thread, Token,
    Told, World,
};
use crate::config;
use crate::supervision::chunk::{ChunkId, ChunkState};
use crate::supervision::failure::{Fault, FaultKind};
use crate::supervision::intensity::{Charge, RestartPolicy};
use crate::supervision::retry::RetryPolicy;
use crate::supervision::states::EndpointState;

fn fault(kind: FaultKind) -> Fault {
    Fault::without_errno(kind)
}

fn outcome((slot, opened): (Slot, Opened), sockets: u16) -> (Slot, Outcome<Token>) {
    let outcome = match opened {
        Opened::Listens(socket) => Outcome::Opened { port: 80, socket, sockets },
        Opened::Fails => Outcome::Failed(Fault::from_bind_errno(Errno::EADDRINUSE as i32)),
    };
    (slot, outcome)
}

impl World {
    fn retry(&self) -> config::Retry {
        config::Retry { max_attempts: 3, quarantine_probe: self.probe, ..config::Retry::default() }
    }

    fn policy(&self) -> RestartPolicy {
        let window = Duration::from_secs(60);
        let supervision = config::Supervision { max_restarts: 2, window };
        RestartPolicy::new(&supervision, &self.retry())
    }

    pub(super) fn dispatch(&mut self, thread: usize) {
        let Thread { address: to, staffed, .. } = self.threads[thread];
        if !self.supervisor || self.table.lease_of(to.worker).is_some() {
            return;
        }
        self.share_out();
        self.table.wake(self.now);
        let Some(leased) = self.table.lease_next(to.worker, self.now) else { return };
        let lease = leased.lease;
        if !staffed {
            self.table.revoke(lease, self.now).expect("the lease is fresh");
            return;
        }
        let held = |slot| self.table.held(Place { chunk: lease.chunk, slot }).1.copied();
        let orders = leased.slots.into_iter().map(|slot| (slot, held(slot))).collect();
        self.wire.push(Message::Assign { to, lease, orders });
    }

    /// An operator's order; with a Supervisor that dies the listener hears of
    /// it from the next.
    pub(super) fn hold(&mut self, endpoint: u64, hold: Hold) {
        let place = self.table.place(endpoint);
        if self.supervisor {
            let _removed_before = self.table.hold(place, hold);
            self.send_closings();
        }
    }

    /// A new plan names an endpoint again that was removed.
    pub(super) fn add(&mut self, endpoint: u64) {
        let known = self.table.endpoint_state(self.table.place(endpoint));
        if known.is_none_or(|state| state == EndpointState::Closed) {
            self.table.renumber(ENDPOINTS, self.runs.clone(), Some);
            self.table.add(&[endpoint]);
        }
    }

    /// A new plan gives an endpoint other settings.
    pub(super) fn reopen(&mut self, endpoint: u64, binds: bool) {
        if self.supervisor {
            self.table.reopen(self.table.place(endpoint), binds, self.now);
            self.send_closings();
        }
    }

    pub(super) fn send_closings(&mut self) {
        for (place, lease) in self.table.take_closings() {
            if self.table.has_member(place, lease) {
                self.tell(lease.worker, Told::Close(place, lease));
            } else {
                self.wire.push(Message::Close { worker: lease.worker, place, lease });
            }
        }
    }

    /// Asks each worker what became of its lease, and tells listeners to close
    /// once more.
    pub(super) fn ask(&mut self) {
        if self.supervisor {
            self.table.close_again();
            self.send_closings();
        }
        for thread in &self.threads {
            let lease = self.table.lease_of(thread.address.worker).filter(|_| self.supervisor);
            self.wire.extend(lease.map(|lease| Message::Ask { to: thread.address, lease }));
        }
    }

    /// A new Supervisor finds the table, and asks for what it cannot know.
    pub(super) fn start_supervisor(&mut self) {
        if !self.supervisor {
            self.supervisor = true;
            self.share_out_again();
            self.ask();
            self.look_at_addresses();
        }
    }

    /// A new worker on a thread that lives, or a new thread for one that ended.
    pub(super) fn replace(&mut self, index: usize) {
        let Address { worker, life } = self.threads[index].address;
        if !self.supervisor || self.threads[index].staffed {
            return;
        }
        let lease = self.table.lease_of(worker);
        if !self.threads[index].attached {
            self.threads[index] = Thread::new(worker, life + 1, 0);
            self.table.worker_came();
            return;
        }
        if !self.threads[index].alive {
            if let Some(lease) = lease {
                self.table.retry_chunk_at(lease, self.now).expect("the present lease");
            }
            self.table.worker_lost(worker, fault(FaultKind::WorkerLost), self.now);
            self.threads[index].attached = false;
            return;
        }
        if let Some(lease) = lease.filter(|_| !self.rules.adopt_first) {
            self.table.retry_chunk_at(lease, self.now).expect("the present lease");
        }
        let thread = &mut self.threads[index];
        thread.staffed = true;
        thread.fence = thread.fence.max(lease.map_or(0, |lease| lease.epoch));
        let found = thread.listeners.clone();
        let report = Report::Adopted { lease, fence: thread.fence, found };
        thread.unacknowledged.push(report.clone());
        self.wire.push(Message::Report { from: thread.address, report });
    }

    pub(super) fn take_report(&mut self, from: Address, report: Report) {
        let before = self.facts();
        let refused = self.table.refused();
        match report.clone() {
            Report::Finished { lease, outcomes } => {
                let outcomes = outcomes.into_iter().map(|(slot, opened)| {
                    let place = Place { chunk: lease.chunk, slot };
                    outcome((slot, opened), self.sockets(place))
                });
                let outcomes: Vec<_> = outcomes.collect();
                if self.table.finish(lease, outcomes, self.now).is_err() {
                    assert_eq!(self.facts(), before, "a stale report changed something");
                    assert_eq!(self.table.refused(), refused + 1);
                }
            }
            Report::ListenerClosed { place, lease } => {
                let _told_twice = self.table.listener_closed(place, lease);
            }
            Report::ListenerEnded { live, keeps } if live.member > 0 => {
                self.end_member(live, keeps);
            }
            Report::ListenerEnded { live, keeps } => {
                let present = ChunkState::Processing { lease: live.lease };
                if self.rules.patient && self.table.state(live.place.chunk) == Some(present) {
                    return;
                }
                if !self.rules.named || self.table.served_under(live.place) == Some(live.lease) {
                    self.end_service(live.place, keeps);
                }
            }
            Report::Adopted { lease, fence, found } => {
                if let Some(lease) = lease {
                    let of_lease = found.iter().filter(|live| live.lease == lease);
                    let live = of_lease.map(|live| {
                        let opened = (live.place.slot, Opened::Listens(live.token));
                        outcome(opened, self.sockets(live.place))
                    });
                    self.adopt(lease, live.collect());
                }
                let owned: Vec<_> = self.table.owned_by(from.worker).collect();
                for place in owned {
                    let under = self.table.served_under(place).expect("it is owned");
                    let lives = found.iter().any(|live| (live.place, live.lease) == (place, under));
                    if !lives && (!self.rules.dated || under.epoch <= fence) {
                        self.end_service(place, true);
                    }
                }
            }
        }
        self.look_at_addresses();
        self.send_closings();
        self.share_out();
        self.wire.push(Message::Acknowledge { to: from, report });
    }

    fn adopt(&mut self, lease: Lease, live: Vec<(Slot, Outcome<Token>)>) {
        if self.table.state(lease.chunk) != Some(ChunkState::Processing { lease }) {
            return;
        }
        let policy = self.policy();
        let restarts = self.chunk_restarts.entry(lease.chunk).or_default();
        let charge = restarts.charge(&policy, self.now, 0.5);
        let due = match charge {
            Charge::Restart { after } => self.now + after,
            Charge::Exhausted { .. } => self.now,
        };
        self.table.adopt(lease, live, due).expect("the present lease");
        if let Charge::Exhausted { probe } = charge {
            let probe = probe.map(|pause| self.now + pause);
            self.table.quarantine_chunk(lease.chunk, fault(FaultKind::ChunkPanic), probe);
        }
    }

    /// Nobody serves this endpoint any more.
    fn end_service(&mut self, place: Place, keeps: bool) {
        if !keeps {
            let _not_served = self.table.listener_lost(place, fault(FaultKind::Listener));
            return;
        }
        let policy = self.policy();
        let charge = self.restarts.entry(place).or_default().charge(&policy, self.now, 0.5);
        let crash = fault(FaultKind::ListenerPanic);
        match charge {
            Charge::Restart { after } => {
                let _not_served = self.table.listener_crashed(place, crash, self.now + after);
            }
            Charge::Exhausted { probe } => {
                self.table.quarantine(place, crash, probe.map(|pause| self.now + pause));
            }
        }
    }

    /// Nobody serves this member any more.
    pub(super) fn charge_member(&mut self, place: Place, lease: Lease, keeps: bool) {
        let lost = |table: &mut super::ChunkTable<Token>, fault, exhausted| {
            table.member_lost(place, lease, fault, exhausted).expect("it was served");
        };
        if !keeps {
            return lost(&mut self.table, fault(FaultKind::Listener), None);
        }
        let policy = self.policy();
        let charge = self.restarts.entry(place).or_default().charge(&policy, self.now, 0.5);
        match charge {
            Charge::Restart { after } => {
                let due = self.now + after;
                self.table.member_crashed(place, lease, due).expect("it was served");
            }
            Charge::Exhausted { probe } => {
                let probe = probe.map(|pause| self.now + pause);
                lost(&mut self.table, fault(FaultKind::ListenerPanic), Some(probe));
            }
        }
    }

    /// Sends what awaits a verdict to the error log.
    pub(super) fn judge(&mut self) {
        if self.supervisor {
            let chunks = self.table.chunk_ids();
            let waiting = chunks.filter(|chunk| self.table.unjudged(*chunk).next().is_some());
            self.wire.extend(waiting.map(|chunk| Message::Judge { chunk }));
        }
    }

    pub(super) fn pass_verdicts(&mut self, chunk: ChunkId) {
        let unjudged = self.table.unjudged(chunk);
        let verdicts = unjudged.map(|(place, _, attempts)| Message::Verdict { place, attempts });
        self.wire.extend(verdicts);
    }

    pub(super) fn take_verdict(&mut self, place: Place, attempts: u32) {
        let policy = RetryPolicy::new(self.retry());
        let verdict = policy.judge(fault(FaultKind::BindInUse), attempts, 0.5);
        self.table.verdict(place, verdict, self.now);
    }

    pub(super) fn take_address(&mut self, place: Place) {
        self.away.insert(place);
        self.look_at_addresses();
    }

    pub(super) fn return_address(&mut self, place: Place) {
        self.away.remove(&place);
        self.look_at_addresses();
    }

    /// After each event of the kernel, each report, and at the start: what was
    /// opened while the address left would be missed otherwise.
    fn look_at_addresses(&mut self) {
        if !self.supervisor {
            return;
        }
        let away: Vec<_> = self.away.iter().copied().collect();
        for place in away {
            if self.table.endpoint_state(place) == Some(EndpointState::Listening) {
                let lost = self.table.address_lost(place, fault(FaultKind::AddressLost));
                lost.expect("it listens");
            }
        }
        let back: Vec<_> = self.table.waiting_for_address().collect();
        for place in back.into_iter().filter(|place| !self.away.contains(place)) {
            self.table.address_back(place).expect("it waits");
        }
    }
}
