//! Everything that a service tells of itself, as one type.
//!
//! Plain values: an event says what happened, in the past tense, and has a name
//! that stays. Never decides who hears of it, or whether a line is written:
//! `actors::event_hub` does.

mod change;
mod occurrence;
mod words;

use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;

use super::chunk::{ChunkId, WorkerId};
use super::drop_reason::DropReason;
use super::failure::FaultKind;
use super::listing::PlanDiff;
use super::refusal::Refusal;
use super::report::Ready;
use super::states::{ChunkCounts, EndpointCounts};
use crate::config::SettingChange;
use crate::spec::Endpoint;
pub use change::{ChunkChange, EndpointBatch, EndpointChange, EndpointFailures};
pub use occurrence::Occurrence;
pub use words::{Limit, Order, Outlook, PartKind, Replanning};

/// Something that happened in a service.
///
/// Serialises as the flat fields that each variant names; [`Self::name`] is not among
/// them, but see [`Occurrence`]. Endpoints come in batches ([`EndpointBatch`]):
/// fifteen thousand that open at once are fifteen events. Names and fields stay;
/// there may be more of both.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Event {
    /// `ready`: every endpoint is decided for the first time, or
    /// `coverage.wait_secs` are over. Once.
    Ready(Arc<Ready>),
    /// `draining`: nothing new is accepted any more. Counts are of that moment.
    Draining {
        /// Endpoints by state.
        endpoints: EndpointCounts,
        /// Chunks by state.
        chunks: ChunkCounts,
    },
    /// `stopped`: every thread is joined. The last event.
    Stopped {
        /// Since the start.
        uptime_ms: u64,
        /// Sessions that were served.
        accepted: u64,
        /// Those of them that were cut off.
        forced: u64,
    },
    /// `chunks_changed`: chunks went from one state to another.
    ChunksChanged(ChunkChange),
    /// `endpoints_changed`: endpoints went from one state to another.
    EndpointsChanged(EndpointChange),
    /// `endpoints_failed`: an attempt to open endpoints failed, and this is what
    /// becomes of them. Their state changes by the first failure and the last alone.
    EndpointsFailed(EndpointFailures),
    /// `recovered`: endpoints that had failed listen.
    Recovered {
        /// Which ones.
        #[serde(flatten)]
        endpoints: EndpointBatch,
    },
    /// `addresses_lost`: the addresses of listening endpoints left. Their sockets wait.
    AddressesLost {
        /// Which ones.
        #[serde(flatten)]
        endpoints: EndpointBatch,
    },
    /// `listener_crashed`: a listener's actor panicked.
    ListenerCrashed {
        /// Whose.
        #[serde(serialize_with = "as_text")]
        endpoint: Endpoint,
        /// The panic's message.
        panic: String,
        /// What follows.
        outlook: Outlook,
    },
    /// `worker_crashed`: a worker's actor panicked. Its thread, listeners and
    /// sessions live.
    WorkerCrashed {
        /// Which one.
        worker: WorkerId,
        /// The chunk that it was opening, which the crash is charged to.
        chunk: Option<ChunkId>,
        /// The panic's message.
        panic: String,
        /// What follows.
        outlook: Outlook,
    },
    /// `worker_lost`: a worker's thread ended. Its sessions are gone.
    WorkerLost {
        /// Which one.
        worker: WorkerId,
        /// How many endpoints it served; others serve them from the same sockets.
        listeners: u64,
        /// What follows.
        outlook: Outlook,
    },
    /// `worker_restarted`: a new one took over what its predecessor left.
    WorkerRestarted {
        /// Which one.
        worker: WorkerId,
    },
    /// `supervisor_crashed`: the next one finds what it knew.
    SupervisorCrashed {
        /// The panic's message.
        panic: String,
    },
    /// `error_log_crashed`: the next one finds what it knew.
    ErrorLogCrashed {
        /// The panic's message.
        panic: String,
    },
    /// `worker_hung`: a worker does not answer. Its thread lives, so it is not replaced.
    WorkerHung {
        /// Which one.
        worker: WorkerId,
    },
    /// `worker_answers`: a worker that hung answers again.
    WorkerAnswers {
        /// Which one.
        worker: WorkerId,
    },
    /// `quarantined`: a part crashed too often and rests until it is probed or
    /// released. (Endpoints whose attempts are used up are `endpoints_changed`.)
    Quarantined {
        /// What it is.
        part: PartKind,
        /// Which one: an endpoint, a chunk, a worker.
        name: String,
    },
    /// `limit_reached`: clients wait or are refused because of it. Said once,
    /// until `limit_left`.
    LimitReached {
        /// Which one.
        #[serde(flatten)]
        limit: Limit,
    },
    /// `limit_left`: for ten seconds nobody met it.
    LimitLeft {
        /// Which one.
        #[serde(flatten)]
        limit: Limit,
    },
    /// `first_refusal`: a client was refused for this reason, the first time.
    FirstRefusal {
        /// Why.
        #[serde(serialize_with = "as_text")]
        reason: Refusal,
        /// The key that decides about it.
        key: &'static str,
        /// Where it came from.
        source: IpAddr,
    },
    /// `first_drop`: a datagram got no answer for this reason, the first time.
    FirstDrop {
        /// Why.
        #[serde(serialize_with = "as_text")]
        reason: DropReason,
        /// The key that decides about it, if there is one.
        key: Option<&'static str>,
    },
    /// `order_done`: an operator's order was carried out.
    OrderDone {
        /// What was ordered.
        order: Order,
        /// The selector.
        select: String,
        /// Endpoints that it named.
        matched: u64,
        /// Those of them that are different now.
        changed: u64,
    },
    /// `replanned`: endpoints were added, or follow a new configuration.
    Replanned {
        /// Which of both.
        operation: Replanning,
        /// What came of it.
        #[serde(flatten)]
        diff: Box<PlanDiff>,
    },
    /// `marked`: a new run began, in which every endpoint is untouched.
    Marked {
        /// Counts the marks, from 1.
        run: u64,
    },
    /// `settings_changed`: settings have other values from now on.
    SettingsChanged {
        /// Each with its key.
        changed: Vec<SettingChange>,
    },
}

