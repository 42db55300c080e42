//! The chunk table: which worker owns which chunk, and how each endpoint is.
//!
//! The only writer of chunk and endpoint states. Generic over the socket `S`
//! that it keeps for a listening endpoint, so that a listener which crashed
//! can be given its socket back. Never talks to anybody and has no clock.

mod address;
mod crash;
mod grow;
mod journal;
mod members;
mod operate;
mod query;
mod report;
mod row;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::time::Instant;

use crate::supervision::chunk::{
    ChunkEvent, ChunkId, ChunkState, IllegalTransition, Lease, WorkerId,
};
use crate::supervision::failure::Fault;
use crate::supervision::states::{ChunkCounts, EndpointCounts, EndpointState};
pub use journal::StateChange;
use members::Members;
pub use members::SubLease;
pub use operate::Hold;
pub use query::RowInfo;
use row::Row;

/// Position of an endpoint within its chunk, from 0.
pub type Slot = u32;

/// Where an endpoint's row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Its chunk.
    pub chunk: ChunkId,
    /// Its position there.
    pub slot: Slot,
}

/// A chunk that was given to a worker, and what of it shall be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leased {
    /// The proof that the worker's report must carry.
    pub lease: Lease,
    /// The endpoints to open; may be empty.
    pub slots: Vec<Slot>,
}

/// What became of one endpoint of a lease.
#[derive(Debug, Clone)]
pub enum Outcome<S> {
    /// It listens, on this port, through this socket.
    Opened {
        /// The bound port.
        port: u16,
        /// The listening socket, or all of them as one.
        socket: S,
        /// How many sockets that is; 1 but with `reuse_port`.
        sockets: u16,
    },
    /// It does not.
    Failed(Fault),
    /// It was not tried; no attempt is charged.
    Deferred,
}

/// A call that the table did not take. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The chunk's state does not allow it: as a rule, a stale lease.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// There is no such chunk or endpoint.
    #[error("{0:?} is not in the table")]
    Unknown(Place),
    /// What was reported of the endpoint is not so any more.
    #[error("{0:?} is not served")]
    NotServed(Place),
}

#[derive(Debug)]
struct Chunk<S> {
    state: ChunkState,
    rows: Vec<Row<S>>,
    /// How many of them do not listen and should.
    missing: u32,
    /// All of them were removed; nothing is left but its number.
    gone: bool,
}

/// All chunks of a service with their endpoints' rows.
#[derive(Debug)]
pub struct ChunkTable<S> {
    chunks: Vec<Chunk<S>>,
    chunk_size: u32,
    /// Runs of the plan that are opened all or nothing (`on_bind_error = "rollback"`).
    rollback: Vec<Range<u64>>,
    stack: VecDeque<ChunkId>,
    /// When to look at which chunk; endpoints that are due together share one entry.
    due: BTreeSet<(Instant, ChunkId)>,
    epoch: u64,
    endpoints: EndpointCounts,
    states: ChunkCounts,
    undecided: u64,
    refused: u64,
    closed: bool,
    /// Endpoints whose listeners were told to close, and those to be told.
    closing: BTreeSet<Place>,
    untold: Vec<(Place, Lease)>,
    members: Members,
    /// Chunks of which endpoints were removed.
    emptying: BTreeSet<ChunkId>,
    /// Where each endpoint of the plan is.
    places: Vec<Place>,
    /// State changes that nobody took yet.
    journal: Vec<StateChange>,
}

impl<S> ChunkTable<S> {
    /// A table of `total` endpoints in chunks of `chunk_size` (at least 1), all
    /// idle. `rollback` names the runs of the plan that are all or nothing
    /// within a chunk.
    #[must_use]
    pub fn new(total: u64, chunk_size: u32, rollback: Vec<Range<u64>>) -> Self {
        let chunk_size = chunk_size.max(1);
        let mut table = Self {
            chunks: Vec::new(),
            chunk_size,
            rollback: Vec::new(),
            stack: VecDeque::new(),
            due: BTreeSet::new(),
            epoch: 0,
            endpoints: EndpointCounts::default(),
            states: ChunkCounts::default(),
            undecided: 0,
            refused: 0,
            closed: false,
            closing: BTreeSet::new(),
            untold: Vec::new(),
            members: Members::default(),
            emptying: BTreeSet::new(),
            places: Vec::new(),
            journal: Vec::new(),
        };
        table.renumber(total, rollback, |_| None);
        let size = u64::from(chunk_size);
        for first in (0..total).step_by(chunk_size as usize) {
            table.push_chunk(first..total.min(first + size));
        }
        table
    }

