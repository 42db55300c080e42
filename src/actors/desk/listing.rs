//! What the desk tells of itself when it is asked. Changes nothing.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use super::Desk;
use crate::actors::protocol::{EndpointSlice, ListEndpoints, Touch};
use crate::plan::endpoints::PlannedGroup;
use crate::spec::{Candidate, Endpoint, Port};
use crate::supervision::{
    ChunkInfo, EndpointInfo, EndpointState, Place, Reading, RowInfo, Status, WorkerInfo,
};

/// Most endpoints that one slice looks at: a fraction of a millisecond.
const SLICE: u64 = 1024;

impl Desk {
    /// One slice of a listing.
    pub(crate) fn list(&self, query: &ListEndpoints, now: Instant) -> EndpointSlice {
        let (mut endpoints, mut matched) = (Vec::new(), 0_u64);
        let plan = &self.setup.endpoints;
        let mut at = query.from;
        for _ in 0..SLICE {
            let Some(index) = query.selection.next_in(plan, at) else {
                return EndpointSlice { endpoints, matched, next: None };
            };
            at = index + 1;
            let Some((group, endpoint, place, row)) = self.known(index) else { continue };
            let candidate = candidate(group, endpoint, place, &row);
            let failed = row.fault.is_some() && row.state != EndpointState::Listening;
            let wanted = query.state.is_none_or(|state| state == row.state)
                && (!query.failed || failed)
                && query.touch.is_none_or(|touch| self.is_touched(place, touch))
                && query.selection.names(&candidate);
            if !wanted {
                continue;
            }
            matched += 1;
            if matched > query.skip && (endpoints.len() as u64) < query.take {
                endpoints.push(self.inform(&candidate, place, &row, now));
            }
        }
        EndpointSlice { endpoints, matched, next: Some(at) }
    }

    /// The endpoint at this place of the plan, and what the table knows of it;
    /// `None` for one that was removed.
    pub(super) fn known(&self, index: u64) -> Option<(&PlannedGroup, Endpoint, Place, RowInfo)> {
        let plan = &self.setup.endpoints;
        let (group, endpoint) = plan.get(index)?;
        let place = self.setup.table.place(index);
        let row = self.setup.table.info(place)?;
        if row.state == EndpointState::Closed {
            return None;
        }
        Some((plan.groups().get(group)?, endpoint, place, row))
    }

    fn inform(
        &self,
        candidate: &Candidate<'_>,
        place: Place,
        row: &RowInfo,
        now: Instant,
    ) -> EndpointInfo {
        let reading = self.reading(place);
        let listens = row.state == EndpointState::Listening;
        EndpointInfo {
            endpoint: match (candidate.endpoint.port, row.number) {
                (Port::Ephemeral(_), number) if number > 0 => candidate.endpoint.with_port(number),
                _ => candidate.endpoint,
            },
            group: candidate.group.to_owned(),
            chunk: place.chunk,
            workers: self.setup.table.workers_of(place),
            state: row.state,
            attempts: if listens { 1 } else { row.attempts },
            restarts: row.restarts,
            fault: row.fault.filter(|_| !listens),
            retry_in: row.next_try.map(|due| due.saturating_duration_since(now)),
            last_seen: reading.seen.and_then(|seen| self.wall_time(seen.time, now)),
            reading,
        }
    }

    fn is_touched(&self, place: Place, touch: Touch) -> bool {
        let reading = self.reading(place);
        let share = self.setup.shares.first();
        let run = share.map_or(0, |share| share.run.load(Ordering::Relaxed));
        match touch {
            Touch::Nobody => !reading.is_touched(run),
            Touch::From(network, bits) => reading.is_touched_by(run, network, bits),
        }
    }

    fn reading(&self, place: Place) -> Reading {
        let meters = self.setup.meters.get(&place.chunk);
        meters.map(|meters| meters.read(place.slot)).unwrap_or_default()
    }

    /// The wall clock's time so long after the service's start.
    fn wall_time(&self, since_start: Duration, now: Instant) -> Option<SystemTime> {
        let ago = now.saturating_duration_since(self.setup.started + since_start);
        SystemTime::now().checked_sub(ago)
    }

    /// So many chunks, after so many.
    pub(crate) fn list_chunks(&self, skip: usize, take: usize) -> Vec<ChunkInfo> {
        self.setup.table.describe_chunks().skip(skip).take(take).collect()
    }

    /// How everything is.
    pub(crate) fn status(&self, now: Instant) -> Status {
        let table = &self.setup.table;
        let endpoints = table.endpoint_counts();
        let coverage = self.coverage();
        let workers = self.slots.iter().map(|slot| WorkerInfo {
            id: slot.id,
            state: slot.addr.is_some().then_some(slot.state),
            epoch: slot.epoch,
            hung: slot.hung,
            restart_in: slot.restart_at.map(|due| due.saturating_duration_since(now)),
        });
        Status {
            ready: self.setup.ready.borrow().is_some() && coverage.is_met(&endpoints),
            draining: self.drain.is_some(),
            endpoints,
            required: coverage.required(),
            chunks: table.chunk_counts(),
            workers: workers.collect(),
        }
    }
}

/// The endpoint as selectors see it.
pub(super) fn candidate<'a>(
    group: &'a PlannedGroup,
    endpoint: Endpoint,
    place: Place,
    row: &RowInfo,
) -> Candidate<'a> {
    Candidate {
        endpoint,
        number: row.number,
        group: &group.name,
        chunk: place.chunk,
        state: row.state,
    }
}
