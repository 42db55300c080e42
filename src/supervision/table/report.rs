//! What workers report and the error log decides, written into the table.

use std::time::Instant;

use super::row::{Judgement, Lost, Row};
use super::{ChunkTable, Outcome, Place, Refused, Slot, index};
use crate::supervision::chunk::{ChunkEvent, ChunkId, Lease};
use crate::supervision::failure::{Fault, FaultKind};
use crate::supervision::retry::Verdict;
use crate::supervision::states::EndpointState;

impl<S> ChunkTable<S> {
    /// Takes a worker's report. Returns the endpoints that listen now after
    /// they had failed before. What the report leaves out is due at once.
    ///
    /// # Errors
    /// [`Refused`] when the lease is not the chunk's present one; then every
    /// socket of the report is dropped, so that none has two owners.
    pub fn finish(
        &mut self,
        lease: Lease,
        outcomes: impl IntoIterator<Item = (Slot, Outcome<S>)>,
        now: Instant,
    ) -> Result<Vec<Place>, Refused> {
        self.adopt(lease, outcomes, now)
    }

    /// Takes what a worker that crashed while it opened the chunk left behind:
    /// as [`Self::finish`], but what is left out is not due before `due`.
    ///
    /// # Errors
    /// As [`Self::finish`].
    pub fn adopt(
        &mut self,
        lease: Lease,
        outcomes: impl IntoIterator<Item = (Slot, Outcome<S>)>,
        due: Instant,
    ) -> Result<Vec<Place>, Refused> {
        // The caller's iterator may panic: it is run before anything changes.
        let outcomes: Vec<_> = outcomes.into_iter().collect();
        self.check_lease(lease)?;
        let mut recovered = Vec::new();
        for (slot, outcome) in outcomes {
            if self.record(lease, slot, outcome, due) {
                recovered.push(Place { chunk: lease.chunk, slot });
            }
        }
        self.give_back(lease.chunk, due);
        self.settle(lease)?;
        Ok(recovered)
    }

    /// A listener of an opened endpoint is gone. Its socket is dropped, and
    /// the failure awaits a verdict. One that is lost before its worker has
    /// reported is noted until then.
    ///
    /// # Errors
    /// [`Refused`] when there is no such endpoint or nobody serves it.
    pub fn listener_lost(&mut self, place: Place, fault: Fault) -> Result<(), Refused> {
        if let Some(row) = self.row_mut(place).filter(|row| row.leased) {
            row.lost = Some(Box::new(Lost::Failed(fault)));
            return Ok(());
        }
        if self.end_closing(place) {
            return Ok(());
        }
        self.count_if_late(place);
        let row = self.served_mut(place)?;
        row.let_go(fault, None);
        row.socket = None;
        row.fail(fault);
        row.attempts = row.attempts.saturating_add(1);
        self.set_state(place, EndpointState::Retrying);
        self.follow(place.chunk);
        Ok(())
    }

    /// Applies the verdict on a failed endpoint. One that was leased again or
    /// listens meanwhile keeps its state.
    pub fn verdict(&mut self, place: Place, verdict: Verdict, now: Instant) {
        let Some(row) = self.row_mut(place) else { return };
        if row.judgement == Judgement::Over {
            return;
        }
        row.judgement = Judgement::Over;
        let (due, state) = match verdict {
            Verdict::RetryAfter(delay) | Verdict::Pause(delay) => (Some(now + delay), None),
            Verdict::Quarantine { probe } => {
                (probe.map(|pause| now + pause), Some(EndpointState::Quarantined))
            }
        };
        row.due = due;
        if matches!(verdict, Verdict::Pause(_)) {
            row.attempts = row.attempts.saturating_sub(1);
        }
        if let Some(state) = state {
            // Clients must be refused, not left in a backlog that nobody reads.
            row.socket = None;
            self.set_state(place, state);
        }
        self.schedule(due, place.chunk);
    }

    /// Refuses every lease but the present one of its chunk, and counts that.
    pub(super) fn check_lease(&mut self, lease: Lease) -> Result<(), Refused> {
        let unknown = Refused::Unknown(Place { chunk: lease.chunk, slot: 0 });
        let Some(state) = self.state(lease.chunk) else {
            self.refused += 1;
            return Err(unknown);
        };
        // Any event under this lease tells whether it is the present one.
        state.on(ChunkEvent::Opened(lease)).map(drop).map_err(|illegal| {
            self.refused += 1;
            illegal.into()
        })
    }

