//! The handle of a running service.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use actix::Recipient;
use tokio::sync::{mpsc, watch};

use super::planning::Plan;
use super::subscribers::{Happened, Subscription};
use super::summary::Summary;
use super::system::Command;
use crate::actors::admission::Admission;
use crate::actors::error_log::ErrorLog;
use crate::actors::event_hub::{EventHub, Events};
use crate::actors::handlers::Handlers;
use crate::actors::link::Link;
use crate::actors::local::Gate;
#[cfg(feature = "fault-injection")]
use crate::actors::poison::Injection;
use crate::actors::policy::Escalation;
use crate::actors::protocol::SessionAccepted;
use crate::actors::records::{AccessCounts, Records};
use crate::actors::roster::Roster;
use crate::actors::share::{FirstDrops, SessionSettings};
use crate::actors::supervisor::Supervisor;
use crate::config::LiveConfig;
use crate::plan::endpoints::PlanEndpoints;
use crate::supervision::{
    Board, ChunkCounts, EndpointCounts, Event, Load, Phase, Ready, RestartCounters, RestartCounts,
    SessionGauge, Totals, WorkerCounters,
};

/// The service's thread ended without a summary: it panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the service's thread is gone")]
pub struct ServiceGone;

/// Counts of a running service. One count may be newer than another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Endpoints by state, as of the last report of a worker.
    pub endpoints: EndpointCounts,
    /// Chunks by state.
    pub chunks: ChunkCounts,
    /// Sessions, datagrams and bytes.
    pub totals: Totals,
    /// Most sessions at once.
    pub peak_sessions: u64,
    /// Workers that do not answer; they are not replaced while their threads live.
    pub hung_workers: u64,
    /// Reports that were refused because they came too late: of a lease or a
    /// Worker that was replaced meanwhile. Harmless.
    pub late_reports: u64,
    /// Events that slow readers have lost, all together ([`Events::lost`]).
    pub events_lost: u64,
    /// What became of the records of the access log; `None` = there is none.
    pub access_log: Option<AccessCounts>,
    /// Failures of sessions that did not fit into the error log's queue.
    pub errors_dropped: u64,
    /// Parts of the tree that came back after a crash.
    pub restarts: RestartCounts,
    /// Least number of endpoints that should listen (`coverage.min_bound`).
    pub required: u64,
    /// Whether every endpoint was decided once, or waited for long enough.
    pub decided: bool,
    /// Whether the service drains.
    pub draining: bool,
    /// Since the start.
    pub uptime: Duration,
}

impl Snapshot {
    /// Whether every endpoint was decided, and enough of them listen. What an operator
    /// suspended is not missing, and does not listen either.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        self.decided && !self.draining && self.endpoints.listening >= self.required
    }

    /// What the service is doing, in a word.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        let EndpointCounts { total, listening, draining, suspended, .. } = self.endpoints;
        match (self.draining, self.decided) {
            (true, _) => Phase::Draining,
            (false, false) => Phase::Starting,
            (false, true) if listening + draining + suspended == total => Phase::Ready,
            (false, true) => Phase::Degraded,
        }
    }
}

/// What the handle and the service's thread share.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) plan: Arc<Plan>,
    pub(super) board: Arc<Board>,
    pub(super) gauge: Arc<SessionGauge>,
    pub(super) counters: Arc<[Arc<WorkerCounters>]>,
    pub(super) admission: Arc<Admission>,
    pub(super) roster: Arc<Roster<SessionAccepted>>,
    pub(super) first_drops: Arc<FirstDrops>,
    pub(super) settings: Arc<SessionSettings>,
    /// The service ends: sessions that are dropped now are cut off.
    pub(super) ending: Arc<AtomicBool>,
    /// Whether listeners may serve.
    pub(super) gate: Arc<Gate>,
    /// Set once another instance serves what this one served.
    pub(super) handed_over: Arc<watch::Sender<bool>>,
    /// Who wants to hear what happens.
    pub(super) events: Arc<EventHub>,
    /// What is recorded of sessions and flows.
    pub(super) records: Option<Arc<Records>>,
    #[cfg(feature = "fault-injection")]
    pub(super) poisoned: Arc<std::sync::atomic::AtomicU32>,
    pub(super) restarts: Arc<RestartCounters>,
    /// Failures of sessions that did not fit into the error log's queue.
    pub(super) unlogged: Arc<AtomicU64>,
    pub(super) started: Instant,
    /// Counts the marks of an operator.
    pub(super) run: Arc<AtomicU64>,
    /// What an embedder brought along.
    pub(super) handlers: Arc<Handlers>,
    /// The failure that ends the service, if an embedder's policy says so.
    pub(super) escalation: Arc<Escalation>,
    /// The first number of the next ports of the kernel's choice that are added.
    pub(super) ordinals: Arc<AtomicU32>,
}

