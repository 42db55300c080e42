//! What the desk tells the service: ready, recovered, its picture.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Desk, changes};
use crate::actors::orders;
use crate::supervision::{
    EndpointFailure, Event, Fault, FaultKind, MAX_BOUND, MAX_FAILURES, Picture, Place, Ready,
};

impl Desk {
    pub(super) fn tell_recovered(&self, places: &[Place]) {
        if self.setup.ready.borrow().is_none() {
            return;
        }
        // Whoever hears of it and looks finds it counted.
        self.publish();
        let named = places.iter().filter_map(|place| orders::endpoint_at(&self.setup, *place));
        let endpoints: Vec<_> = named.collect();
        if !endpoints.is_empty() {
            self.tell_failure(Event::Recovered { endpoints: endpoints.into() });
        }
    }

    /// Tells of every state that changed since the last time. Names endpoints as
    /// the plan has them now: before the plan changes, it must have been told.
    pub(super) fn tell_changes(&mut self) {
        let changes = self.setup.table.take_changes();
        if changes.is_empty() || !self.setup.events.is_heard() {
            return;
        }
        for event in changes::events(&self.setup, &changes) {
            self.tell(event);
        }
    }

    /// Publishes the counts of this moment.
    pub(super) fn publish(&self) {
        let table = &self.setup.table;
        self.setup.board.publish(table.endpoint_counts(), table.chunk_counts());
        self.setup.board.publish_late(table.refused());
        self.setup.board.publish_required(self.coverage().required());
    }

    /// Tells of a failure, or of its end: whoever listens, and the error log or its
    /// successor, which counts it and writes its line. Counts what does not fit.
    pub(super) fn tell_failure(&self, event: Event) {
        if self.setup.notices.try_send(event.clone()).is_err() {
            self.setup.dropped.fetch_add(1, Ordering::Relaxed);
        }
        self.tell(event);
    }

    /// Says once that the service is ready.
    pub(super) fn announce(&self) {
        if self.setup.ready.borrow().is_none() {
            // Whoever hears of it and looks finds it so.
            self.setup.board.publish_decided();
            let ready = self.describe_ready();
            self.tell(Event::Ready(Arc::new(ready.clone())));
            self.setup.ready.send_replace(Some(ready));
        }
    }

    fn describe_ready(&self) -> Ready {
        let setup = &self.setup;
        let ephemeral = setup.endpoints.ephemeral();
        let bound = ephemeral
            .map(|index| setup.table.place(index))
            .filter(|place| setup.table.listens(*place))
            .filter_map(|place| orders::endpoint_at(setup, place))
            .take(MAX_BOUND)
            .collect();
        Ready {
            endpoints: setup.table.endpoint_counts(),
            chunks: setup.table.chunk_counts(),
            workers: self.slots.iter().filter(|slot| slot.thread.is_some()).count(),
            elapsed: setup.started.elapsed(),
            bound,
            failures: self.failures(),
            required: self.coverage().required(),
        }
    }

    pub(super) fn failures(&self) -> Vec<EndpointFailure> {
        let table = &self.setup.table;
        let rolled_back = |fault: Fault| fault.kind == FaultKind::BindRolledBack;
        // Those that took others down with them come first.
        let culprits = table.failures().filter(|(_, _, fault)| !rolled_back(*fault));
        let siblings = table.failures().filter(|(_, _, fault)| rolled_back(*fault));
        let failed = culprits.chain(siblings).filter_map(|(place, state, fault)| {
            let endpoint = orders::endpoint_at(&self.setup, place)?;
            Some(EndpointFailure { endpoint, state, fault })
        });
        failed.take(MAX_FAILURES).collect()
    }

    pub(super) fn picture(&self) -> Picture {
        Picture {
            workers: self.slots.iter().map(|slot| slot.state).collect(),
            chunks: self.setup.table.states().collect(),
        }
    }
}
