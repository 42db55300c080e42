//! What the chunk table can be asked. Changes nothing, but for `reserve` and `asked`.

use std::time::Instant;

use super::grow::NOWHERE;
use super::row::{Judgement, Row};
use super::{ChunkTable, Place, index};
use crate::supervision::chunk::{ChunkId, ChunkState, Lease, WorkerId};
use crate::supervision::failure::Fault;
use crate::supervision::listing::ChunkInfo;
use crate::supervision::states::{ChunkCounts, EndpointCounts, EndpointState};

/// What the table knows of one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RowInfo {
    /// Where it stands.
    pub state: EndpointState,
    /// Why it does not listen, if that is a failure.
    pub fault: Option<Fault>,
    /// Attempts since it last listened, the one under way included.
    pub attempts: u32,
    /// How often its listener was lost to a crash.
    pub restarts: u32,
    /// When it is opened again, as far as that is scheduled; for one that is
    /// suspended, when that ends.
    pub next_try: Option<Instant>,
    /// Whose listener serves it.
    pub owner: Option<WorkerId>,
    /// The port that it got; 0 = none yet.
    pub number: u16,
}

impl<S> ChunkTable<S> {
    /// What is known of the endpoint at this place.
    #[must_use]
    pub fn info(&self, place: Place) -> Option<RowInfo> {
        let row = self.row(place)?;
        Some(RowInfo {
            state: row.state,
            fault: row.fault,
            attempts: row.attempts,
            restarts: row.restarts,
            next_try: match row.state {
                EndpointState::Suspended => row.due,
                _ => row.next_try(),
            },
            owner: row.owner,
            number: row.number,
        })
    }

