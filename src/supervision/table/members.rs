//! The further sockets of an endpoint (`reuse_port`): who serves each of them.
//!
//! One worker opens all sockets of an endpoint under one lease, and the table
//! keeps them as one. The lease's worker serves the first; each of the others is
//! a member, given to a worker of its own under a sub-lease. Never opens one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::row::{Judgement, Lost};
use super::{ChunkTable, Place, Refused, index};
use crate::supervision::chunk::{ChunkId, Lease, WorkerId};
use crate::supervision::failure::Fault;
use crate::supervision::states::EndpointState;

/// A member that was given to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubLease {
    /// The endpoint that the socket belongs to.
    pub place: Place,
    /// Which of its sockets; 0 is the first, which is no member.
    pub member: u16,
    /// Whose it is now. No other lease has its epoch.
    pub lease: Lease,
}

/// Who serves a member; nobody for a moment, where its listener has ended.
#[derive(Debug, Default)]
struct Member {
    owner: Option<(WorkerId, u64)>,
    /// Its listener was told to close, and is not known to be gone.
    closing: bool,
    /// Its listener crashed: nobody gets it before.
    due: Option<Instant>,
}

/// The members of all endpoints that have any.
#[derive(Debug, Default)]
pub(super) struct Members {
    of: BTreeMap<Place, Vec<Member>>,
    /// Endpoints whose members are to be looked at.
    uneven: BTreeSet<Place>,
    /// When to look at which endpoint.
    due: BTreeSet<(Instant, Place)>,
}

impl Members {
    /// Something of the endpoint changed.
    pub(super) fn look_at(&mut self, place: Place) {
        if self.of.contains_key(&place) {
            self.uneven.insert(place);
        }
    }

    /// The chunk is gone.
    pub(super) fn forget(&mut self, chunk: ChunkId) {
        self.of.retain(|place, _| place.chunk != chunk);
    }

    /// When somebody is to be looked at.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// From here on nothing is shared out.
    pub(super) fn close(&mut self) {
        self.uneven.clear();
        self.due.clear();
    }

    fn under(&mut self, place: Place, lease: Lease) -> Option<&mut Member> {
        let members = self.of.get_mut(&place)?;
        members.iter_mut().find(|member| member.owner == Some((lease.worker, lease.epoch)))
    }

    fn owned(&self) -> impl Iterator<Item = (Place, u16, &Member, WorkerId, u64)> + '_ {
        self.of.iter().flat_map(|(place, members)| {
            (1..).zip(members).filter_map(move |(number, member)| {
                let (worker, epoch) = member.owner?;
                Some((*place, number, member, worker, epoch))
            })
        })
    }
}

impl<S> ChunkTable<S> {
    /// The endpoint was opened with so many sockets, the first included.
    pub(super) fn enter_members(&mut self, place: Place, sockets: u16) {
        let members = usize::from(sockets.saturating_sub(1));
        if members > 0 || self.members.of.contains_key(&place) {
            // Their number changes only when all of them were closed before.
            self.members.of.entry(place).or_default().resize_with(members, Member::default);
            self.members.look_at(place);
        }
    }

    /// Gives each member that nobody serves to the worker that serves the fewest
    /// sockets of its endpoint, and has members close ([`Self::take_closings`])
    /// that are of no more use, or that a worker without any shall have.
    /// `workers` are those whose threads run. Looks at so many endpoints at `most`;
    /// whether others wait, [`Self::is_uneven`] says.
    pub fn share_out(&mut self, workers: &[WorkerId], most: usize, now: Instant) -> Vec<SubLease> {
        while let Some((_, place)) = self.members.due.first().copied().filter(|due| due.0 <= now) {
            self.members.due.pop_first();
            self.members.look_at(place);
        }
        let mut given = Vec::new();
        for _ in 0..most {
            let Some(place) = self.members.uneven.pop_first() else { break };
            if self.wants_members(place) {
                self.give_members(place, workers, now, &mut given);
                self.even_out(place, workers);
            } else {
                self.close_members(place, |_, _| true);
            }
        }
        given
    }

    /// Whether [`Self::share_out`] has something to look at.
    #[must_use]
    pub fn is_uneven(&self) -> bool {
        !self.members.uneven.is_empty()
    }

