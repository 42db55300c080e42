//! A plan that changes while it is served: rows come, move and go.
//!
//! Chunks keep their numbers for good: what is added gets new ones, and one
//! that is emptied is gone. Never decides what is to be served.

use std::ops::Range;
use std::time::Instant;

use super::row::Row;
use super::{Chunk, ChunkTable, Place, chunk_id, index};
use crate::supervision::chunk::{ChunkEvent, ChunkId, ChunkState};
use crate::supervision::states::EndpointState;

/// The place of an index that has no row.
pub(super) const NOWHERE: Place = Place { chunk: ChunkId(0), slot: 0 };

impl<S> ChunkTable<S> {
    /// Moves every row to the index that `home` gives for its old one, in a
    /// plan of `total` endpoints. Rows that were removed keep none, and neither
    /// does a row for which there is none: hold it first. `rollback` as in
    /// [`Self::new`].
    pub fn renumber(
        &mut self,
        total: u64,
        rollback: Vec<Range<u64>>,
        home: impl Fn(u64) -> Option<u64>,
    ) {
        self.rollback = rollback;
        self.places = vec![NOWHERE; usize::try_from(total).unwrap_or(usize::MAX)];
        for (id, chunk) in (1..).map(ChunkId).zip(&mut self.chunks) {
            for (slot, row) in (0..).zip(&mut chunk.rows) {
                let new = home(row.index).filter(|_| row.state != EndpointState::Closed);
                row.index = new.unwrap_or(u64::MAX);
                let place = usize::try_from(row.index).ok();
                if let Some(cell) = place.and_then(|place| self.places.get_mut(place)) {
                    *cell = Place { chunk: id, slot };
                }
            }
        }
    }

    /// Adds rows for these indices of the plan, in new chunks that are stacked
    /// at once.
    pub fn add(&mut self, indices: &[u64]) {
        for run in indices.chunks(self.chunk_size as usize) {
            let id = self.push_chunk(run.iter().copied());
            if !self.closed && self.apply(id, ChunkEvent::Stacked).is_ok() {
                self.stack.push_back(id);
            }
        }
    }

    /// A new chunk of these indices, idle.
    pub(super) fn push_chunk(&mut self, indices: impl Iterator<Item = u64>) -> ChunkId {
        let id = chunk_id(self.chunks.len() + 1);
        let rows: Vec<Row<S>> = indices.map(Row::new).collect();
        for (slot, row) in (0..).zip(&rows) {
            let place = usize::try_from(row.index).ok();
            if let Some(cell) = place.and_then(|place| self.places.get_mut(place)) {
                *cell = Place { chunk: id, slot };
            }
            self.endpoints.enter(EndpointState::Pending);
            self.undecided += 1;
        }
        let missing = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        self.chunks.push(Chunk { state: ChunkState::Idle, rows, missing, gone: false });
        self.states.total += 1;
        *self.states.of(ChunkState::Idle) += 1;
        id
    }

    /// The settings of a listening endpoint changed: it is served anew, by whoever
    /// opens it next, from the same socket, or where that would not do (`binds`)
    /// from a new one. False where it does not listen; then its next opening
    /// finds them.
    pub fn reopen(&mut self, place: Place, binds: bool, now: Instant) -> bool {
        let listens = |row: &&mut Row<S>| row.state == EndpointState::Listening;
        let Some(row) = self.row_mut(place).filter(listens) else { return false };
        row.closing = true;
        row.due = Some(now);
        if binds {
            row.socket = None;
        }
        self.tell_to_close(place);
        self.set_state(place, EndpointState::Pending);
        self.follow(place.chunk);
        true
    }

    /// Forgets the chunks whose endpoints were all removed, once nothing of
    /// them is served or opened. Returns their numbers, which are not used again.
    pub fn retire(&mut self) -> Vec<ChunkId> {
        let mut gone = Vec::new();
        for id in std::mem::take(&mut self.emptying) {
            let Some(chunk) = self.chunks.get_mut(index(id)).filter(|chunk| !chunk.gone) else {
                continue;
            };
            let over = |row: &Row<S>| {
                let unserved = row.owner.is_none() && row.members == 0;
                row.state == EndpointState::Closed && unserved && !row.leased
            };
            if !chunk.rows.iter().all(|row| row.state == EndpointState::Closed) {
                // It shrank.
                continue;
            }
            if !chunk.rows.iter().all(over) || matches!(chunk.state, ChunkState::Processing { .. })
            {
                self.emptying.insert(id);
                continue;
            }
            chunk.gone = true;
            chunk.rows = Vec::new();
            *self.states.of(chunk.state) -= 1;
            self.states.total -= 1;
            self.stack.retain(|stacked| *stacked != id);
            self.due.retain(|(_, of)| *of != id);
            self.members.forget(id);
            gone.push(id);
        }
        gone
    }
}
