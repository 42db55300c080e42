//! What the desk tells the service: ready, recovered, its picture.

use std::sync::atomic::Ordering;

use super::{Desk, Event};
use crate::actors::orders;
use crate::actors::protocol::Notice;
use crate::supervision::{
    EndpointFailure, Fault, FaultKind, MAX_BOUND, MAX_FAILURES, Picture, Place, Ready,
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
        for endpoint in &endpoints {
            self.tell(Event::Recovered(*endpoint));
        }
        if !endpoints.is_empty() {
            self.tell_error_log(Notice::EndpointsRecovered(endpoints));
        }
    }

    /// Publishes the counts of this moment.
    pub(super) fn publish(&self) {
        let table = &self.setup.table;
        self.setup.board.publish(table.endpoint_counts(), table.chunk_counts());
        self.setup.board.publish_late(table.refused());
        self.setup.board.publish_required(self.setup.coverage.required());
    }

    /// Tells the error log, or its successor; counts what does not fit.
    pub(super) fn tell_error_log(&self, notice: Notice) {
        if self.setup.notices.try_send(notice).is_err() {
            self.setup.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Says once that the service is ready.
    pub(super) fn announce(&self) {
        if self.setup.ready.borrow().is_none() {
            // Whoever hears of it and looks finds it so.
            self.setup.board.publish_decided();
            self.setup.ready.send_replace(Some(self.describe_ready()));
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
            required: setup.coverage.required(),
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
