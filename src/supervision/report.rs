//! What the tree says of itself: ready, drained, its picture, its errors.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::chunk::ChunkState;
use super::failure::{Fault, FaultKind};
use super::listing::millis;
use super::states::{ChunkCounts, EndpointCounts, EndpointState, WorkerState};
use crate::spec::Endpoint;

/// Most endpoints in [`Ready::bound`].
pub const MAX_BOUND: usize = 256;
/// Most endpoints in a list of failures.
pub const MAX_FAILURES: usize = 100;

/// An endpoint that does not listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointFailure {
    /// Which one.
    pub endpoint: Endpoint,
    /// Retrying or quarantined.
    pub state: EndpointState,
    /// Why.
    pub fault: Fault,
}

/// Every endpoint is decided for the first time, or `coverage.wait_secs` is over.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ready {
    /// How many endpoints are in each state.
    pub endpoints: EndpointCounts,
    /// How many chunks are in each state.
    pub chunks: ChunkCounts,
    /// Number of workers.
    pub workers: usize,
    /// Since the service was started.
    pub elapsed: Duration,
    /// Endpoints that asked for port 0, with the port they got; at most 256.
    pub bound: Vec<Endpoint>,
    /// Endpoints that do not listen; at most 100.
    pub failures: Vec<EndpointFailure>,
    /// Least number of endpoints that should listen (`coverage.min_bound`).
    pub required: u64,
}

impl Ready {
    /// Whether every endpoint listens, but for those that an operator suspended.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.endpoints.listening + self.endpoints.suspended == self.endpoints.total
    }
}

/// As the event `ready`: state and counts, without the lists.
impl Serialize for Ready {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut ready = serializer.serialize_struct("ready", 6)?;
        ready.serialize_field("state", if self.is_complete() { "ready" } else { "degraded" })?;
        ready.serialize_field("endpoints", &self.endpoints)?;
        ready.serialize_field("chunks", &self.chunks)?;
        ready.serialize_field("workers", &self.workers)?;
        ready.serialize_field("elapsed_ms", &millis(self.elapsed))?;
        ready.serialize_field("required", &self.required)?;
        ready.end()
    }
}

/// Workers and chunks with their states: the source's own picture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Picture {
    /// By number.
    pub workers: Vec<WorkerState>,
    /// By number.
    pub chunks: Vec<ChunkState>,
}

/// What was there when a drain began, and how the drain ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// Endpoints by state when the drain began.
    pub endpoints: EndpointCounts,
    /// Chunks by state when the drain began.
    pub chunks: ChunkCounts,
    /// Workers and chunks when the drain began.
    pub picture: Picture,
    /// Endpoints that did not listen when the drain began; at most 100.
    pub failures: Vec<EndpointFailure>,
}

/// What the error log counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErrorReport {
    /// All failures that reached the log, of endpoints and of sessions.
    pub logged: u64,
    /// Session failures that did not, because its queue was full.
    pub dropped: u64,
    /// The logged ones by kind.
    pub by_kind: BTreeMap<FaultKind, u64>,
}
