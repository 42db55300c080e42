//! What a running service tells of its endpoints, chunks, workers and errors.
//!
//! Plain answers, which serialise as the control API shows them (interface
//! §4.3). Never asks anybody.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use serde::ser::{SerializeStruct, Serializer};
use serde::{Serialize, ser};

use super::chunk::{ChunkId, ChunkState, WorkerId};
use super::failure::Fault;
use super::meter::Reading;
use super::states::{ChunkCounts, EndpointCounts, EndpointState, WorkerState};
use crate::config::{KeptSetting, SettingChange};
use crate::spec::{Endpoint, Protocol};

/// One endpoint of a running service.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointInfo {
    /// With the port that it got, where the kernel chose one; 0 = none yet.
    pub endpoint: Endpoint,
    /// The name of its group.
    pub group: String,
    /// Its chunk.
    pub chunk: ChunkId,
    /// Whose listener serves it; empty where nobody does.
    pub workers: Vec<WorkerId>,
    /// Where it stands.
    pub state: EndpointState,
    /// Attempts to open it since it last listened; 1 while it listens.
    pub attempts: u32,
    /// How often its listener came back after a crash.
    pub restarts: u32,
    /// Why it does not listen, if it does not.
    pub fault: Option<Fault>,
    /// Until it is opened again, by a retry, a probe or the end of a
    /// suspension; `None` = not by itself.
    pub retry_in: Option<Duration>,
    /// What it counted.
    pub reading: Reading,
    /// When a client was last there, to about 100 ms.
    pub last_seen: Option<SystemTime>,
}

#[derive(Serialize)]
struct Sessions {
    active: u64,
    accepted: u64,
    refused: u64,
}

#[derive(Serialize)]
struct Datagrams {
    received: u64,
    replied: u64,
    dropped: u64,
}

#[derive(Serialize)]
struct Bytes {
    #[serde(rename = "in")]
    inward: u64,
    out: u64,
}

impl EndpointInfo {
    /// Who was there last.
    #[must_use]
    pub const fn last_peer(&self) -> Option<SocketAddr> {
        self.reading.peer
    }

    fn sessions(&self) -> Sessions {
        let Reading { came, turned_away, .. } = self.counts_of(Protocol::Tcp);
        let active = self.counts_of(Protocol::Tcp).active();
        Sessions { active, accepted: came, refused: turned_away }
    }

    fn datagrams(&self) -> Datagrams {
        let Reading { came, done, turned_away, .. } = self.counts_of(Protocol::Udp);
        Datagrams { received: came, replied: done, dropped: turned_away }
    }

    fn counts_of(&self, protocol: Protocol) -> Reading {
        if self.endpoint.protocol == protocol { self.reading } else { Reading::default() }
    }
}

impl Serialize for EndpointInfo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut row = serializer.serialize_struct("endpoint", 15)?;
        row.serialize_field("endpoint", &self.endpoint.to_string())?;
        row.serialize_field("group", &self.group)?;
        row.serialize_field("chunk", &self.chunk)?;
        row.serialize_field("workers", &self.workers)?;
        row.serialize_field("state", &self.state)?;
        row.serialize_field("attempts", &self.attempts)?;
        row.serialize_field("restarts", &self.restarts)?;
        row.serialize_field("errno", &self.fault.and_then(Fault::errno_name))?;
        row.serialize_field("error", &self.fault.map(Fault::explain))?;
        row.serialize_field("retry_in_ms", &self.retry_in.map(millis))?;
        row.serialize_field("sessions", &self.sessions())?;
        row.serialize_field("datagrams", &self.datagrams())?;
        let Reading { bytes_in, bytes_out, .. } = self.reading;
        row.serialize_field("bytes", &Bytes { inward: bytes_in, out: bytes_out })?;
        let seen = self.last_seen.map(humantime::format_rfc3339_millis);
        row.serialize_field("last_seen", &seen.map(|seen| seen.to_string()))?;
        row.serialize_field("last_peer", &self.last_peer().map(|peer| peer.to_string()))?;
        row.end()
    }
}

