//! What crashes mean for the table: whose sockets are free, and until when.
//!
//! A crash is no failed attempt: it is charged by the caller (`intensity`),
//! asks for no verdict, and the sockets stay. Who calls here answers for it
//! that the actors in question are gone.

use std::time::Instant;

use super::row::{Judgement, Lost};
use super::{ChunkTable, Place, Refused};
use crate::supervision::chunk::{ChunkId, ChunkState, Lease, WorkerId};
use crate::supervision::failure::Fault;
use crate::supervision::states::EndpointState;

impl<S> ChunkTable<S> {
    /// The actor of a listener crashed. Its socket is fine and is kept: the
    /// endpoint is leased again, with that socket, from `due` on.
    ///
    /// A report that is sent again may come after the endpoint was opened anew:
    /// compare [`Self::served_under`] with the lease of the crashed listener
    /// first, or the socket gets a second owner.
    ///
    /// # Errors
    /// [`Refused`] when there is no such endpoint or nobody serves it.
    pub fn listener_crashed(
        &mut self,
        place: Place,
        fault: Fault,
        due: Instant,
    ) -> Result<(), Refused> {
        if let Some(row) = self.row_mut(place).filter(|row| row.leased) {
            // Its worker has not reported yet: noted until then.
            row.lost = Some(Box::new(Lost::Crashed(fault, due)));
            return Ok(());
        }
        if self.end_closing(place) {
            return Ok(());
        }
        self.count_if_late(place);
        let row = self.served_mut(place)?;
        row.let_go(fault, Some(due));
        row.restarts = row.restarts.saturating_add(1);
        self.set_state(place, EndpointState::Retrying);
        self.follow(place.chunk);
        self.schedule(Some(due), place.chunk);
        Ok(())
    }

    /// The thread of a worker ended and was joined: as
    /// [`Self::listener_crashed`] for each of its endpoints. Returns how many
    /// listeners it had.
    ///
    /// Its lease, if it has one ([`Self::lease_of`]), is another matter: see
    /// [`Self::retry_chunk_at`].
    pub fn worker_lost(&mut self, worker: WorkerId, fault: Fault, due: Instant) -> u64 {
        let members = self.free_members_of(worker);
        let mut owned: Vec<_> = self.owned_by(worker).collect();
        owned.retain(|place| !self.end_closing(*place));
        for place in &owned {
            if let Some(row) = self.row_mut(*place) {
                row.let_go(fault, Some(due));
            }
            self.set_state(*place, EndpointState::Retrying);
        }
        // Once a chunk: a worker's endpoints are mostly neighbours.
        for of_chunk in owned.chunk_by(|one, next| one.chunk == next.chunk) {
            if let Some(Place { chunk, .. }) = of_chunk.first() {
                self.follow(*chunk);
                self.schedule(Some(due), *chunk);
            }
        }
        owned.len() as u64 + members
    }

    /// Attempts or restarts are used up: the socket goes, and the next try is
    /// at `probe`, if ever. An endpoint that is being opened keeps its state
    /// until its worker has reported.
    pub fn quarantine(&mut self, place: Place, fault: Fault, probe: Option<Instant>) {
        if let Some(row) = self.row_mut(place).filter(|row| row.leased) {
            row.lost = Some(Box::new(Lost::Exhausted(fault, probe)));
            return;
        }
        if self.end_closing(place) {
            return;
        }
        if self.lock_up(place, fault, probe) {
            self.follow(place.chunk);
            self.schedule(probe, place.chunk);
        }
    }

    /// A chunk crashes whoever opens it: its lease ends, and every endpoint of
    /// it that nobody serves is quarantined until `probe`, if ever.
    ///
    /// What the crashed worker had opened must be in the table before
    /// ([`Self::adopt`]), or it would be opened a second time.
    pub fn quarantine_chunk(&mut self, chunk: ChunkId, fault: Fault, probe: Option<Instant>) {
        let Some(state) = self.state(chunk) else { return };
        for place in self.places_of(chunk) {
            if self.served_under(place).is_some() {
                continue;
            }
            if let Some(row) = self.row_mut(place).filter(|row| row.leased) {
                row.leased = false;
                row.attempts = row.attempts.saturating_sub(1);
            }
            self.lock_up(place, fault, probe);
        }
        if let ChunkState::Processing { lease } = state {
            let _present = self.settle(lease);
        }
        self.schedule(probe, chunk);
    }

    /// Ends a lease: what it holds is leased again, but not before `due`. No
    /// attempt is charged. Of what the lease opened, nothing may be served.
    ///
    /// # Errors
    /// [`Refused`] when the lease is not the chunk's present one.
    pub fn retry_chunk_at(&mut self, lease: Lease, due: Instant) -> Result<(), Refused> {
        self.check_lease(lease)?;
        self.give_back(lease.chunk, due);
        self.settle(lease)
    }

    /// An operator's retry: an endpoint that failed is due now, and its
    /// attempts start afresh. One beyond the fd budget stays where it is, and
    /// so does one that waits for its address. Says whether it is due.
    pub fn release(&mut self, place: Place, now: Instant) -> bool {
        let Some(row) = self.row_mut(place) else { return false };
        let failed = matches!(row.state, EndpointState::Quarantined | EndpointState::Retrying);
        let free = row.is_free() && !row.is_fd_limited();
        if failed && free {
            row.attempts = 0;
            row.judgement = Judgement::Over;
            row.due = Some(now);
            self.schedule(Some(now), place.chunk);
        }
        failed && free
    }

    /// Quarantines one endpoint. False where that cannot be.
    fn lock_up(&mut self, place: Place, fault: Fault, probe: Option<Instant>) -> bool {
        let Some(row) = self.row_mut(place) else { return false };
        if row.leased || row.is_fd_limited() || row.state.is_held() {
            return false;
        }
        row.let_go(fault, probe);
        row.socket = None;
        self.set_state(place, EndpointState::Quarantined);
        true
    }
}