    /// All that was shared out and is not told to close, in that order: whoever
    /// was to tell the workers is gone.
    #[must_use]
    pub fn share_out_again(&self) -> Vec<SubLease> {
        let owned = self.members.owned().filter(|(_, _, member, ..)| !member.closing);
        let given = owned.map(|(place, member, _, worker, epoch)| SubLease {
            place,
            member,
            lease: Lease { chunk: place.chunk, worker, epoch },
        });
        let mut given: Vec<_> = given.collect();
        given.sort_by_key(|given| given.lease.epoch);
        given
    }

    /// A worker has a thread again: members may be its own.
    pub fn worker_came(&mut self) {
        self.members.uneven.extend(self.members.of.keys());
    }

    /// Whether a member of the endpoint is served under this lease.
    #[must_use]
    pub fn has_member(&self, place: Place, lease: Lease) -> bool {
        let members = self.members.of.get(&place).into_iter().flatten();
        members.into_iter().any(|member| member.owner == Some((lease.worker, lease.epoch)))
    }

    /// The workers that serve an endpoint, each once, by number.
    #[must_use]
    pub fn workers_of(&self, place: Place) -> Vec<WorkerId> {
        let first = self.row(place).and_then(|row| row.owner);
        let members = self.members.of.get(&place).into_iter().flatten();
        let others = members.filter_map(|member| member.owner.map(|(worker, _)| worker));
        let workers: BTreeSet<_> = first.into_iter().chain(others).collect();
        workers.into_iter().collect()
    }

    /// The listener of a member crashed: as [`Self::listener_crashed`] of its
    /// socket alone; the others serve on.
    ///
    /// # Errors
    /// [`Refused::NotServed`] when no member is served under this lease.
    pub fn member_crashed(
        &mut self,
        place: Place,
        lease: Lease,
        due: Instant,
    ) -> Result<(), Refused> {
        let member = self.members.under(place, lease).ok_or(Refused::NotServed(place))?;
        member.due = Some(due);
        self.members.due.insert((due, place));
        if let Some(row) = self.row_mut(place) {
            row.restarts = row.restarts.saturating_add(1);
        }
        self.free_member(place, lease)
    }

    /// The listener of a member is gone, and its endpoint must not be served on
    /// as it is: its socket failed, or it crashed too often (`exhausted`, with
    /// the time of the next try, if ever). The first socket's listener is told to
    /// close, the other members' follow, and all sockets are dropped.
    ///
    /// # Errors
    /// [`Refused::NotServed`] when no member is served under this lease.
    pub fn member_lost(
        &mut self,
        place: Place,
        lease: Lease,
        fault: Fault,
        exhausted: Option<Option<Instant>>,
    ) -> Result<(), Refused> {
        self.free_member(place, lease)?;
        match self.row_mut(place) {
            Some(row) if row.leased => row.lost = Some(Box::new(Lost::Member(fault, exhausted))),
            _ => self.take_down(place, fault, exhausted),
        }
        Ok(())
    }

    /// Ends the service of an endpoint whose first socket is served, or could be.
    pub(super) fn take_down(
        &mut self,
        place: Place,
        fault: Fault,
        exhausted: Option<Option<Instant>>,
    ) {
        // Without its sockets it is being taken down already.
        let Some(row) = self.row_mut(place).filter(|row| row.socket.is_some()) else { return };
        row.socket = None;
        let closes = row.owner.is_some() && !row.closing;
        if let Some(probe) = exhausted {
            row.fault = Some(fault);
            row.judgement = Judgement::Over;
            row.due = probe;
            self.set_state(place, EndpointState::Quarantined);
            self.schedule(probe, place.chunk);
        } else {
            row.due = None;
            row.fail(fault);
            row.attempts = row.attempts.saturating_add(1);
            self.set_state(place, EndpointState::Retrying);
        }
        if closes {
            self.begin_closing(place);
        }
        self.follow(place.chunk);
    }

    /// The listener of a member is gone; the endpoint is free when all are.
    pub(super) fn free_member(&mut self, place: Place, lease: Lease) -> Result<(), Refused> {
        let member = self.members.under(place, lease).ok_or(Refused::NotServed(place))?;
        member.owner = None;
        member.closing = false;
        self.members.look_at(place);
        let due = self.row_mut(place).and_then(|row| {
            row.members = row.members.saturating_sub(1);
            row.next_try()
        });
        self.schedule(due, place.chunk);
        Ok(())
    }

