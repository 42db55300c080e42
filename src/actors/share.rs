//! What the service gives to each of its workers. Crosses threads, and holds
//! nothing that belongs to one of them.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use super::admission::Admission;
use super::event_hub::EventHub;
use super::link::Link;
use super::local::Gate;
use super::protocol::{ActorEnded, SessionAccepted, SessionFailed};
use super::records::Records;
use super::roster::Roster;
use super::supervisor::Supervisor;
use crate::config::{self, Config};
use crate::net::stream_options::StreamOptions;
use crate::spec::Address;
use crate::supervision::{DropReason, Event, SessionGauge, SessionLimits, WorkerCounters};

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
    /// Who wants to hear what happens.
    pub(crate) events: Arc<EventHub>,
    /// What is recorded of sessions and flows; `None` = nothing.
    pub(crate) records: Option<Arc<Records>>,
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
    times: ArcSwap<SessionTimes>,
    /// Of every connection that is accepted: [`StreamOptions::keepalive_secs`].
    keepalive_secs: AtomicU16,
    pub(crate) receive_buffer: Option<u32>,
    /// `net.ipv4.ip_nonlocal_bind` and its IPv6 sister (ip(7)).
    pub(crate) nonlocal_bind: [bool; 2],
}

/// When sessions end by themselves.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SessionTimes {
    pub(crate) limits: SessionLimits,
    /// `shutdown.quiet_ms`
    pub(crate) quiet: Option<Duration>,
}

impl SessionTimes {
    fn new(session: &config::Session, shutdown: &config::Shutdown) -> Self {
        let limits = SessionLimits {
            idle: session.idle_timeout,
            lifetime: session.max_lifetime,
            write: session.write_timeout,
        };
        Self { limits, quiet: shutdown.quiet }
    }
}

impl SessionSettings {
    pub(crate) fn new(config: &Config, nonlocal_bind: [bool; 2]) -> Self {
        let settings = Self {
            times: ArcSwap::default(),
            keepalive_secs: AtomicU16::default(),
            receive_buffer: config.udp.receive_buffer_bytes,
            nonlocal_bind,
        };
        settings.follow(config);
        settings
    }

    /// What can change while sessions are open. Deadlines are measured from the
    /// sessions' own clocks, so those that are open follow within a tick.
    pub(crate) fn follow(&self, config: &Config) {
        self.times.store(Arc::new(SessionTimes::new(&config.session, &config.shutdown)));
        let stream = StreamOptions::new(config.session.keepalive);
        self.keepalive_secs.store(stream.keepalive_secs(), Ordering::Relaxed);
    }

    /// When sessions end. For a tick, not for each byte.
    pub(crate) fn times(&self) -> Arc<SessionTimes> {
        self.times.load_full()
    }

    /// Options of the connections that are accepted from now on.
    pub(crate) fn stream(&self) -> StreamOptions {
        StreamOptions::of_seconds(self.keepalive_secs.load(Ordering::Relaxed))
    }

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
    pub(crate) fn warn_once(&self, reason: DropReason, events: &EventHub) {
        let bit = 1 << reason.index();
        if self.0.load(Ordering::Relaxed) & bit == 0
            && self.0.fetch_or(bit, Ordering::Relaxed) & bit == 0
        {
            events.tell(Event::FirstDrop { reason, key: reason.key() });
        }
    }
}
