//! The service's own thread: an actix system from start to join.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::adoption::Adoption;
use super::handle::{ServiceHandle, Shared};
#[cfg(feature = "fault-injection")]
use super::inject::Hold;
use super::planning::Plan;
use super::retiring::retire;
use super::subscribers::{Subscribers, Subscription};
use super::summary::Summary;
use super::tree::{self, Outlets, Tree};
use crate::actors::handlers::Handlers;
use crate::actors::link::link;
use crate::actors::local::Gate;
#[cfg(feature = "fault-injection")]
use crate::actors::poison::Injection;
use crate::actors::protocol::Retirement;
use crate::actors::records::Records;
use crate::actors::roster::Roster;
use crate::actors::spread;
use crate::config::{Config, LiveConfig};
#[cfg(feature = "fault-injection")]
use crate::supervision::WorkerId;
use crate::supervision::{Event, Totals, WorkerCounters};

/// What a handle asks of the service's thread.
#[derive(Debug)]
pub(super) enum Command {
    /// Serve: what was taken over is this service's now.
    OpenGate,
    /// Leave what is served to another instance, and end with the last session.
    ///
    /// Sessions may go on for so long; `None` = until they end.
    Retire(Retirement, Option<Duration>),
    /// Nobody takes over what was offered.
    Withdraw,
    /// End, and let sessions end first.
    Drain,
    /// End at once.
    Stop,
    /// Tell this actor what happens.
    Subscribe(Subscription),
    /// Suffer this fault.
    #[cfg(feature = "fault-injection")]
    Inject(Injection),
    /// Have this worker's thread hang.
    #[cfg(feature = "fault-injection")]
    Hang(WorkerId, Hold),
}

/// Faults that a service has from its start: none without `fault-injection`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct StartFaults {
    /// The chunk that nobody survives opening; 0 = none.
    #[cfg(feature = "fault-injection")]
    pub(super) poisoned_chunk: u32,
}

/// Starts the service's thread.
///
/// # Errors
/// When the system gives no thread.
pub(super) fn start(
    config: &Config,
    plan: Plan,
    (handlers, adoption): (Handlers, Adoption),
    faults: StartFaults,
) -> io::Result<ServiceHandle> {
    #[cfg(not(feature = "fault-injection"))]
    let StartFaults {} = faults;
    let counters = || Arc::new(WorkerCounters::default());
    let workers = plan.workers.workers;
    let shared = Shared {
        roster: Arc::new(Roster::new(workers, Instant::now())),
        admission: Arc::new(tree::admission(config, &plan)),
        first_drops: Arc::default(),
        ending: Arc::default(),
        gate: Arc::new(Gate::new(!adoption.gated)),
        handed_over: Arc::new(watch::channel(false).0),
        events: Arc::default(),
        restarts: Arc::default(),
        unlogged: Arc::default(),
        #[cfg(feature = "fault-injection")]
        poisoned: Arc::new(faults.poisoned_chunk.into()),
        settings: Arc::new(tree::session_settings(config, &plan)),
        board: Arc::default(),
        gauge: Arc::default(),
        counters: (0..workers).map(|_| counters()).collect(),
        started: Instant::now(),
        run: Arc::default(),
        records: handlers.access_log.clone().map(|sink| Arc::new(Records::new(sink))),
        handlers: Arc::new(handlers),
        escalation: Arc::new(watch::Sender::new(None)),
        ordinals: Arc::new((1 << 31).into()),
        plan: Arc::new(plan),
    };
    let (commands, inbox) = mpsc::unbounded_channel();
    let (ready_sender, ready) = watch::channel(None);
    let (summary_sender, summary) = watch::channel(None);
    let (supervisor_target, supervisor) = link();
    let (error_log_target, error_log) = link();
    let (layout_sender, layout) = watch::channel(shared.plan.endpoints.clone());
    let live = LiveConfig::new(config.clone(), shared.handlers.log_level.0.is_some());
    let (settings_sender, settings) = watch::channel(live);
    let outlets = Outlets {
        ready: ready_sender,
        supervisor: (supervisor_target, supervisor.clone()),
        error_log: (error_log_target, error_log.clone()),
        layout: layout_sender,
        settings: settings_sender,
    };
    let thread = std::thread::Builder::new().name("ipcow-service".to_owned()).spawn({
        let (config, shared, settings) = (config.clone(), shared.clone(), settings.clone());
        move || {
            let _closed_whatever_happens = shared.events.close_on_drop();
            match run(&config, &shared, adoption, outlets, &settings, inbox) {
                Ok(summary) => drop(summary_sender.send(Some(summary))),
                Err(error) => tracing::error!(%error, "the service cannot start"),
            }
        }
    })?;
    let thread = Some(thread);
    Ok(ServiceHandle {
        shared,
        supervisor,
        error_log,
        layout,
        settings,
        commands,
        ready,
        summary,
        thread,
    })
}

