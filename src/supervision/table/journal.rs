//! What changed in the table, until somebody takes it to tell of it.
//!
//! Neighbours that change alike are one entry, so that a chunk of ten thousand
//! endpoints that opens is a few bytes. Bounded by what one step changes: whoever
//! owns the table takes the entries after each step.

use super::{ChunkTable, Slot};
use crate::supervision::chunk::{ChunkId, ChunkState};
use crate::supervision::failure::Fault;
use crate::supervision::states::EndpointState;

/// A change of states, as it was written into the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateChange {
    /// A chunk went from one state to another.
    Chunk {
        /// Which one.
        chunk: ChunkId,
        /// Its state before.
        from: ChunkState,
        /// Its state now.
        to: ChunkState,
    },
    /// Neighbours in a chunk went from one state to another.
    Endpoints {
        /// Their chunk.
        chunk: ChunkId,
        /// The first of them.
        first: Slot,
        /// The last of them.
        last: Slot,
        /// Their state before.
        from: EndpointState,
        /// Their state now.
        to: EndpointState,
        /// Why they do not listen, if that is a failure.
        fault: Option<Fault>,
    },
}

impl StateChange {
    /// Takes the next change in, where it is the same of the next neighbour.
    fn absorb(&mut self, next: &Self) -> bool {
        let Self::Endpoints { chunk, last, from, to, fault, .. } = self else { return false };
        let known = (*chunk, last.wrapping_add(1), *from, *to, *fault);
        match *next {
            Self::Endpoints { chunk, first, last: end, from, to, fault }
                if (chunk, first, from, to, fault) == known =>
            {
                *last = end;
                true
            }
            _ => false,
        }
    }
}

impl<S> ChunkTable<S> {
    /// What changed since the last time, in order.
    pub fn take_changes(&mut self) -> Vec<StateChange> {
        std::mem::take(&mut self.journal)
    }

    pub(super) fn note(&mut self, change: StateChange) {
        let absorbed = self.journal.last_mut().is_some_and(|last| last.absorb(&change));
        if !absorbed {
            self.journal.push(change);
        }
    }
}