    /// Every chunk, by number.
    pub fn describe_chunks(&self) -> impl Iterator<Item = ChunkInfo> + '_ {
        let chunks = (1..).map(ChunkId).zip(&self.chunks).filter(|(_, chunk)| !chunk.gone);
        chunks.map(|(id, chunk)| {
            let rows = chunk.rows.iter().filter(|row| row.state != EndpointState::Closed);
            let endpoints = u32::try_from(rows.count()).unwrap_or(u32::MAX);
            ChunkInfo { id, state: chunk.state, endpoints }
        })
    }

    /// The place of the endpoint with this index in the plan; one that does not
    /// exist where the endpoint was removed.
    #[must_use]
    pub fn place(&self, endpoint: u64) -> Place {
        let known = usize::try_from(endpoint).ok().and_then(|index| self.places.get(index));
        known.copied().unwrap_or(NOWHERE)
    }

    /// The index in the plan of the endpoint at this place; `u64::MAX` where
    /// there is none.
    #[must_use]
    pub fn endpoint(&self, place: Place) -> u64 {
        self.row(place).map_or(u64::MAX, |row| row.index)
    }

    /// A chunk's state.
    #[must_use]
    pub fn state(&self, id: ChunkId) -> Option<ChunkState> {
        self.chunks.get(index(id)).filter(|chunk| !chunk.gone).map(|chunk| chunk.state)
    }

    /// Every chunk's number.
    pub fn chunk_ids(&self) -> impl Iterator<Item = ChunkId> + use<S> {
        (1..).take(self.chunks.len()).map(ChunkId)
    }

    /// Every chunk's state, by number.
    pub fn states(&self) -> impl Iterator<Item = ChunkState> + '_ {
        self.chunks.iter().filter(|chunk| !chunk.gone).map(|chunk| chunk.state)
    }

    /// An endpoint's state.
    #[must_use]
    pub fn endpoint_state(&self, place: Place) -> Option<EndpointState> {
        self.row(place).map(|row| row.state)
    }

    /// The endpoints that wait, with their listener, for their address.
    pub fn waiting_for_address(&self) -> impl Iterator<Item = Place> + '_ {
        let served = self.rows().filter(|(_, row)| row.owner.is_some());
        let waits = |row: &Row<S>| row.state != EndpointState::Listening && !row.closing;
        served.filter(move |(_, row)| waits(row)).map(|(place, _)| place)
    }

    /// The port and the socket that an endpoint holds; port 0 = none yet.
    #[must_use]
    pub fn held(&self, place: Place) -> (u16, Option<&S>) {
        self.row(place).map_or((0, None), |row| (row.number, row.socket.as_ref()))
    }

    /// Whether opening it is a retry: it failed since it last listened, and not
    /// by a crash of this program.
    #[must_use]
    pub fn is_retried(&self, place: Place) -> bool {
        let fault = self.row(place).and_then(|row| row.fault);
        fault.is_some_and(|fault| !fault.kind.is_crash())
    }

    /// Whether the endpoint listens.
    #[must_use]
    pub fn listens(&self, place: Place) -> bool {
        self.row(place).is_some_and(|row| row.state == EndpointState::Listening)
    }

    /// The lease under which the present listener of an endpoint was opened;
    /// `None` where nobody serves it. A report of a listener that was opened
    /// under another lease is stale.
    #[must_use]
    pub fn served_under(&self, place: Place) -> Option<Lease> {
        let row = self.row(place)?;
        Some(Lease { chunk: place.chunk, worker: row.owner?, epoch: row.epoch })
    }

    /// Whether a listener that was opened under this lease is, or may be, the
    /// present one of the endpoint: it serves it, or its worker has not
    /// reported yet.
    #[must_use]
    pub fn is_present(&self, place: Place, lease: Lease) -> bool {
        let opening = self.state(place.chunk) == Some(ChunkState::Processing { lease });
        let leased = self.row(place).is_some_and(|row| row.leased);
        self.served_under(place) == Some(lease) || opening && leased
    }

    /// The endpoints whose listener is on this worker's thread: those that
    /// listen, and those that wait there for their address.
    pub fn owned_by(&self, worker: WorkerId) -> impl Iterator<Item = Place> + '_ {
        let owned = self.rows().filter(move |(_, row)| row.owner == Some(worker));
        owned.map(|(place, _)| place)
    }

    /// The lease under which this worker opens a chunk.
    #[must_use]
    pub fn lease_of(&self, worker: WorkerId) -> Option<Lease> {
        self.states().find_map(|state| match state {
            ChunkState::Processing { lease } if lease.worker == worker => Some(lease),
            _ => None,
        })
    }

    /// Whether [`Self::close`] was called.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether the endpoint is beyond the fd budget: it is never opened.
    #[must_use]
    pub fn is_left_out(&self, place: Place) -> bool {
        self.row(place).is_some_and(Row::is_fd_limited)
    }

    /// Sets aside a port and its socket for an endpoint that is not open yet.
    pub fn reserve(&mut self, place: Place, port: u16, socket: S) {
        let closed = self.closed;
        if let Some(row) = self.row_mut(place).filter(|row| row.owner.is_none()) {
            row.number = port;
            // Whoever is out of service holds no port.
            row.socket = (!closed && !row.state.is_held()).then_some(socket);
        }
    }

    /// Says which number an endpoint that asks for port 0 shall get when it is opened.
    pub fn keep_number(&mut self, place: Place, number: u16) {
        if let Some(row) = self.row_mut(place).filter(|row| row.number == 0) {
            row.number = number;
        }
    }

    /// The failures of a chunk that nobody was asked about, with the attempts used.
    pub fn unjudged(&self, id: ChunkId) -> impl Iterator<Item = (Place, Fault, u32)> + '_ {
        let rows = self.chunks.get(index(id)).map_or(&[][..], |chunk| &chunk.rows);
        (0..).zip(rows).filter_map(move |(slot, row)| {
            let fault = row.fault.filter(|_| row.judgement == Judgement::Wanted)?;
            Some((Place { chunk: id, slot }, fault, row.attempts))
        })
    }

    /// Notes that verdicts on [`Self::unjudged`] are on the way.
    pub fn asked(&mut self, id: ChunkId) {
        let rows = self.chunk_mut(id).map_or(&mut [][..], |chunk| &mut chunk.rows);
        for row in rows.iter_mut().filter(|row| row.judgement == Judgement::Wanted) {
            row.judgement = Judgement::Asked;
        }
    }

    /// Whoever was asked for verdicts is gone: all that are missing are wanted
    /// again.
    pub fn ask_again(&mut self) {
        for row in self.chunks.iter_mut().flat_map(|chunk| &mut chunk.rows) {
            if row.judgement == Judgement::Asked {
                row.judgement = Judgement::Wanted;
            }
        }
    }

    /// The endpoints that do not listen and why, in plan order.
    pub fn failures(&self) -> impl Iterator<Item = (Place, EndpointState, Fault)> + '_ {
        self.rows().filter_map(|(place, row)| {
            let fault = row.fault.filter(|_| row.state != EndpointState::Listening)?;
            Some((place, row.state, fault))
        })
    }

    /// How many endpoints are in each state.
    #[must_use]
    pub const fn endpoint_counts(&self) -> EndpointCounts {
        self.endpoints
    }

    /// How many chunks are in each state.
    #[must_use]
    pub const fn chunk_counts(&self) -> ChunkCounts {
        self.states
    }

    /// Endpoints that have neither listened nor been quarantined yet.
    #[must_use]
    pub const fn undecided(&self) -> u64 {
        self.undecided
    }

    /// Reports that were refused so far because they came too late.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    pub(super) fn row(&self, place: Place) -> Option<&Row<S>> {
        self.chunks.get(index(place.chunk))?.rows.get(place.slot as usize)
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = (Place, &Row<S>)> + '_ {
        (1..).zip(&self.chunks).flat_map(|(number, chunk)| {
            let chunk_id = ChunkId(number);
            (0..).zip(&chunk.rows).map(move |(slot, row)| (Place { chunk: chunk_id, slot }, row))
        })
    }
}