impl Event {
    /// Its name, which stays: of the SSE field `event` and of JSON's.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ready(_) => "ready",
            Self::Draining { .. } => "draining",
            Self::Stopped { .. } => "stopped",
            Self::ChunksChanged(_) => "chunks_changed",
            Self::EndpointsChanged(_) => "endpoints_changed",
            Self::EndpointsFailed(_) => "endpoints_failed",
            Self::Recovered { .. } => "recovered",
            Self::AddressesLost { .. } => "addresses_lost",
            Self::ListenerCrashed { .. } => "listener_crashed",
            Self::WorkerCrashed { .. } => "worker_crashed",
            Self::WorkerLost { .. } => "worker_lost",
            Self::WorkerRestarted { .. } => "worker_restarted",
            Self::SupervisorCrashed { .. } => "supervisor_crashed",
            Self::ErrorLogCrashed { .. } => "error_log_crashed",
            Self::WorkerHung { .. } => "worker_hung",
            Self::WorkerAnswers { .. } => "worker_answers",
            Self::Quarantined { .. } => "quarantined",
            Self::LimitReached { .. } => "limit_reached",
            Self::LimitLeft { .. } => "limit_left",
            Self::FirstRefusal { .. } => "first_refusal",
            Self::FirstDrop { .. } => "first_drop",
            Self::OrderDone { .. } => "order_done",
            Self::Replanned { .. } => "replanned",
            Self::Marked { .. } => "marked",
            Self::SettingsChanged { .. } => "settings_changed",
        }
    }

    /// What the error log counts it as, and how often; `None` where nothing failed,
    /// or each failure is counted by itself.
    #[must_use]
    pub fn fault(&self) -> Option<(FaultKind, u64)> {
        Some(match self {
            Self::AddressesLost { endpoints } => (FaultKind::AddressLost, endpoints.len()),
            Self::ListenerCrashed { .. } => (FaultKind::ListenerPanic, 1),
            Self::WorkerCrashed { chunk: Some(_), .. } => (FaultKind::ChunkPanic, 1),
            Self::WorkerCrashed { chunk: None, .. } => (FaultKind::WorkerPanic, 1),
            Self::WorkerLost { .. } => (FaultKind::WorkerLost, 1),
            Self::SupervisorCrashed { .. } => (FaultKind::SupervisorPanic, 1),
            Self::ErrorLogCrashed { .. } => (FaultKind::ErrorLogPanic, 1),
            _ => return None,
        })
    }

    /// Whether it says that this endpoint, which had failed, listens.
    #[must_use]
    pub fn recovers(&self, endpoint: &Endpoint) -> bool {
        matches!(self, Self::Recovered { endpoints } if endpoints.contains(endpoint))
    }

    /// Its endpoints, where it has a batch of them.
    fn batch_mut(&mut self) -> Option<&mut EndpointBatch> {
        match self {
            Self::EndpointsChanged(change) => Some(&mut change.endpoints),
            Self::EndpointsFailed(failures) => Some(&mut failures.endpoints),
            Self::Recovered { endpoints } | Self::AddressesLost { endpoints } => Some(endpoints),
            _ => None,
        }
    }

    /// The same, in events whose batches have at most [`EndpointBatch::MOST`] endpoints.
    #[must_use]
    pub fn parts(mut self) -> Vec<Self> {
        let most = EndpointBatch::MOST as u64;
        let Some(whole) = self.batch_mut().filter(|batch| batch.len() > most).cloned() else {
            return vec![self];
        };
        let part = |batch: EndpointBatch| {
            let mut event = self.clone();
            if let Some(own) = event.batch_mut() {
                *own = batch;
            }
            event
        };
        whole.parts().map(part).collect()
    }

    /// Whether it is about this endpoint, as it is listed.
    #[must_use]
    pub fn concerns(&self, endpoint: &Endpoint) -> bool {
        match self {
            Self::EndpointsChanged(change) => change.endpoints.contains(endpoint),
            Self::EndpointsFailed(failures) => failures.endpoints.contains(endpoint),
            Self::Recovered { endpoints } | Self::AddressesLost { endpoints } => {
                endpoints.contains(endpoint)
            }
            Self::ListenerCrashed { endpoint: crashed, .. } => crashed == endpoint,
            Self::Quarantined { part: PartKind::Endpoint, name } => *name == endpoint.to_string(),
            _ => false,
        }
    }
}

fn as_text<T: std::fmt::Display, S: serde::Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[cfg(test)]
mod tests;
