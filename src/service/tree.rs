//! Starting the actor tree: error log, supervisor, and a worker a thread.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, watch};

use super::adoption::Adoption;
use super::guardian::{Charges, Guardian};
use super::handle::Shared;
use super::planning::Plan;
use crate::actors::admission::Admission;
use crate::actors::desk::{Desk, Setup, rollback_runs};
use crate::actors::error_log::{Book, ErrorLog};
use crate::actors::handlers::Handlers;
use crate::actors::link::{Link, LinkTarget};
use crate::actors::protocol::GroupRuntime;
use crate::actors::share::{SessionSettings, WorkerShare};
use crate::actors::supervisor::Supervisor;
use crate::config::{self, Config, LiveConfig};
use crate::net::bind::{self, Bound};
use crate::net::datagram::{DatagramRules, OwnDatagrams};
use crate::net::datagram_limits::DatagramLimits;
use crate::net::source_guard::SourceGuard;
use crate::net::source_rules::SourceRules;
use crate::net::terminator::Terminator;
use crate::plan::demand::Demand;
use crate::plan::endpoints::{PlanEndpoints, PlannedGroup};
use crate::plan::reach::{LocalRoutes, Reach};
use crate::plan::resources::FdBudget;
use crate::supervision::{ChunkTable, Fault, FaultKind, Ready, WorkerCounters};

/// Most session failures that wait to be logged; more are counted as dropped.
const FAILURES: usize = 10_000;
/// Most crashes and other notices that wait to be logged; likewise.
const NOTICES: usize = 1_000;

/// The machine's own addresses, as the Supervisor knows them.
type Routes = watch::Receiver<Option<LocalRoutes>>;

/// What is served now.
type Layout = watch::Receiver<PlanEndpoints>;

/// Where the tree tells the handle what happened.
pub(super) struct Outlets {
    pub(super) ready: watch::Sender<Option<Ready>>,
    pub(super) supervisor: (LinkTarget<Supervisor>, Link<Supervisor>),
    pub(super) error_log: (LinkTarget<ErrorLog>, Link<ErrorLog>),
    /// What is served now.
    pub(super) layout: watch::Sender<PlanEndpoints>,
    /// The configuration in force.
    pub(super) settings: watch::Sender<LiveConfig>,
}

/// The running tree.
pub(super) struct Tree {
    pub(super) guardian: Guardian,
    /// True once a drain is over.
    pub(super) drained: watch::Receiver<bool>,
}

/// Starts every actor on this system. Must be called on it.
pub(super) fn start(
    config: &Config,
    shared: &Shared,
    adoption: Adoption,
    outlets: Outlets,
) -> Tree {
    let dropped = Arc::clone(&shared.unlogged);
    let (failures, queue) = mpsc::channel(FAILURES);
    let (notices, noticed) = mpsc::channel(NOTICES);
    let (ended, ends) = mpsc::unbounded_channel();
    let (replace, to_replace) = mpsc::unbounded_channel();
    let (drained_sender, drained) = watch::channel(false);
    let (supervisor, error_log) = (outlets.supervisor.1.clone(), outlets.error_log.1.clone());
    let share = |counters: &Arc<WorkerCounters>| WorkerShare {
        counters: Arc::clone(counters),
        gauge: Arc::clone(&shared.gauge),
        admission: Arc::clone(&shared.admission),
        roster: Arc::clone(&shared.roster),
        first_drops: Arc::clone(&shared.first_drops),
        settings: Arc::clone(&shared.settings),
        events: Arc::clone(&shared.events),
        records: shared.records.clone(),
        started: shared.started,
        run: Arc::clone(&shared.run),
        unlogged: Arc::clone(&dropped),
        supervisor: supervisor.clone(),
        ended: ended.clone(),
        failures: failures.clone(),
        ending: Arc::clone(&shared.ending),
        gate: Arc::clone(&shared.gate),
        #[cfg(feature = "fault-injection")]
        poisoned: Arc::clone(&shared.poisoned),
    };
    let plan = &shared.plan;
    let (routes, own_addresses) = watch::channel(LocalRoutes::read().ok());
    let handlers = &shared.handlers;
    let udp = Arc::new(DatagramLimits::new(&config.udp, Instant::now()));
    let runtime = runtimes(&udp, plan, handlers, outlets.layout.subscribe(), own_addresses);
    let settings = outlets.settings.subscribe();
    let table = table(plan, adoption);
    if let Some(counters) = shared.counters.first() {
        // What is left out from the start: no worker will ever try it.
        counters.bind_failed(FaultKind::FdLimit, table.endpoint_counts().quarantined);
    }
    let setup = Setup {
        endpoints: plan.endpoints.clone(),
        groups: plan.endpoints.groups().iter().map(|group| Arc::new(runtime(group))).collect(),
        table,
        meters: HashMap::new(),
        layout: outlets.layout,
        settings: outlets.settings,
        udp,
        budget: Box::new(budget(plan)),
        runtime: Box::new(runtime),
        handlers: Arc::clone(handlers),
        receive_buffer: config.udp.receive_buffer_bytes,
        wait: config.coverage.wait,
        started: shared.started,
        board: Arc::clone(&shared.board),
        restarts: Arc::clone(&shared.restarts),
        routes,
        ready: outlets.ready,
        drained: drained_sender,
        events: Arc::clone(&shared.events),
        error_log,
        notices: notices.clone(),
        dropped: Arc::clone(&dropped),
        replace,
        shares: shared.counters.iter().map(share).collect(),
    };
    let desk = Desk::new(setup, Instant::now());
    let events = Arc::clone(&shared.events);
    let own = (handlers.policy.clone(), Arc::clone(&shared.escalation));
    let (told, lost) = (Arc::clone(&events), Arc::clone(&dropped));
    let book = Book::new(settings, own, queue, noticed, told, lost);
    let guardian = Guardian::start(Charges {
        desk: Rc::new(RefCell::new(desk)),
        book: Rc::new(RefCell::new(book)),
        supervisor: outlets.supervisor,
        error_log: outlets.error_log,
        notices,
        dropped,
        events,
        ends,
        replace: to_replace,
        workers: shared.counters.len(),
    });
    Tree { guardian, drained }
}