/// A running service. Dropping it stops the service at once, joins its
/// threads and frees its ports.
#[derive(Debug)]
pub struct ServiceHandle {
    pub(super) shared: Shared,
    pub(super) supervisor: Link<Supervisor>,
    pub(super) error_log: Link<ErrorLog>,
    /// What is served now.
    pub(super) layout: watch::Receiver<PlanEndpoints>,
    /// The configuration in force.
    pub(super) settings: watch::Receiver<LiveConfig>,
    pub(super) commands: mpsc::UnboundedSender<Command>,
    pub(super) ready: watch::Receiver<Option<Ready>>,
    pub(super) summary: watch::Receiver<Option<Summary>>,
    pub(super) thread: Option<JoinHandle<()>>,
}

impl ServiceHandle {
    /// What the service was started with; [`Self::list`] tells what it serves now.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.shared.plan
    }

    /// Waits until every endpoint is decided for the first time (it listens,
    /// or its attempts are used up), or `coverage.wait_secs` are over.
    ///
    /// # Errors
    /// [`ServiceGone`] when the service ended before.
    pub async fn wait_ready(&self) -> Result<Ready, ServiceGone> {
        let mut ready = self.ready.clone();
        let ready = ready.wait_for(Option::is_some).await.map_err(|_| ServiceGone)?;
        ready.clone().ok_or(ServiceGone)
    }

    /// The counts of this moment.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            endpoints: self.shared.board.endpoints(),
            chunks: self.shared.board.chunks(),
            totals: Totals::sum(self.shared.counters.iter().map(AsRef::as_ref)),
            peak_sessions: self.shared.gauge.peak(),
            hung_workers: self.shared.board.hung(),
            late_reports: self.shared.board.late(),
            events_lost: self.shared.events.lost(),
            access_log: self.shared.records.as_ref().map(|records| records.counts()),
            errors_dropped: self.shared.unlogged.load(Ordering::Relaxed),
            restarts: self.shared.restarts.read(),
            required: self.shared.board.required(),
            decided: self.shared.board.is_decided(),
            draining: self.shared.board.is_draining(),
            uptime: self.shared.started.elapsed(),
        }
    }

    /// What each worker has to do, in the order of the workers.
    #[must_use]
    pub fn loads(&self) -> Vec<Load> {
        self.shared.roster.loads(Instant::now()).collect()
    }

    /// Subscribes to everything that happens from now on. A reader that is late by
    /// more than 1,024 events loses the newest, and [`Events::lost`] counts them:
    /// nobody waits for it.
    #[must_use]
    pub fn events(&self) -> Events {
        self.events_where(|_event| true)
    }

    /// Subscribes to the events that `wants` is true of. It is called on the
    /// service's own threads for every event: it must be quick, and not panic.
    #[must_use]
    pub fn events_where(&self, wants: fn(&Event) -> bool) -> Events {
        self.shared.events.subscribe(wants)
    }

    /// Sends everything that happens from now on to an actor of the embedding program,
    /// wherever that runs, until it or the service has ended.
    ///
    /// Nobody waits for it: an actor that is late by more than 1,024 events loses the
    /// newest, and [`Happened::lost`] counts them.
    pub fn subscribe(&self, actor: Recipient<Happened>) {
        let subscription = Subscription { actor, events: self.events() };
        let _ended_already = self.commands.send(Command::Subscribe(subscription));
    }

    /// Waits until the service has ended, by whatever cause; asks nothing of it.
    ///
    /// # Errors
    /// [`ServiceGone`] when the service's thread panicked.
    pub async fn ended(&self) -> Result<Summary, ServiceGone> {
        let mut summary = self.summary.clone();
        let summary = summary.wait_for(Option::is_some).await.map_err(|_| ServiceGone)?;
        summary.clone().ok_or(ServiceGone)
    }

    /// Drains: accepts nothing new, lets sessions end within
    /// `shutdown.drain_timeout_secs`, joins every thread.
    ///
    /// # Errors
    /// [`ServiceGone`] when the service's thread panicked.
    pub async fn shutdown(&self) -> Result<Summary, ServiceGone> {
        self.end(Command::Drain).await
    }

    /// Stops at once, also while [`Self::shutdown`] waits: sessions are cut off.
    ///
    /// # Errors
    /// [`ServiceGone`] when the service's thread panicked.
    pub async fn stop(&self) -> Result<Summary, ServiceGone> {
        self.end(Command::Stop).await
    }

    /// Injects a fault. Only with the feature `fault-injection`.
    #[cfg(feature = "fault-injection")]
    pub fn inject(&self, injection: Injection) {
        let _ended_already = self.commands.send(Command::Inject(injection));
    }

    /// Begins to drain as [`Self::shutdown`] does, and does not wait for the end
    /// ([`Self::ended`] does).
    pub fn begin_shutdown(&self) {
        let _ended_already = self.commands.send(Command::Drain);
    }

    async fn end(&self, command: Command) -> Result<Summary, ServiceGone> {
        let _ended_already = self.commands.send(command);
        self.ended().await
    }
}

impl Drop for ServiceHandle {
    fn drop(&mut self) {
        let _ended_already = self.commands.send(Command::Stop);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}
