//! Handing everything over to another instance: offered, then withdrawn or given.
//!
//! While it is offered nothing is opened and no order is taken, so that what was offered
//! stays what there is. Serving goes on.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use super::Desk;
use crate::actors::local::WorkerLocal;
use crate::actors::orders;
use crate::actors::protocol::{CutSession, Locked, NotOffered, Offered, Retirement};
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
        // A socket knows the zone that it is bound in.
        let bound = socket.map(Bound::endpoint);
        let endpoint: Endpoint = bound.or_else(|| orders::endpoint_at(&self.setup, place))?;
        let members = socket.map_or(&[][..], Bound::members);
        let sockets = socket.into_iter().chain(members).cloned().collect();
        Some(Offered { place, endpoint, ordinal, sockets })
    }

    /// Nobody takes it: everything goes on.
    pub(crate) const fn withdraw(&mut self) {
        self.offering = None;
    }

    /// Another instance serves from these sockets: leaves them to it. What it serves
    /// none of is drained; those are returned. Sessions go on.
    pub(crate) fn begin_retire(&mut self, retirement: Retirement) -> HashSet<Place> {
        let Retirement { taken, served } = retirement;
        let table = &self.setup.table;
        let all = table.chunk_ids().flat_map(|id| table.places_of(id));
        let gone: HashSet<Place> = all.filter(|place| !served.contains(place)).collect();
        let told = Arc::new(gone.clone());
        self.close_down(move |local| local.retire(Arc::clone(&taken), &told));
        gone
    }

    /// The sessions of these endpoints had their time.
    pub(crate) fn cut_overdue(&self, places: HashSet<Place>) {
        self.cut(places, CutSession::Overdue);
    }

    /// Lets the listeners of every thread serve.
    pub(crate) fn open_gate(&mut self, now: Instant) {
        if let Some(share) = self.setup.shares.first() {
            share.gate.open();
        }
        self.on_threads(|_| true, |local| WorkerLocal::pass_gate(&local));
        // Several sockets of an endpoint, and clients spread over them, are for the one
        // instance that serves it.
        let several = self.setup.groups.iter().any(|group| group.settings.reuse_port);
        if several && self.setup.shares.len() > 1 {
            let table = &self.setup.table;
            let all = table.chunk_ids().flat_map(|id| table.places_of(id));
            let single: Vec<_> = all.filter(|place| self.is_single(*place)).collect();
            for place in single {
                self.setup.table.reopen(place, false, now);
            }
        }
    }

    /// Whether the endpoint is served from one socket and shall have one a worker.
    fn is_single(&self, place: Place) -> bool {
        let (_, socket) = self.setup.table.held(place);
        let group = self.setup.endpoints.get(self.setup.table.endpoint(place));
        socket.is_some_and(|socket| socket.members().is_empty())
            && group.is_some_and(|(group, _)| self.setup.groups[group].settings.reuse_port)
    }
}