    /// The thread of this worker is gone, and its listeners with it.
    pub(super) fn free_members_of(&mut self, lost: WorkerId) -> u64 {
        let of_worker = self.members.owned().filter(|(.., worker, _)| *worker == lost);
        let lease = |place: Place, epoch| Lease { chunk: place.chunk, worker: lost, epoch };
        let freed: Vec<_> =
            of_worker.map(|(place, _, _, _, epoch)| (place, lease(place, epoch))).collect();
        for (place, lease) in &freed {
            let _served = self.free_member(*place, *lease);
        }
        freed.len() as u64
    }

    /// How many members were told to close and are not known to be gone.
    pub(super) fn closing_members(&self) -> usize {
        self.members.owned().filter(|(_, _, member, ..)| member.closing).count()
    }

    /// The members that were told to close.
    pub(super) fn members_to_close(&self) -> impl Iterator<Item = (Place, Lease)> + '_ {
        let closing = self.members.owned().filter(|(_, _, member, ..)| member.closing);
        closing.map(|(place, _, _, worker, epoch)| {
            (place, Lease { chunk: place.chunk, worker, epoch })
        })
    }

    /// Whether the sockets are there, and are to be served as they are.
    fn wants_members(&self, place: Place) -> bool {
        self.row(place).is_some_and(|row| row.socket.is_some() && !row.closing)
    }

    fn give_members(
        &mut self,
        place: Place,
        workers: &[WorkerId],
        now: Instant,
        given: &mut Vec<SubLease>,
    ) {
        let mut loads = self.loads(place, workers);
        let Some(members) = self.members.of.get_mut(&place) else { return };
        let free =
            |member: &Member| member.owner.is_none() && member.due.is_none_or(|due| due <= now);
        for (number, member) in (1..).zip(members).filter(|(_, member)| free(member)) {
            let Some((worker, load)) = loads.iter_mut().min_by_key(|(_, load)| *load) else {
                return;
            };
            *load += 1;
            self.epoch += 1;
            let lease = Lease { chunk: place.chunk, worker: *worker, epoch: self.epoch };
            *member = Member { owner: Some((*worker, self.epoch)), closing: false, due: None };
            given.push(SubLease { place, member: number, lease });
            let chunk = self.chunks.get_mut(index(place.chunk));
            if let Some(row) = chunk.and_then(|it| it.rows.get_mut(place.slot as usize)) {
                row.members += 1;
            }
        }
    }

    /// Where a worker has none of the sockets and another has two, one of these
    /// closes, to be given anew. Nothing is lost: its socket stays.
    fn even_out(&mut self, place: Place, workers: &[WorkerId]) {
        let settled = |member: &Member| member.owner.is_some() && !member.closing;
        let members = self.members.of.get(&place);
        if self.row(place).is_none_or(|row| row.owner.is_none())
            || !members.is_some_and(|members| members.iter().all(settled))
        {
            return;
        }
        let loads = self.loads(place, workers);
        let load = |worker| loads.iter().find(|(other, _)| *other == worker).map(|(_, load)| *load);
        let most = members.into_iter().flatten().filter_map(|member| member.owner);
        let most = most.max_by_key(|(worker, _)| load(*worker));
        let idle = loads.iter().any(|(_, load)| *load == 0);
        if let Some(most) = most.filter(|(worker, _)| idle && load(*worker) > Some(1)) {
            self.close_members(place, |worker, epoch| (worker, epoch) == most);
        }
    }

    /// How many sockets of the endpoint each of these workers serves.
    fn loads(&self, place: Place, workers: &[WorkerId]) -> Vec<(WorkerId, usize)> {
        let mut loads: Vec<_> = workers.iter().map(|worker| (*worker, 0)).collect();
        let first = self.row(place).and_then(|row| row.owner);
        let members = self.members.of.get(&place).into_iter().flatten();
        for owner in members.filter_map(|member| Some(member.owner?.0)).chain(first) {
            if let Some((_, load)) = loads.iter_mut().find(|(worker, _)| *worker == owner) {
                *load += 1;
            }
        }
        loads
    }

    fn close_members(&mut self, place: Place, which: impl Fn(WorkerId, u64) -> bool) {
        for member in self.members.of.get_mut(&place).into_iter().flatten() {
            let Some((worker, epoch)) = member.owner.filter(|_| !member.closing) else { continue };
            if which(worker, epoch) {
                member.closing = true;
                self.untold.push((place, Lease { chunk: place.chunk, worker, epoch }));
            }
        }
    }
}