    /// Quarantines every endpoint from index `first` of the plan on, for good;
    /// what is opened all or nothing with the first of them goes with it.
    pub fn quarantine_from(&mut self, first: u64, fault: Fault) {
        let Place { chunk, slot } = self.place(first);
        let slot = slot as usize;
        let unit = self.rollback_slots(chunk).into_iter().find(|unit| unit.contains(&slot));
        let begins = unit.and_then(|unit| unit.first().copied()).unwrap_or(slot);
        let first = first - (slot - begins) as u64;
        let total = self.places.len() as u64;
        for index in first..total {
            let place = self.place(index);
            if let Some(row) = self.row_mut(place) {
                row.fail(fault);
                self.set_state(place, EndpointState::Quarantined);
            }
        }
    }

    /// Puts every idle chunk on the stack; does nothing to the others.
    pub fn stack_all(&mut self) {
        for id in self.chunk_ids() {
            let is_idle = self.state(id) == Some(ChunkState::Idle);
            if is_idle && self.apply(id, ChunkEvent::Stacked).is_ok() {
                self.stack.push_back(id);
            }
        }
    }

    /// Gives the next ready chunk to `worker`; `None` when the stack is empty.
    pub fn lease_next(&mut self, worker: WorkerId, now: Instant) -> Option<Leased> {
        let id = *self.stack.front()?;
        let slots = self.wanted(id, now);
        let lease = Lease { chunk: id, worker, epoch: self.epoch + 1 };
        self.apply(id, ChunkEvent::Leased(lease)).ok()?;
        self.stack.pop_front();
        self.epoch = lease.epoch;
        for slot in &slots {
            if let Some(row) = self.row_mut(Place { chunk: id, slot: *slot }) {
                row.lease();
            }
        }
        Some(Leased { lease, slots })
    }

    /// What a lease of this chunk takes: what is due, and with one endpoint of
    /// an all-or-nothing run all of it that nobody serves.
    fn wanted(&self, id: ChunkId, now: Instant) -> Vec<Slot> {
        let Some(chunk) = self.chunks.get(index(id)) else { return Vec::new() };
        let mut wanted: Vec<bool> = chunk.rows.iter().map(|row| row.wants_opening(now)).collect();
        for unit in self.rollback_slots(id) {
            if unit.iter().any(|slot| wanted[*slot]) {
                for slot in unit {
                    wanted[slot] |= chunk.rows[slot].joins_siblings();
                }
            }
        }
        (0..).zip(wanted).filter_map(|(slot, wanted)| wanted.then_some(slot)).collect()
    }

    /// Takes a lease back: the worker never got it, or is gone.
    ///
    /// # Errors
    /// [`Refused`] when the lease is not the chunk's present one.
    pub fn revoke(&mut self, lease: Lease, now: Instant) -> Result<(), Refused> {
        self.apply(lease.chunk, ChunkEvent::LeaseRevoked(lease))?;
        self.give_back(lease.chunk, now);
        if !self.closed {
            self.stack.push_front(lease.chunk);
        }
        Ok(())
    }

    /// Puts the chunks on the stack in which an endpoint is due.
    pub fn wake(&mut self, now: Instant) {
        while let Some((due, id)) = self.due.first().copied() {
            if due > now {
                break;
            }
            self.due.pop_first();
            self.resume_due(id, now);
            // A chunk on the stack or under a lease is looked at when that ends.
            let Some(chunk) = self.chunks.get(index(id)) else { continue };
            if !matches!(chunk.state, ChunkState::Error { .. }) {
                continue;
            }
            if !chunk.rows.iter().any(|row| row.wants_opening(now)) {
                // Whoever was due then was taken out of service.
                let next = chunk.rows.iter().filter_map(Row::next_try).min();
                self.schedule(next, id);
            } else if self.apply(id, ChunkEvent::RetryDue).is_ok() {
                self.stack.push_back(id);
            }
        }
    }

