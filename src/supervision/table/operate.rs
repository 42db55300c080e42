//! What operators order: endpoints are suspended, drained, resumed, removed.
//!
//! An order is written into the row at once, whoever serves or opens it; the
//! row is free for another opening only when its listener is known to be gone.

use std::time::Instant;

use super::row::Judgement;
use super::{ChunkTable, Place, Refused};
use crate::supervision::chunk::{ChunkEvent, ChunkId, ChunkState, Lease};
use crate::supervision::states::EndpointState;

/// What an operator wants of an endpoint that shall not listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Closed, and opened again at that time, if ever.
    Suspended(Option<Instant>),
    /// Closed, and suspended when its sessions have ended ([`ChunkTable::drained`]).
    Draining,
    /// Gone for good.
    Closed,
}

impl Hold {
    const fn state(self) -> EndpointState {
        match self {
            Self::Suspended(_) => EndpointState::Suspended,
            Self::Draining => EndpointState::Draining,
            Self::Closed => EndpointState::Closed,
        }
    }
}

impl<S> ChunkTable<S> {
    /// Takes an endpoint out of service. Its socket is dropped here; its
    /// listener, if it has one or gets one from a lease under way, is among
    /// [`Self::take_closings`].
    ///
    /// # Errors
    /// [`Refused::Unknown`] when there is no such endpoint, or it was removed.
    pub fn hold(&mut self, place: Place, hold: Hold) -> Result<(), Refused> {
        let unknown = Refused::Unknown(place);
        let row = self.row_mut(place).ok_or(unknown)?;
        if row.state == EndpointState::Closed {
            return Err(unknown);
        }
        row.due = match hold {
            Hold::Suspended(until) => until,
            Hold::Draining | Hold::Closed => None,
        };
        if !row.is_fd_limited() || hold == Hold::Closed {
            row.fault = None;
        }
        row.judgement = Judgement::Over;
        row.socket = None;
        let (due, closes) = (row.due, row.owner.is_some() && !row.closing);
        self.set_state(place, hold.state());
        if closes {
            self.begin_closing(place);
        }
        self.schedule(due, place.chunk);
        self.follow(place.chunk);
        if hold == Hold::Closed {
            self.emptying.insert(place.chunk);
        }
        Ok(())
    }

    /// Puts a suspended or draining endpoint back into service: it is opened as
    /// soon as the listener that was told to close is gone. False where it is
    /// neither.
    pub fn resume(&mut self, place: Place, now: Instant) -> bool {
        let held = [EndpointState::Suspended, EndpointState::Draining];
        let Some(row) = self.row_mut(place).filter(|row| held.contains(&row.state)) else {
            return false;
        };
        if row.is_fd_limited() {
            row.due = None;
            self.set_state(place, EndpointState::Quarantined);
        } else {
            row.due = Some(now);
            row.attempts = u32::from(row.leased);
            self.set_state(place, EndpointState::Pending);
            self.schedule(Some(now), place.chunk);
        }
        self.follow(place.chunk);
        true
    }

    /// The sessions of a draining endpoint have ended: it is suspended. False
    /// where it does not drain.
    pub fn drained(&mut self, place: Place) -> bool {
        let drains = self.endpoint_state(place) == Some(EndpointState::Draining);
        if drains {
            self.set_state(place, EndpointState::Suspended);
        }
        drains
    }

    /// A listener that was told to close is gone, socket and all.
    ///
    /// # Errors
    /// [`Refused::NotServed`] when it is not known to close.
    pub fn listener_closed(&mut self, place: Place, lease: Lease) -> Result<(), Refused> {
        if self.served_under(place) == Some(lease) && self.end_closing(place) {
            return Ok(());
        }
        self.free_member(place, lease)
    }

    /// The listeners that must be told to close, each once.
    pub fn take_closings(&mut self) -> Vec<(Place, Lease)> {
        let untold = std::mem::take(&mut self.untold).into_iter();
        let present =
            |place, lease| self.served_under(place) == Some(lease) || self.has_member(place, lease);
        untold.filter(|(place, lease)| present(*place, *lease)).collect()
    }

    /// Whoever was to tell listeners to close is gone: all are to be told again.
    pub fn close_again(&mut self) {
        let first = |place: &Place| Some((*place, self.served_under(*place)?));
        let firsts = self.closing.iter().filter_map(first);
        self.untold = firsts.chain(self.members_to_close()).collect();
    }

    /// Whether the listener of this endpoint was told to close and is not
    /// known to be gone, or may still come from a lease under way.
    #[must_use]
    pub fn is_closing(&self, place: Place) -> bool {
        let comes = |row: &super::Row<S>| row.leased && row.state.is_held();
        let stays = |row: &super::Row<S>| row.members > 0 && row.socket.is_none();
        self.closing.contains(&place) || self.row(place).is_some_and(|row| comes(row) || stays(row))
    }

    /// How many listeners were told to close and are not known to be gone.
    #[must_use]
    pub fn closing(&self) -> usize {
        self.closing.len() + self.closing_members()
    }

    pub(super) fn begin_closing(&mut self, place: Place) {
        if let Some(row) = self.row_mut(place) {
            row.closing = true;
            row.socket = None;
            self.tell_to_close(place);
        }
    }

    /// The listener of the first socket; those of the others follow.
    pub(super) fn tell_to_close(&mut self, place: Place) {
        self.closing.insert(place);
        self.untold.extend(self.served_under(place).map(|lease| (place, lease)));
        self.members.look_at(place);
    }

    /// The end of a listener, however it came about, if it was told to close.
    pub(super) fn end_closing(&mut self, place: Place) -> bool {
        let Some(row) = self.row_mut(place).filter(|row| row.closing) else { return false };
        row.closing = false;
        row.owner = None;
        let due = row.next_try();
        self.closing.remove(&place);
        self.schedule(due, place.chunk);
        true
    }

    /// Ends the suspensions of a chunk that are over.
    pub(super) fn resume_due(&mut self, id: ChunkId, now: Instant) {
        let places: Vec<_> = self.places_of(id).collect();
        for place in places {
            let over = self.row(place).is_some_and(|row| {
                row.state == EndpointState::Suspended && row.due.is_some_and(|due| due <= now)
            });
            if over {
                self.resume(place, now);
            }
        }
    }

    /// Lets the state of an opened chunk follow its endpoints. One that is
    /// idle, stacked or leased follows with its next report.
    pub(super) fn follow(&mut self, id: ChunkId) {
        let missing = self.missing(id);
        let event = match (self.state(id), missing) {
            (Some(ChunkState::Error { .. }), 0) => ChunkEvent::Recovered(0),
            (Some(ChunkState::Error { faults }), missing) if faults == missing => return,
            (Some(ChunkState::Completed | ChunkState::Error { .. }), 1..) => {
                ChunkEvent::ListenerLost(missing)
            }
            _ => return,
        };
        let _legal = self.apply(id, event);
    }
}
