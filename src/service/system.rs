//! The service's own thread: an actix system from start to join.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot, watch};

use super::handle::{ServiceHandle, Shared};
use super::planning::Plan;
use super::summary::Summary;
use super::tree::{self, Outlets, Tree};
use crate::actors::protocol::{BeginDrain, ReportErrors};
use crate::config::Config;
use crate::supervision::{DrainReport, ErrorReport, Totals, WorkerCounters};

/// Events that wait for a slow reader, at least; more are lost.
const EVENTS: usize = 1024;

/// What a handle asks of the service's thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// End, and let sessions end first.
    Drain,
    /// End at once.
    Stop,
}

/// Starts the service's thread.
///
/// # Errors
/// When the system gives no thread.
pub(super) fn start(config: &Config, plan: Plan) -> io::Result<ServiceHandle> {
    // All endpoints may recover at once.
    let most_events = usize::try_from(plan.endpoints.len()).unwrap_or(EVENTS).max(EVENTS);
    let counters = || Arc::new(WorkerCounters::default());
    let shared = Shared {
        permits: Arc::new(tree::permits(&plan)),
        first_drops: Arc::default(),
        settings: Arc::new(tree::session_settings(config, &plan)),
        board: Arc::default(),
        gauge: Arc::default(),
        counters: (0..plan.workers.workers).map(|_| counters()).collect(),
        started: Instant::now(),
        plan: Arc::new(plan),
    };
    let (commands, inbox) = mpsc::unbounded_channel();
    let (ready_sender, ready) = watch::channel(None);
    let (summary_sender, summary) = watch::channel(None);
    let (event_sender, events) = mpsc::channel(most_events);
    let outlets = Outlets { ready: ready_sender, events: event_sender };
    let thread = std::thread::Builder::new().name("ipcow-service".to_owned()).spawn({
        let (config, shared) = (config.clone(), shared.clone());
        move || match run(&config, &shared, outlets, inbox) {
            Ok(summary) => drop(summary_sender.send(Some(summary))),
            Err(error) => tracing::error!(%error, "the service cannot start"),
        }
    })?;
    Ok(ServiceHandle { shared, commands, ready, summary, events, thread: Some(thread) })
}

fn run(
    config: &Config,
    shared: &Shared,
    outlets: Outlets,
    mut inbox: mpsc::UnboundedReceiver<Command>,
) -> io::Result<Summary> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let system = actix::System::with_tokio_rt(|| runtime);
    system.block_on(async {
        let tree = tree::start(config, shared, outlets).await?;
        // A handle that is gone wants the service to end.
        let command = inbox.recv().await.unwrap_or(Command::Stop);
        let drain = drain(config, &tree, command, &mut inbox).await;
        let errors = join(tree).await?;
        Ok(Summary {
            uptime: shared.started.elapsed(),
            drain,
            totals: Totals::sum(shared.counters.iter().map(AsRef::as_ref)),
            peak_sessions: shared.gauge.peak(),
            errors,
        })
    })
}

/// Closes the listeners and waits for the sessions, until they have ended, the
/// deadline has passed, or somebody is impatient.
async fn drain(
    config: &Config,
    tree: &Tree,
    command: Command,
    inbox: &mut mpsc::UnboundedReceiver<Command>,
) -> DrainReport {
    let (done, drained) = oneshot::channel();
    let begin = BeginDrain { timeout: config.shutdown.drain_timeout, done };
    let report = tree.supervisor.send(begin).await.unwrap_or_default();
    if command == Command::Stop {
        return report;
    }
    let stop = async {
        // A second request to drain changes nothing.
        while inbox.recv().await == Some(Command::Drain) {}
    };
    tokio::select! {
        _ = drained => {}
        () = stop => {}
    }
    report
}

/// Stops each worker's arbiter and joins its thread; what still ran there is
/// dropped, and counted as forced.
async fn join(tree: Tree) -> io::Result<ErrorReport> {
    let Tree { supervisor, error_log, arbiters } = tree;
    for arbiter in &arbiters {
        arbiter.stop();
    }
    // Off this thread, so that the error log still hears of what fails meanwhile.
    let joined = tokio::task::spawn_blocking(move || {
        arbiters.into_iter().filter_map(|arbiter| arbiter.join().err()).count()
    });
    if joined.await? > 0 {
        tracing::error!("a worker thread panicked");
    }
    drop(supervisor);
    Ok(error_log.send(ReportErrors).await.unwrap_or_default())
}
