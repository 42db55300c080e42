//! Changes of many endpoints or chunks at once, as one event each.
//!
//! A batch names each endpoint for those who ask, and prints in a few words.

use std::sync::Arc;

use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

use super::words::Outlook;
use crate::spec::{Endpoint, compress};
use crate::supervision::chunk::{ChunkId, ChunkState};
use crate::supervision::failure::Fault;
use crate::supervision::states::EndpointState;

/// Longest list of endpoints or chunks that is printed. Unit: characters.
const PRINTED: usize = 2_000;

/// Endpoints that the same thing happened to at once, with the ports that they got.
///
/// Serialises as `count` and `endpoints`, a compressed list for people: `count` is
/// exact, and the list says how many it leaves out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointBatch(Arc<[Endpoint]>);

/// Chunks that went from one state to another at once.
///
/// Serialises as `from`, `to`, `worker` (who opens them, or opened them), `missing`
/// (how many endpoints of each do not listen), `count` and `chunks`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChunkChange {
    /// Their state before.
    pub from: ChunkState,
    /// Their state now.
    pub to: ChunkState,
    /// Which ones.
    pub chunks: Vec<ChunkId>,
}

/// Endpoints that went from one state to another at once, for the same reason.
///
/// Serialises as `from`, `to`, `kind`, `errno`, `error`, `count` and `endpoints`; the
/// reason is null where there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointChange {
    /// Their state before.
    pub from: EndpointState,
    /// Their state now.
    pub to: EndpointState,
    /// Why they do not listen, if that is a failure.
    pub fault: Option<Fault>,
    /// Which ones.
    pub endpoints: EndpointBatch,
}

/// Endpoints of a chunk that were tried and failed for the same reason.
///
/// Serialises as `chunk`, `kind`, `errno`, `error`, `outlook`, `count` and `endpoints`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointFailures {
    /// Their chunk.
    pub chunk: ChunkId,
    /// Why they do not listen.
    pub fault: Fault,
    /// What follows.
    pub outlook: Outlook,
    /// Which ones.
    pub endpoints: EndpointBatch,
}

impl EndpointBatch {
    /// Most endpoints in a batch that a reader gets: what is more comes in several.
    pub const MOST: usize = 1_024;

    /// The same endpoints, in batches that a reader gets.
    pub(super) fn parts(&self) -> impl Iterator<Item = Self> + '_ {
        self.0.chunks(Self::MOST).map(|part| Self(part.into()))
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.len() as u64
    }

    /// Whether it names none. No event has such a batch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = Endpoint> + '_ {
        self.0.iter().copied()
    }

    /// Whether this one is among them.
    #[must_use]
    pub fn contains(&self, endpoint: &Endpoint) -> bool {
        self.0.contains(endpoint)
    }

    /// At most about `longest` characters of them, for people.
    #[must_use]
    pub fn text(&self, longest: usize) -> String {
        compress(self.iter(), longest)
    }
}

impl From<Vec<Endpoint>> for EndpointBatch {
    fn from(endpoints: Vec<Endpoint>) -> Self {
        Self(endpoints.into())
    }
}

impl ChunkChange {
    /// These chunks, of which there is at least one.
    #[must_use]
    pub const fn new(from: ChunkState, to: ChunkState, chunks: Vec<ChunkId>) -> Self {
        Self { from, to, chunks }
    }

    /// `1-3,7`, of at most about so many characters.
    fn text(&self) -> String {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for ChunkId(id) in &self.chunks {
            match runs.last_mut().filter(|(_, last)| last.checked_add(1) == Some(*id)) {
                Some((_, last)) => *last = *id,
                None => runs.push((*id, *id)),
            }
        }
        let mut text = String::new();
        for (first, last) in runs {
            if text.len() > PRINTED {
                text.push_str(",…");
                break;
            }
            let comma = if text.is_empty() { "" } else { "," };
            text += &if first == last {
                format!("{comma}{first}")
            } else {
                format!("{comma}{first}-{last}")
            };
        }
        text
    }
}

impl EndpointChange {
    /// These endpoints, of which there is at least one.
    #[must_use]
    pub const fn new(
        (from, to): (EndpointState, EndpointState),
        fault: Option<Fault>,
        endpoints: EndpointBatch,
    ) -> Self {
        Self { from, to, fault, endpoints }
    }
}

impl EndpointFailures {
    /// These endpoints, of which there is at least one.
    #[must_use]
    pub const fn new(
        chunk: ChunkId,
        fault: Fault,
        outlook: Outlook,
        endpoints: EndpointBatch,
    ) -> Self {
        Self { chunk, fault, outlook, endpoints }
    }
}

impl Serialize for EndpointBatch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut batch = serializer.serialize_struct("batch", 2)?;
        write_batch::<S>(&mut batch, self)?;
        batch.end()
    }
}

impl Serialize for ChunkChange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let lease = [self.to, self.from].into_iter().find_map(|state| match state {
            ChunkState::Processing { lease } => Some(lease),
            _ => None,
        });
        let missing = match self.to {
            ChunkState::Error { faults } => faults,
            _ => 0,
        };
        let mut change = serializer.serialize_struct("chunks", 6)?;
        change.serialize_field("from", self.from.as_str())?;
        change.serialize_field("to", self.to.as_str())?;
        change.serialize_field("worker", &lease.map(|lease| lease.worker))?;
        change.serialize_field("missing", &missing)?;
        change.serialize_field("count", &self.chunks.len())?;
        change.serialize_field("chunks", &self.text())?;
        change.end()
    }
}

impl Serialize for EndpointChange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut change = serializer.serialize_struct("endpoints", 7)?;
        change.serialize_field("from", &self.from)?;
        change.serialize_field("to", &self.to)?;
        write_fault::<S>(&mut change, self.fault)?;
        write_batch::<S>(&mut change, &self.endpoints)?;
        change.end()
    }
}

impl Serialize for EndpointFailures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut failures = serializer.serialize_struct("failures", 7)?;
        failures.serialize_field("chunk", &self.chunk)?;
        write_fault::<S>(&mut failures, Some(self.fault))?;
        failures.serialize_field("outlook", &self.outlook)?;
        write_batch::<S>(&mut failures, &self.endpoints)?;
        failures.end()
    }
}

fn write_batch<S: Serializer>(
    fields: &mut S::SerializeStruct,
    batch: &EndpointBatch,
) -> Result<(), S::Error> {
    fields.serialize_field("count", &batch.len())?;
    fields.serialize_field("endpoints", &batch.text(PRINTED))
}

fn write_fault<S: Serializer>(
    fields: &mut S::SerializeStruct,
    fault: Option<Fault>,
) -> Result<(), S::Error> {
    fields.serialize_field("kind", &fault.map(|fault| fault.kind.as_str()))?;
    fields.serialize_field("errno", &fault.and_then(Fault::errno_name))?;
    fields.serialize_field("error", &fault.map(Fault::explain))
}
