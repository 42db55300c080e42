//! Addresses that leave their interface and come back.
//!
//! The socket itself says nothing and works again later, so its listener goes
//! on serving it: the table changes what it says of the endpoint, never who
//! owns it.

use std::time::Instant;

use super::{ChunkTable, Place, Refused, index};
use crate::supervision::failure::Fault;
use crate::supervision::states::EndpointState;

impl<S> ChunkTable<S> {
    /// The address of a listening endpoint left its interface. Nobody can
    /// connect, so it does not count as listening; the socket stays with its
    /// listener, and nothing is due by itself.
    ///
    /// # Errors
    /// [`Refused`] when there is no such endpoint or it does not listen.
    pub fn address_lost(&mut self, place: Place, fault: Fault) -> Result<(), Refused> {
        self.refuse_unless(place, EndpointState::Listening)?;
        let row = self.served_mut(place)?;
        row.fault = Some(fault);
        row.due = None;
        self.set_state(place, EndpointState::Retrying);
        self.follow(place.chunk);
        Ok(())
    }

    /// The address is back: the endpoint listens, on the same socket.
    ///
    /// # Errors
    /// [`Refused`] when there is no such endpoint or it does not wait for its
    /// address; one whose listener crashed meanwhile is opened when it is due.
    pub fn address_back(&mut self, place: Place) -> Result<(), Refused> {
        self.refuse_unless(place, EndpointState::Retrying)?;
        let row = self.served_mut(place)?;
        if row.closing {
            return Err(Refused::NotServed(place));
        }
        row.fault = None;
        self.set_state(place, EndpointState::Listening);
        self.follow(place.chunk);
        Ok(())
    }

    /// The address is back on an interface that the socket does not hear, and the
    /// listener has closed it: the endpoint is opened anew, from `due` on. No
    /// attempt is charged, and no verdict asked for.
    ///
    /// # Errors
    /// [`Refused`] when there is no such endpoint or nobody serves it.
    pub fn address_moved(
        &mut self,
        place: Place,
        fault: Fault,
        due: Instant,
    ) -> Result<(), Refused> {
        if self.end_closing(place) {
            return Ok(());
        }
        let row = self.served_mut(place)?;
        row.let_go(fault, Some(due));
        row.socket = None;
        self.set_state(place, EndpointState::Retrying);
        self.follow(place.chunk);
        self.schedule(Some(due), place.chunk);
        Ok(())
    }

    fn refuse_unless(&mut self, place: Place, expected: EndpointState) -> Result<(), Refused> {
        let chunk = self.chunks.get(index(place.chunk)).ok_or(Refused::Unknown(place))?;
        let row = chunk.rows.get(place.slot as usize).ok_or(Refused::Unknown(place))?;
        if row.state != expected {
            return Err(Refused::NotServed(place));
        }
        Ok(())
    }
}