    /// Counts a report that its receiver refused itself: of a lease or a worker
    /// that is not the present one.
    pub const fn count_late(&mut self) {
        self.refused += 1;
    }

    /// Counts the report of a listener that nobody knows of any more.
    pub(super) fn count_if_late(&mut self, place: Place) {
        if self.row_mut(place).is_some_and(|row| row.owner.is_none()) {
            self.count_late();
        }
    }

    /// The row of an endpoint that somebody serves.
    pub(super) fn served_mut(&mut self, place: Place) -> Result<&mut Row<S>, Refused> {
        let Some(chunk) = self.chunks.get_mut(index(place.chunk)) else {
            return Err(Refused::Unknown(place));
        };
        let row = chunk.rows.get_mut(place.slot as usize).ok_or(Refused::Unknown(place))?;
        if row.owner.is_none() {
            return Err(Refused::NotServed(place));
        }
        Ok(row)
    }

    fn record(&mut self, lease: Lease, slot: Slot, outcome: Outcome<S>, due: Instant) -> bool {
        let place = Place { chunk: lease.chunk, slot };
        let closed = self.closed;
        if self.row(place).is_none_or(|row| !row.leased) {
            return false;
        }
        self.members.look_at(place);
        if let Outcome::Opened { sockets, .. } = outcome {
            self.enter_members(place, sockets);
        }
        let Some(row) = self.row_mut(place) else { return false };
        match outcome {
            Outcome::Opened { port, socket, .. } => {
                let had_failed = row.open(lease, port, (!closed).then_some(socket));
                let lost = row.lost.take();
                if row.state.is_held() {
                    row.socket = None;
                    let serves = matches!(lost.as_deref(), None | Some(Lost::Member(..)));
                    if serves {
                        self.begin_closing(place);
                    } else {
                        row.owner = None;
                    }
                    return false;
                }
                self.set_state(place, EndpointState::Listening);
                let noted = match lost.map(|lost| *lost) {
                    None => return had_failed,
                    Some(Lost::Failed(fault)) => self.listener_lost(place, fault),
                    Some(Lost::Crashed(fault, due)) => self.listener_crashed(place, fault, due),
                    Some(Lost::Exhausted(fault, probe)) => {
                        self.quarantine(place, fault, probe);
                        return false;
                    }
                    Some(Lost::Member(fault, exhausted)) => {
                        self.take_down(place, fault, exhausted);
                        return false;
                    }
                };
                noted.is_err() && had_failed
            }
            Outcome::Failed(_) if row.state.is_held() => {
                row.leased = false;
                row.socket = None;
                false
            }
            Outcome::Failed(fault) => {
                row.leased = false;
                // One that was set aside keeps its number alone: what does not
                // listen shall not look as if it did. One that listened is
                // opened from its socket again, unless its siblings fail too or
                // the socket is on an interface that is gone.
                let useless = [FaultKind::BindRolledBack, FaultKind::AddressLost];
                if row.epoch == 0 || useless.contains(&fault.kind) {
                    row.socket = None;
                }
                row.fail(fault);
                if row.state == EndpointState::Pending {
                    self.set_state(place, EndpointState::Retrying);
                }
                false
            }
            Outcome::Deferred => {
                row.give_back(due);
                false
            }
        }
    }

    /// Takes back whatever of the chunk is leased; it is next due at `due`.
    pub(super) fn give_back(&mut self, id: ChunkId, due: Instant) {
        if let Some(chunk) = self.chunk_mut(id) {
            for row in chunk.rows.iter_mut().filter(|row| row.leased) {
                row.give_back(due);
            }
        }
    }

    /// Moves a chunk out of `processing` by what its endpoints are.
    pub(super) fn settle(&mut self, lease: Lease) -> Result<(), Refused> {
        let id = lease.chunk;
        let missing = self.missing(id);
        if missing == 0 {
            return self.apply(id, ChunkEvent::Opened(lease));
        }
        self.apply(id, ChunkEvent::Failed(lease, missing))?;
        let rows = self.chunks.get(index(id)).map_or(&[][..], |chunk| &chunk.rows);
        let next = rows.iter().filter_map(|row| row.next_try()).min();
        self.schedule(next, id);
        Ok(())
    }

    pub(super) fn missing(&self, id: ChunkId) -> u32 {
        self.chunks.get(index(id)).map_or(0, |chunk| chunk.missing)
    }
}
