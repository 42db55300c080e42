//! What workers report and the error log decides, written into the table.

use std::time::Instant;

use super::row::{Judgement, Row};
use super::{ChunkTable, Outcome, Place, Refused, Slot, index};
use crate::supervision::chunk::{ChunkEvent, ChunkId, ChunkState, Lease};
use crate::supervision::failure::Fault;
use crate::supervision::retry::Verdict;
use crate::supervision::states::EndpointState;

impl<S> ChunkTable<S> {
    /// Takes a worker's report. Returns the endpoints that listen now after
    /// they had failed before.
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
        let id = lease.chunk;
        let state = self.state(id).ok_or(Refused::Unknown(Place { chunk: id, slot: 0 }))?;
        // Any event under this lease tells whether it is the present one.
        if let Err(illegal) = state.on(ChunkEvent::Opened(lease)) {
            self.refused += 1;
            return Err(illegal.into());
        }
        let mut recovered = Vec::new();
        for (slot, outcome) in outcomes {
            let place = Place { chunk: id, slot };
            if self.record(place, outcome, now) {
                recovered.push(place);
            }
        }
        let chunk = self.chunk_mut(id).ok_or(Refused::Unknown(Place { chunk: id, slot: 0 }))?;
        for row in chunk.rows.iter_mut().filter(|row| row.leased) {
            row.give_back(now);
        }
        self.settle(id, lease, now)?;
        Ok(recovered)
    }

    /// A listener of an opened endpoint is gone. Its socket is dropped, and
    /// the failure awaits a verdict. One that is lost before its worker has
    /// reported is noted until then.
    ///
    /// # Errors
    /// [`Refused`] when there is no such endpoint or it does not listen.
    pub fn listener_lost(&mut self, place: Place, fault: Fault) -> Result<(), Refused> {
        let row = self.row_mut(place).ok_or(Refused::Unknown(place))?;
        if row.leased {
            row.lost = Some(fault);
            return Ok(());
        }
        if row.state != EndpointState::Listening {
            return Err(Refused::Unknown(place));
        }
        row.socket = None;
        row.fail(fault);
        row.attempts = row.attempts.saturating_add(1);
        self.set_state(place, EndpointState::Retrying);
        // A chunk that is on the stack or leased is settled by its next report.
        if matches!(self.state(place.chunk), Some(ChunkState::Completed | ChunkState::Error { .. }))
        {
            let missing = self.missing(place.chunk);
            self.apply(place.chunk, ChunkEvent::ListenerLost(missing))?;
        }
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
            Verdict::RetryAfter(delay) => (Some(now + delay), None),
            Verdict::Quarantine { probe } => {
                (probe.map(|pause| now + pause), Some(EndpointState::Quarantined))
            }
            Verdict::Pause(delay) => {
                row.attempts = row.attempts.saturating_sub(1);
                (Some(now + delay), None)
            }
        };
        row.due = due;
        if let Some(state) = state {
            self.set_state(place, state);
        }
        if let Some(due) = due {
            self.due.insert((due, place.chunk));
        }
    }

    fn record(&mut self, place: Place, outcome: Outcome<S>, now: Instant) -> bool {
        let Some(row) = self.row_mut(place).filter(|row| row.leased) else { return false };
        match outcome {
            Outcome::Opened { port, socket } => {
                let had_failed = row.fault.take().is_some();
                row.leased = false;
                row.attempts = 0;
                row.number = port;
                row.socket = Some(socket);
                let lost = row.lost.take();
                self.set_state(place, EndpointState::Listening);
                match lost {
                    Some(fault) => self.listener_lost(place, fault).is_err() && had_failed,
                    None => had_failed,
                }
            }
            Outcome::Failed(fault) => {
                row.leased = false;
                // One that was set aside keeps its number alone: what does not
                // listen shall not look as if it did.
                row.socket = None;
                row.fail(fault);
                if row.state == EndpointState::Pending {
                    self.set_state(place, EndpointState::Retrying);
                }
                false
            }
            Outcome::Deferred => {
                row.give_back(now);
                false
            }
        }
    }

    /// Moves a chunk out of `processing` by what its endpoints are.
    fn settle(&mut self, id: ChunkId, lease: Lease, now: Instant) -> Result<(), Refused> {
        let missing = self.missing(id);
        if missing == 0 {
            self.apply(id, ChunkEvent::Opened(lease))?;
            return Ok(());
        }
        self.apply(id, ChunkEvent::Failed(lease, missing))?;
        let Some(chunk) = self.chunks.get(index(id)) else { return Ok(()) };
        let undone = chunk.rows.iter().any(|row| row.state == EndpointState::Pending);
        let next = chunk.rows.iter().filter_map(|row| row.due).min();
        if let Some(due) = if undone { Some(now) } else { next } {
            self.due.insert((due, id));
        }
        Ok(())
    }

    fn missing(&self, id: ChunkId) -> u32 {
        let listens = |row: &&Row<S>| row.state != EndpointState::Listening;
        let count =
            self.chunks.get(index(id)).map_or(0, |it| it.rows.iter().filter(listens).count());
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}
