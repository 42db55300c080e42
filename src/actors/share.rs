//! What the service gives to each of its workers. Crosses threads, and holds
//! nothing that belongs to one of them.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::admission::Admission;
use super::link::Link;
use super::local::Gate;
use super::protocol::{ActorEnded, SessionAccepted, SessionFailed};
use super::roster::Roster;
use super::supervisor::Supervisor;
use crate::net::stream_options::StreamOptions;
use crate::spec::Address;
use crate::supervision::{DropReason, SessionGauge, SessionLimits, WorkerCounters};

/// What the service gives to each of its workers. Crosses threads.
#[derive(Debug, Clone)]
pub(crate) struct WorkerShare {
    pub(crate) counters: Arc<WorkerCounters>,
    /// Over all workers.
    pub(crate) gauge: Arc<SessionGauge>,
    /// Who gets a session, over all workers.
    pub(crate) admission: Arc<Admission>,
    /// Who has how much to do, and what waits for whom.
    pub(crate) roster: Arc<Roster<SessionAccepted>>,
    pub(crate) first_drops: Arc<FirstDrops>,
    pub(crate) settings: Arc<SessionSettings>,
    /// When the service started.
    pub(crate) started: Instant,
    /// Counts the marks of an operator (see [`Stamp`](crate::supervision::Stamp)).
    pub(crate) run: Arc<AtomicU64>,
    /// Session failures that did not fit into the error log's queue.
    pub(crate) unlogged: Arc<AtomicU64>,
    pub(crate) supervisor: Link<Supervisor>,
    /// Ends of actors, to whoever passes them on to the Supervisor.
    pub(crate) ended: mpsc::UnboundedSender<ActorEnded>,
    /// To the error log; bounded.
    pub(crate) failures: mpsc::Sender<SessionFailed>,
    /// The service ends: what is dropped now is cut off, not lost.
    pub(crate) ending: Arc<AtomicBool>,
    /// Whether listeners may serve.
    pub(crate) gate: Arc<Gate>,
    /// The chunk that nobody survives opening; 0 = none.
    #[cfg(feature = "fault-injection")]
    pub(crate) poisoned: Arc<AtomicU32>,
}

/// What all sessions and listeners of a service have in common.
#[derive(Debug)]
pub(crate) struct SessionSettings {
    pub(crate) limits: SessionLimits,
    /// Of every accepted connection.
    pub(crate) stream: StreamOptions,
    pub(crate) quiet: Option<Duration>,
    pub(crate) receive_buffer: Option<u32>,
    /// `net.ipv4.ip_nonlocal_bind` and its IPv6 sister (ip(7)).
    pub(crate) nonlocal_bind: [bool; 2],
}

impl SessionSettings {
    /// Whether the kernel binds addresses that no interface has.
    pub(crate) const fn binds_absent(&self, address: Address) -> bool {
        match address.ip() {
            IpAddr::V4(_) => self.nonlocal_bind[0],
            IpAddr::V6(_) => self.nonlocal_bind[1],
        }
    }
}

/// Which reasons for dropping datagrams were warned about already.
#[derive(Debug, Default)]
pub(crate) struct FirstDrops(AtomicU32);

impl FirstDrops {
    /// Says what was dropped and which key decides about it, the first time.
    pub(crate) fn warn_once(&self, reason: DropReason) {
        let bit = 1 << reason.index();
        if self.0.load(Ordering::Relaxed) & bit == 0
            && self.0.fetch_or(bit, Ordering::Relaxed) & bit == 0
        {
            let key = reason.key().unwrap_or("none: it is never answered");
            tracing::warn!(%reason, key, "a datagram got no answer; further ones are only counted");
        }
    }
}