/// Endpoints that a selector names, of a part of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listing {
    /// Those that were asked for, in the order of the plan.
    pub endpoints: Vec<EndpointInfo>,
    /// How many there are with and without those that were asked for.
    pub matched: u64,
}

/// One chunk of a running service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChunkInfo {
    /// Its number.
    pub id: ChunkId,
    /// Where it stands.
    pub state: ChunkState,
    /// How many endpoints it has.
    pub endpoints: u32,
}

impl Serialize for ChunkInfo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (faults, worker) = match self.state {
            ChunkState::Error { faults } => (faults, None),
            ChunkState::Processing { lease } => (0, Some(lease.worker)),
            ChunkState::Idle | ChunkState::Ready | ChunkState::Completed => (0, None),
        };
        let mut row = serializer.serialize_struct("chunk", 5)?;
        row.serialize_field("chunk", &self.id)?;
        row.serialize_field("state", self.state.as_str())?;
        row.serialize_field("endpoints", &self.endpoints)?;
        row.serialize_field("faults", &faults)?;
        row.serialize_field("worker", &worker)?;
        row.end()
    }
}

/// One worker of a running service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerInfo {
    /// Its number.
    pub id: WorkerId,
    /// What it does; `None` while no Worker runs on its thread.
    pub state: Option<WorkerState>,
    /// Counts the Workers of the service: changes when this one is replaced.
    pub epoch: u64,
    /// It does not answer; its thread cannot be replaced while it lives.
    pub hung: bool,
    /// Until the next Worker is started here; `None` = one runs, or none is
    /// due before an operator retries.
    pub restart_in: Option<Duration>,
}

impl Serialize for WorkerInfo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (state, chunk) = match self.state {
            None => ("gone", None),
            Some(WorkerState::Idle) => ("idle", None),
            Some(WorkerState::Processing(chunk)) => ("processing", Some(chunk)),
            Some(WorkerState::Done) => ("done", None),
        };
        let mut row = serializer.serialize_struct("worker", 6)?;
        row.serialize_field("worker", &self.id)?;
        row.serialize_field("state", state)?;
        row.serialize_field("chunk", &chunk)?;
        row.serialize_field("epoch", &self.epoch)?;
        row.serialize_field("hung", &self.hung)?;
        row.serialize_field("restart_in_ms", &self.restart_in.map(millis))?;
        row.end()
    }
}

/// How a running service is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// Whether at least `coverage.min_bound` endpoints listen, and every
    /// endpoint was decided once.
    pub ready: bool,
    /// Whether the service drains.
    pub draining: bool,
    /// Endpoints by state.
    pub endpoints: EndpointCounts,
    /// Least number of endpoints that should listen (`coverage.min_bound`).
    pub required: u64,
    /// Chunks by state.
    pub chunks: ChunkCounts,
    /// Each worker, by number.
    pub workers: Vec<WorkerInfo>,
}

/// What a new plan changes of what is served.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PlanDiff {
    /// Endpoints that are opened.
    pub opened: u64,
    /// Endpoints that are drained and removed.
    pub closed: u64,
    /// Endpoints that are served anew from the same socket: their settings changed.
    pub reopened: u64,
    /// Endpoints that do not notice.
    pub untouched: u64,
    /// Which are opened, compressed; at most about 2,000 characters.
    pub opened_endpoints: String,
    /// Which are removed, likewise.
    pub closed_endpoints: String,
    /// Which are served anew, likewise.
    pub reopened_endpoints: String,
    /// Settings that change with the plan: limits, time-outs, rates and the like.
    pub settings: Vec<SettingChange>,
    /// Settings that were set live, and stay so although the configuration says
    /// otherwise.
    pub kept: Vec<KeptSetting>,
    /// Sections and keys of the configuration that differ and keep their old
    /// values until a restart.
    pub needs_restart: Vec<&'static str>,
}

/// Serialises as its name.
impl Serialize for EndpointState {
    fn serialize<S: ser::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Whole milliseconds, for JSON.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
