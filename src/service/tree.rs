//! Starting the actor tree: error log, supervisor, and a worker a thread.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use actix::{Actor, Addr};
use actix_rt::Arbiter;
use tokio::sync::{Semaphore, mpsc, watch};

use super::handle::Shared;
use super::planning::Plan;
use crate::actors::error_log::{AttachSupervisor, ErrorLog};
use crate::actors::local::{SessionSettings, WorkerLocal, WorkerShare};
use crate::actors::protocol::{AttachWorker, BeginDispatch, GroupRuntime};
use crate::actors::supervisor::{Event, Setup, Supervisor};
use crate::actors::worker::Worker;
use crate::config::{Config, ListenSettings, OnBindError};
use crate::net::datagram::DatagramRules;
use crate::net::source_guard::SourceGuard;
use crate::net::sys;
use crate::net::terminator::Terminator;
use crate::plan::reach::{LocalRoutes, Reach};
use crate::supervision::{
    ChunkTable, Coverage, Fault, FaultKind, Ready, RetryPolicy, SessionLimits, WorkerId,
};

/// Where the tree tells the handle what happened.
pub(super) struct Outlets {
    pub(super) ready: watch::Sender<Option<Ready>>,
    pub(super) events: mpsc::Sender<Event>,
}

/// The running tree.
pub(super) struct Tree {
    pub(super) supervisor: Addr<Supervisor>,
    pub(super) error_log: Addr<ErrorLog>,
    pub(super) arbiters: Vec<Arbiter>,
}

/// Starts every actor on this system and sends the first command.
///
/// # Errors
/// When not even one worker thread could be had.
pub(super) async fn start(config: &Config, shared: &Shared, outlets: Outlets) -> io::Result<Tree> {
    let unlogged = Arc::new(AtomicU64::new(0));
    let policy = RetryPolicy::new(config.retry.clone());
    let error_log = ErrorLog::new(policy, Arc::clone(&unlogged)).start();
    let setup = setup(config, shared, outlets, error_log.clone());
    let supervisor = Supervisor::new(setup).start();
    let share = |worker: usize| WorkerShare {
        counters: Arc::clone(&shared.counters[worker]),
        gauge: Arc::clone(&shared.gauge),
        permits: Arc::clone(&shared.permits),
        first_drops: Arc::clone(&shared.first_drops),
        settings: Arc::clone(&shared.settings),
        unlogged: Arc::clone(&unlogged),
        supervisor: supervisor.clone(),
        error_log: error_log.clone(),
    };
    let mut arbiters = Vec::with_capacity(shared.counters.len());
    let mut refused = None;
    for (worker, id) in (0..shared.counters.len()).zip(1..) {
        match Arbiter::try_new() {
            Ok(arbiter) => {
                let addr = start_worker(&arbiter, WorkerId(id), share(worker));
                let _alive = supervisor.send(AttachWorker { worker: WorkerId(id), addr }).await;
                arbiters.push(arbiter);
            }
            Err(error) => {
                tracing::warn!(worker = id, %error, "a worker thread could not be started");
                refused = Some(error);
            }
        }
    }
    if let (true, Some(error)) = (arbiters.is_empty(), refused) {
        return Err(error);
    }
    let _alive = error_log.send(AttachSupervisor(supervisor.clone())).await;
    let _alive = supervisor.send(BeginDispatch).await;
    Ok(Tree { supervisor, error_log, arbiters })
}

fn start_worker(arbiter: &Arbiter, id: WorkerId, share: WorkerShare) -> Addr<Worker> {
    Worker::start_in_arbiter(&arbiter.handle(), move |_ctx| {
        let _unnamed = sys::name_thread(&format!("ipcow-worker-{}", id.0));
        Worker::new(WorkerLocal::new(id, share))
    })
}

fn setup(config: &Config, shared: &Shared, outlets: Outlets, error_log: Addr<ErrorLog>) -> Setup {
    let plan = &shared.plan;
    Setup {
        endpoints: plan.endpoints.clone(),
        groups: groups(config, plan),
        table: table(plan),
        coverage: Coverage::new(config.coverage.min_bound, plan.endpoints.len()),
        receive_buffer: config.udp.receive_buffer_bytes,
        wait: config.coverage.wait,
        started: shared.started,
        board: Arc::clone(&shared.board),
        ready: outlets.ready,
        events: outlets.events,
        error_log,
    }
}

fn groups(config: &Config, plan: &Plan) -> Vec<Arc<GroupRuntime>> {
    let runtime = |settings: &Arc<ListenSettings>| GroupRuntime {
        settings: Arc::clone(settings),
        terminator: Terminator::new(&settings.termination),
        backlog: settings.backlog.unwrap_or_else(|| somaxconn(plan)),
        datagrams: DatagramRules {
            mode: settings.mode,
            max_datagram_bytes: config.udp.max_datagram_bytes,
            guard: source_guard(config, plan),
        },
    };
    plan.endpoints.groups().iter().map(|group| Arc::new(runtime(&group.settings))).collect()
}

/// The system's longest backlog (listen(2)), within what a backlog can be.
fn somaxconn(plan: &Plan) -> u16 {
    u16::try_from(plan.limits.somaxconn).unwrap_or(u16::MAX).max(1)
}

/// The table of the plan: what does not fit into the fd budget is decided at once.
fn table(plan: &Plan) -> ChunkTable<crate::net::bind::Bound> {
    let rollback = plan.endpoints.groups().iter().filter_map(|group| {
        let runs = group.settings.on_bind_error == OnBindError::Rollback;
        runs.then(|| group.first..group.first + group.set.len())
    });
    let total = plan.endpoints.len();
    let chunk_size = u32::try_from(plan.chunk_size).unwrap_or(u32::MAX);
    let mut table = ChunkTable::new(total, chunk_size, rollback.collect());
    if plan.budget.listeners < total {
        table.quarantine_from(plan.budget.listeners, Fault::without_errno(FaultKind::FdLimit));
    }
    table
}

/// What a service's sessions and datagrams have in common.
pub(super) fn session_settings(config: &Config, plan: &Plan) -> SessionSettings {
    SessionSettings {
        limits: SessionLimits {
            idle: config.session.idle_timeout,
            lifetime: config.session.max_lifetime,
            write: config.session.write_timeout,
        },
        keepalive: config.session.keepalive,
        quiet: config.shutdown.quiet,
        receive_buffer: config.udp.receive_buffer_bytes,
        nonlocal_bind: [plan.limits.nonlocal_bind_v4, plan.limits.nonlocal_bind_v6],
    }
}

/// One permit a session that may be open at once.
pub(super) fn permits(plan: &Plan) -> Semaphore {
    let sessions = usize::try_from(plan.budget.sessions).unwrap_or(Semaphore::MAX_PERMITS);
    Semaphore::new(sessions.min(Semaphore::MAX_PERMITS))
}

/// Whom the UDP listeners of a group never answer.
fn source_guard(config: &Config, plan: &Plan) -> SourceGuard {
    let endpoints = plan.endpoints.clone();
    let routes = LocalRoutes::read().ok();
    let own = move |source: SocketAddr| {
        let listens = |ip: IpAddr| endpoints.serves_udp(ip, source.port());
        let wildcard: IpAddr = match source {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        // A wildcard endpoint covers the machine's own addresses, and no others.
        listens(source.ip())
            || listens(wildcard)
                && routes.as_ref().is_none_or(|it| it.classify(&source.ip().into()) == Reach::Local)
    };
    SourceGuard::new(&config.udp.refuse_source_ports, Box::new(own))
}