    /// When [`Self::wake`] or [`Self::share_out`] has something to do next.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        let rows = self.due.first().map(|(due, _)| *due);
        rows.into_iter().chain(self.members.next_due()).min()
    }

    /// Forgets every socket, everything scheduled and everything stacked:
    /// from here on no chunk is leased. States stay as they are.
    pub fn close(&mut self) {
        self.closed = true;
        self.stack.clear();
        self.due.clear();
        self.members.close();
        for row in self.chunks.iter_mut().flat_map(|chunk| &mut chunk.rows) {
            row.socket = None;
        }
    }

    /// The runs of a chunk's slots that are opened all or nothing.
    fn rollback_slots(&self, id: ChunkId) -> Vec<Vec<usize>> {
        let Some(chunk) = self.chunks.get(index(id)) else { return Vec::new() };
        let within = |run: &Range<u64>| -> Vec<usize> {
            let rows = chunk.rows.iter().enumerate();
            rows.filter(|(_, row)| run.contains(&row.index)).map(|(slot, _)| slot).collect()
        };
        self.rollback.iter().map(within).filter(|run| !run.is_empty()).collect()
    }

    /// Looks at the chunk again at `due`.
    fn schedule(&mut self, due: Option<Instant>, id: ChunkId) {
        if let Some(due) = due.filter(|_| !self.closed) {
            self.due.insert((due, id));
        }
    }

    fn apply(&mut self, id: ChunkId, event: ChunkEvent) -> Result<(), Refused> {
        let unknown = Refused::Unknown(Place { chunk: id, slot: 0 });
        let chunk = self.chunks.get_mut(index(id)).ok_or(unknown)?;
        let next = chunk.state.on(event)?;
        *self.states.of(chunk.state) -= 1;
        *self.states.of(next) += 1;
        let from = std::mem::replace(&mut chunk.state, next);
        self.note(StateChange::Chunk { chunk: id, from, to: next });
        Ok(())
    }

    fn set_state(&mut self, place: Place, state: EndpointState) {
        let Some(chunk) = self.chunks.get_mut(index(place.chunk)) else { return };
        let Some(row) = chunk.rows.get_mut(place.slot as usize) else { return };
        self.endpoints.leave(row.state);
        self.endpoints.enter(state);
        chunk.missing -= u32::from(row.state.is_missing());
        chunk.missing += u32::from(state.is_missing());
        let from = std::mem::replace(&mut row.state, state);
        let fault = row.fault;
        self.members.look_at(place);
        let decides = matches!(state, EndpointState::Listening | EndpointState::Quarantined);
        if !row.decided && (decides || state.is_held()) {
            row.decided = true;
            self.undecided -= 1;
        }
        if from != state {
            let Place { chunk, slot } = place;
            let (first, last, to) = (slot, slot, state);
            self.note(StateChange::Endpoints { chunk, first, last, from, to, fault });
        }
    }

    /// The places of a chunk.
    pub fn places_of(&self, chunk: ChunkId) -> impl Iterator<Item = Place> + use<S> {
        let count = self.chunks.get(index(chunk)).map_or(0, |chunk| chunk.rows.len());
        (0..u32::try_from(count).unwrap_or(u32::MAX)).map(move |slot| Place { chunk, slot })
    }

    fn chunk_mut(&mut self, id: ChunkId) -> Option<&mut Chunk<S>> {
        self.chunks.get_mut(index(id))
    }

    fn row_mut(&mut self, place: Place) -> Option<&mut Row<S>> {
        self.chunk_mut(place.chunk)?.rows.get_mut(place.slot as usize)
    }
}

fn index(id: ChunkId) -> usize {
    (id.0 as usize).wrapping_sub(1)
}

fn chunk_id(number: usize) -> ChunkId {
    ChunkId(u32::try_from(number).unwrap_or(u32::MAX))
}
