//! Handing everything over to another instance: offered, then withdrawn or given.
//!
//! While it is offered nothing is opened and no order is taken, so that what was offered
//! stays what there is. Serving goes on.

use std::collections::HashSet;
use std::sync::Arc;

use super::Desk;
use crate::actors::local::WorkerLocal;
use crate::actors::orders;
use crate::actors::protocol::{CutSession, Locked, NotOffered, Offered};
use crate::net::bind::Bound;
use crate::spec::{Endpoint, Port};
use crate::supervision::{ChunkState, Place};

impl Desk {
    /// Why an operator changes nothing now.
    pub(super) const fn locked(&self) -> Option<Locked> {
        match (self.drain.is_some(), self.offering.is_some()) {
            (true, _) => Some(Locked::Draining),
            (false, true) => Some(Locked::HandingOver),
            (false, false) => None,
        }
    }

    /// Whether new leases have to wait.
    pub(super) const fn is_offering(&self) -> bool {
        self.offering.is_some()
    }

    /// Everything that is bound, and every number that the kernel chose.
    pub(crate) fn offer(&mut self, offer: u64) -> Result<Vec<Offered>, NotOffered> {
        match self.locked() {
            // It was heard before.
            Some(Locked::HandingOver) if self.offering == Some(offer) => {}
            Some(locked) => return Err(NotOffered::Locked(locked)),
            None => {}
        }
        let opening = |state| matches!(state, ChunkState::Processing { .. });
        if self.setup.ready.borrow().is_none() || self.setup.table.states().any(opening) {
            return Err(NotOffered::Opening);
        }
        self.offering = Some(offer);
        let places = self.setup.table.chunk_ids().flat_map(|id| self.setup.table.places_of(id));
        Ok(places.filter_map(|place| self.offer_one(place)).collect())
    }

    fn offer_one(&self, place: Place) -> Option<Offered> {
        let planned = self.setup.endpoints.get(self.setup.table.endpoint(place))?.1;
        let ordinal = match planned.port {
            Port::Ephemeral(ordinal) => Some(ordinal),
            Port::Number(_) => None,
        };
        let (number, socket) = self.setup.table.held(place);
        if number == 0 || socket.is_none() && ordinal.is_none() {
            return None;
        }
        let socket = socket.cloned();
        // A socket knows the zone that it is bound in.
        let bound = socket.as_ref().map(Bound::endpoint);
        let endpoint: Endpoint = bound.or_else(|| orders::endpoint_at(&self.setup, place))?;
        Some(Offered { place, endpoint, ordinal, socket })
    }

    /// Nobody takes it: everything goes on.
    pub(crate) const fn withdraw(&mut self) {
        self.offering = None;
    }

    /// Another instance serves the endpoints of these places: leaves their sockets to
    /// it. The others are drained; those are returned. Sessions go on.
    pub(crate) fn begin_retire(&mut self, taken: Arc<HashSet<Place>>) -> HashSet<Place> {
        let table = &self.setup.table;
        let all = table.chunk_ids().flat_map(|id| table.places_of(id));
        let gone: HashSet<Place> = all.filter(|place| !taken.contains(place)).collect();
        let told = Arc::new(gone.clone());
        self.close_down(move |local| local.retire(Arc::clone(&taken), &told));
        gone
    }

    /// The sessions of these endpoints had their time.
    pub(crate) fn cut_overdue(&self, places: HashSet<Place>) {
        self.cut(places, CutSession::Overdue);
    }

    /// Lets the listeners of every thread serve.
    pub(crate) fn open_gate(&self) {
        if let Some(share) = self.setup.shares.first() {
            share.gate.open();
        }
        self.on_threads(|_| true, |local| WorkerLocal::pass_gate(&local));
    }
}