/// Makes what the endpoints of a group share.
fn runtimes(
    udp: &Arc<DatagramLimits>,
    plan: &Plan,
    handlers: &Arc<Handlers>,
    layout: Layout,
    routes: Routes,
) -> impl Fn(&PlannedGroup) -> GroupRuntime + use<> {
    let (limits, longest) = (Arc::clone(udp), somaxconn(plan));
    let (handlers, session_ids) = (Arc::clone(handlers), Arc::default());
    move |PlannedGroup { name, settings, .. }| GroupRuntime {
        name: name.as_str().into(),
        settings: Arc::clone(settings),
        sessions: handlers.own_sessions(name, &session_ids),
        terminator: Terminator::new(&settings.termination),
        backlog: settings.backlog.unwrap_or(longest),
        datagrams: DatagramRules {
            mode: settings.mode,
            own: handlers.datagrams.of(name).map(OwnDatagrams::new),
            sources: SourceRules::new(&settings.allow_from, &settings.deny_from),
            guard: source_guard(&limits, layout.clone(), routes.clone()),
            limits: Arc::clone(&limits),
        },
    }
}

/// Divides the descriptors for a plan of other size or with other limits.
fn budget(plan: &Plan) -> impl Fn(&Demand, &config::Limits) -> FdBudget + use<> {
    let (host, workers) = (plan.limits.clone(), plan.workers.workers);
    move |demand, limits| FdBudget::divide(&host, demand, workers, limits)
}

/// The system's longest backlog (listen(2)), within what a backlog can be.
fn somaxconn(plan: &Plan) -> u16 {
    u16::try_from(plan.limits.somaxconn).unwrap_or(u16::MAX).max(1)
}

/// The table of the plan: what does not fit into the fd budget is decided at once, and
/// what is bound already is set aside for its endpoint.
fn table(plan: &Plan, adoption: Adoption) -> ChunkTable<Bound> {
    let rollback = rollback_runs(&plan.endpoints);
    let total = plan.endpoints.len();
    let chunk_size = u32::try_from(plan.chunk_size).unwrap_or(u32::MAX);
    let mut table = ChunkTable::new(total, chunk_size, rollback);
    if plan.budget.listeners < total {
        table.quarantine_from(plan.budget.listeners, Fault::without_errno(FaultKind::FdLimit));
    }
    for (index, sockets) in adoption.sockets {
        let place = table.place(index);
        let socket = bind::join(sockets).filter(|_| !table.is_left_out(place));
        if let Some(socket) = socket {
            table.reserve(place, socket.local_addr().port(), socket);
        }
    }
    for (index, number) in adoption.numbers {
        table.keep_number(table.place(index), number);
    }
    table
}

/// What a service's sessions and datagrams have in common.
pub(super) fn session_settings(config: &Config, plan: &Plan) -> SessionSettings {
    let nonlocal_bind = [plan.limits.nonlocal_bind_v4, plan.limits.nonlocal_bind_v6];
    SessionSettings::new(config, nonlocal_bind)
}

/// Who gets a session, over all workers.
pub(super) fn admission(config: &Config, plan: &Plan) -> Admission {
    let sessions = usize::try_from(plan.budget.sessions).unwrap_or(usize::MAX);
    let limits = &config.limits;
    Admission::new(sessions, limits.max_sessions_per_source, limits.on_limit)
}

/// Whom the UDP listeners of a group never answer.
fn source_guard(limits: &DatagramLimits, layout: Layout, routes: Routes) -> SourceGuard {
    let planned = layout.borrow().clone();
    let own = move |source: SocketAddr| {
        // Until the plan changes nobody has to share the lock on the present one.
        let changed = layout.has_changed().is_ok_and(|changed| changed);
        let present = changed.then(|| layout.borrow().clone());
        let endpoints = present.as_ref().unwrap_or(&planned);
        let listens = |ip: IpAddr| endpoints.serves_udp(ip, source.port());
        let wildcard: IpAddr = match source {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        // A wildcard endpoint covers the machine's own addresses, and no others.
        listens(source.ip())
            || listens(wildcard)
                && routes
                    .borrow()
                    .as_ref()
                    .is_none_or(|it| it.classify(&source.ip().into()) == Reach::Local)
    };
    SourceGuard::new(Arc::clone(&limits.refused), Box::new(own))
}
