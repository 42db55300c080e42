//! What must hold after every step of the model, and at its end.

use std::collections::BTreeSet;

use super::World;
use crate::supervision::chunk::ChunkState;
use crate::supervision::states::{ChunkCounts, EndpointCounts, EndpointState};

impl World {
    /// Everything of the table that a refused report must leave alone.
    pub(super) fn facts(&self) -> String {
        let table = &self.table;
        let due = table.due.len();
        format!("{:?} {:?} {:?} {due}", table.chunks, table.stack, table.endpoints)
    }

    pub(super) fn check(&self) {
        let (mut sockets, mut places) = (BTreeSet::new(), BTreeSet::new());
        for live in self.live() {
            let socket = (live.token, live.member);
            assert!(sockets.insert(socket), "{socket:?} has two owners");
            let place = (live.place, live.member);
            assert!(places.insert(place), "{place:?} is served twice");
        }
        self.check_rows();
        self.check_chunks();
    }

    fn check_rows(&self) {
        let mut counts = EndpointCounts::default();
        let mut closing = 0;
        for row in self.table.chunks.iter().flat_map(|chunk| &chunk.rows) {
            counts.enter(row.state);
            closing += usize::from(row.closing);
            let held = row.state.is_held();
            assert!(!held || row.owner.is_none() || row.closing, "held, and served: {row:?}");
            assert!(!held || row.socket.is_none(), "held, and its port is taken: {row:?}");
            assert!(!row.closing || row.owner.is_some(), "nobody closes: {row:?}");
            let listens = row.state == EndpointState::Listening;
            assert!(!listens || row.owner.is_some(), "it listens, and nobody serves it");
            assert!(row.owner.is_none() || !row.leased, "it is served and leased: {row:?}");
            let served = row.owner.is_some() && !row.closing;
            assert!(!served || row.socket.is_some(), "served without a socket");
            let quarantined = row.state == EndpointState::Quarantined;
            assert!(!quarantined || row.socket.is_none(), "a backlog that nobody reads");
        }
        assert_eq!(self.table.endpoint_counts(), counts);
        assert_eq!(self.table.closing(), closing + self.table.closing_members());
    }

    fn check_chunks(&self) {
        let chunks = self.table.chunks.iter().filter(|chunk| !chunk.gone);
        let total = chunks.clone().count() as u64;
        let mut counts = ChunkCounts { total, ..ChunkCounts::default() };
        let mut ready = 0;
        for chunk in chunks {
            *counts.of(chunk.state) += 1;
            let missing = chunk.rows.iter().filter(|row| row.state.is_missing()).count();
            match chunk.state {
                ChunkState::Completed => assert_eq!(missing, 0, "completed hides a fault"),
                ChunkState::Error { faults } => assert_eq!(faults as usize, missing),
                ChunkState::Ready => ready += 1,
                ChunkState::Processing { .. } => continue,
                ChunkState::Idle => {}
            }
            assert!(chunk.rows.iter().all(|row| !row.leased), "leased without a lease");
        }
        assert_eq!(self.table.chunk_counts(), counts);
        assert_eq!(self.table.stack.len(), ready);
    }

    /// Nothing is under way, and each endpoint listens or is quarantined for
    /// as long as an operator wishes.
    pub(super) fn is_decided(&self) -> bool {
        let counts = self.table.endpoint_counts();
        let for_good = if self.probe.is_none() { counts.quarantined } else { 0 };
        let opened = |state| matches!(state, ChunkState::Completed | ChunkState::Error { .. });
        counts.listening + counts.suspended + for_good == counts.total
            && self.table.closing() == 0
            && self.table.states().all(opened)
            && self.threads.iter().all(|thread| {
                let heard = thread.told.is_empty() && thread.ended.is_empty();
                thread.attached && heard && thread.unacknowledged.is_empty()
            })
            && self.is_shared_out()
    }

    /// Each worker serves one socket of each endpoint that has several.
    fn is_shared_out(&self) -> bool {
        let mut rows = self.table.rows();
        rows.all(|(place, row)| {
            let sockets = self.sockets(place);
            let served = 1 + usize::from(row.members) == usize::from(sockets);
            let even = self.table.workers_of(place).len() == usize::from(sockets);
            row.state != EndpointState::Listening || served && even
        })
    }

    /// The table and the threads say the same.
    pub(super) fn check_agreement(&self) {
        for live in self.live() {
            let place = live.place;
            let first = live.member == 0 && self.table.served_under(place) == Some(live.lease);
            let known = first || live.member > 0 && self.table.has_member(place, live.lease);
            assert!(known, "a stray listener");
            assert_eq!(self.table.held(place).1, Some(&live.token));
        }
        let rows = self.table.rows().filter(|(_, row)| row.state == EndpointState::Listening);
        let sockets: u64 = rows.map(|(place, _)| u64::from(self.sockets(place))).sum();
        assert_eq!(self.live().count() as u64, sockets, "a listener that nobody has");
        assert_eq!(self.table.undecided(), 0);
    }
}