fn run(
    config: &Config,
    shared: &Shared,
    adoption: Adoption,
    outlets: Outlets,
    settings: &watch::Receiver<LiveConfig>,
    mut inbox: mpsc::UnboundedReceiver<Command>,
) -> io::Result<Summary> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let system = actix::System::with_tokio_rt(|| runtime);
    system.block_on(async {
        let mut tree = tree::start(config, shared, adoption, outlets);
        let mut subscribers = Subscribers::default();
        let mut end = serve(&mut tree, shared, &mut inbox, &mut subscribers).await;
        let timeout = || settings.borrow().config().shutdown.drain_timeout;
        if let End::Retire(retirement, own) = end {
            let times = [own, timeout()];
            end = retire(&mut tree, retirement, times, &mut inbox, &mut subscribers).await;
        }
        drain(timeout(), &mut tree, end, &mut inbox, &mut subscribers).await;
        shared.ending.store(true, Ordering::Release);
        let totals = || Totals::sum(shared.counters.iter().map(AsRef::as_ref));
        if !tree.guardian.join_threads(|| totals().active()).await {
            tracing::error!("a worker thread panicked");
        }
        if let Some(counters) = shared.counters.first() {
            spread::cut_off(&shared.roster, counters, shared.records.as_deref());
        }
        let errors = tree.guardian.errors().await;
        if let Some(records) = &shared.records {
            records.finish();
        }
        let uptime = shared.started.elapsed();
        let totals = totals();
        shared.events.tell(Event::Stopped {
            uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
            accepted: totals.accepted,
            forced: totals.forced,
        });
        shared.events.close();
        subscribers.finish().await;
        Ok(Summary {
            uptime,
            drain: tree.guardian.drain_report(),
            totals,
            peak_sessions: shared.gauge.peak(),
            errors,
            restarts: shared.restarts.read(),
            access_log: shared.records.as_ref().map(|records| records.counts()),
            escalated: shared.escalation.borrow().clone(),
        })
    })
}

/// How a service ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// Another instance goes on; sessions may for so long.
    Retire(Retirement, Option<Duration>),
    /// Sessions end first.
    Drain,
    /// At once.
    Stop,
}

/// Serves until the handle asks for the end, or is gone, or a failure is escalated.
async fn serve(
    tree: &mut Tree,
    shared: &Shared,
    inbox: &mut mpsc::UnboundedReceiver<Command>,
    subscribers: &mut Subscribers,
) -> End {
    let mut escalated = shared.escalation.subscribe();
    loop {
        // What dies meanwhile comes back.
        let command = tokio::select! {
            // A handle that is gone wants the service to end.
            command = inbox.recv() => command.unwrap_or(Command::Stop),
            Ok(_) = escalated.wait_for(Option::is_some) => Command::Drain,
            () = tree.guardian.watch() => Command::Stop,
        };
        match command {
            Command::Drain => return End::Drain,
            Command::Stop => return End::Stop,
            Command::Retire(retirement, timeout) => return End::Retire(retirement, timeout),
            Command::OpenGate => tree.guardian.open_gate(),
            Command::Withdraw => tree.guardian.withdraw(),
            Command::Subscribe(subscription) => subscribers.add(subscription),
            #[cfg(feature = "fault-injection")]
            Command::Inject(injection) => super::inject::inject(tree, shared, injection),
            #[cfg(feature = "fault-injection")]
            Command::Hang(worker, hold) => hold.place(tree, worker),
        }
    }
}

/// Waits for that long; `None` = for ever.
pub(super) async fn wait(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => pending().await,
    }
}

/// Closes the listeners and waits for the sessions, until they have ended, the
/// deadline has passed, or somebody is impatient. What dies meanwhile comes back.
async fn drain(
    timeout: Option<Duration>,
    tree: &mut Tree,
    end: End,
    inbox: &mut mpsc::UnboundedReceiver<Command>,
    subscribers: &mut Subscribers,
) {
    let Tree { guardian, drained, .. } = tree;
    guardian.begin_drain();
    if end == End::Stop {
        return;
    }
    let stop = async {
        while let Some(command) = inbox.recv().await {
            match command {
                Command::Stop => return,
                Command::Subscribe(subscription) => subscribers.add(subscription),
                // A second request to drain changes nothing.
                _ => {}
            }
        }
    };
    let deadline = wait(timeout);
    tokio::select! {
        _ = drained.wait_for(|over| *over) => {}
        () = stop => {}
        () = deadline => {}
        () = guardian.watch() => {}
    }
}
