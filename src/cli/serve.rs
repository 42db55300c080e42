//! `ipcow serve`: opens everything, serves until a signal, says what it did.
//!
//! A user of the library like any other: it adds arguments, signals, output
//! and exit codes. Here is the way to the service; what a run does is `run`'s.

use std::pin::pin;
use std::time::Duration;

use ipcow::config::{Inputs, LoadedConfig};
use ipcow::process;
use ipcow::service::signals::Signals;
use ipcow::service::{Service, ServiceBuilder};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::access_log::Access;
use super::activation::{self, Activation};
use super::args::ServeArgs;
use super::doors::Doors;
use super::logging::Logging;
use super::run::{Early, Run};
use super::screen::{Asked, Screen};
use super::service_manager::ServiceManager;
use super::take_over::TakeOver;
use super::{exit, logging, report};

/// How long planning may go on once a signal came; name servers can be slow.
const PLAN_PATIENCE: Duration = Duration::from_millis(500);

/// Runs the command; returns the exit code of interface §4.
pub(crate) fn run(args: &ServeArgs, mut inputs: Inputs, color: bool) -> u8 {
    // Before anything is opened: the numbers of these sockets are fixed.
    let activation = match Activation::take() {
        Ok(activation) => activation,
        Err(error) => return exit::config_error(&error),
    };
    let loaded = match activation.load(&mut inputs) {
        Ok(Ok(loaded)) => loaded,
        Ok(Err(errors)) => return exit::config_errors(&errors, color),
        Err(error) => return exit::config_error(&error),
    };
    if let Err(error) = Service::prepare_process() {
        return exit::cannot_serve(&error);
    }
    // While it is still who it was started as, as the running instance may ask for.
    let taken = args.take_over.then(|| TakeOver::begin(&loaded.config, &args.name)).transpose();
    let mut take_over = match taken {
        Ok(taken) => taken.flatten(),
        Err(error) => return exit::fail(&error),
    };
    // Before it gives up the rights that they may need.
    let doors = match Doors::open(&loaded.config, &args.name, take_over.as_mut()) {
        Ok(doors) => doors,
        Err(error) => {
            exit::fail(&error);
            return error.exit_code();
        }
    };
    let access_log = match Access::open(&loaded.config) {
        Ok(access_log) => access_log,
        Err(error) => return exit::config_error(&error),
    };
    // Once the process is confined it might not reach it.
    let manager = ServiceManager::from_environment();
    // Before the first thread: each would keep the rights that it began with.
    let folders = [doors.folders(), access_log.folders()].concat();
    let confined = match process::confine(&loaded.config.process, &folders) {
        Ok(confined) => confined,
        Err(error) => return exit::confine_error(&error),
    };
    let (sockets, unfit) = activation.into_parts();
    let builder = Service::builder().config(loaded.config.clone()).force(args.force);
    // What is taken over comes first: it is told which of it is of use.
    let builder = match &mut take_over {
        Some(take_over) => take_over.hand_to(builder),
        None => builder,
    };
    let builder = builder.adopt(sockets);
    // Before the first thread, too. Where it fails, opening takes longer.
    let _kept_as_it_was = builder.make_room();
    let screen = match Screen::open(args, manager, access_log) {
        Ok(screen) => screen,
        Err(error) => return exit::fail(&error),
    };
    let stderr = screen.stderr.clone();
    let Logging { level, journal } =
        match logging::init(&loaded.config.log, &args.name, stderr, color) {
            Ok(logging) => logging,
            Err(error) => return exit::no_journal(&error),
        };
    let builder = builder.on_log_level(move |now| level.set(now));
    report::log_confinement(&confined);
    screen.manager.log();
    Activation::log_unfit(&unfit);
    doors.log();
    screen.access_log.log();
    let builder = match screen.access_log.start(builder) {
        Ok(builder) => builder,
        Err(error) => return exit::fail(&error),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let code = match runtime {
        Ok(runtime) => {
            let start = Start { args, inputs: &inputs, loaded: &loaded, color };
            runtime.block_on(plan_and_serve(start, builder, (doors, take_over), &screen))
        }
        Err(error) => exit::fail(&error),
    };
    if let Some(journal) = journal {
        journal.flush(&screen.stderr);
    }
    screen.flush();
    code
}

/// What a run was started with.
#[derive(Clone, Copy)]
pub(super) struct Start<'a> {
    pub(super) args: &'a ServeArgs,
    pub(super) inputs: &'a Inputs,
    pub(super) loaded: &'a LoadedConfig,
    color: bool,
}

async fn plan_and_serve(
    start: Start<'_>,
    builder: ServiceBuilder,
    (doors, mut take_over): (Doors, Option<TakeOver>),
    screen: &Screen,
) -> u8 {
    // Before anything else: a signal that comes while it plans is not lost.
    let mut signals = match Signals::install() {
        Ok(signals) => signals,
        Err(error) => return exit::fail(&error),
    };
    let (tell, planning) = oneshot::channel();
    // A name server that does not answer must hold up neither a signal nor the end.
    let planner = std::thread::Builder::new()
        .name("ipcow-planner".to_owned())
        .spawn(move || drop(tell.send(builder.build())));
    let planner = match planner {
        Ok(planner) => planner,
        Err(error) => return exit::fail(&error),
    };
    let (planned, early) = match plan(planning, &mut signals, screen).await {
        Some(planned) => planned,
        // Nothing was opened: there is nothing to sum up.
        None => return exit::DONE,
    };
    // It has answered. Its place may be needed where threads are few.
    drop(planner.join());
    let service = match planned {
        Ok(Ok(service)) => service,
        Ok(Err(error)) => {
            return exit::start_error(&error, start.loaded, start.inputs, start.color);
        }
        Err(panicked) => return exit::fail(&panicked),
    };
    for finding in &service.plan().findings {
        let kind = finding.kind.as_str();
        tracing::warn!(kind, count = finding.count, fix = finding.fix, "{}", finding.message);
    }
    activation::log_adoption(&service);
    if let Some(take_over) = &mut take_over {
        take_over.planned(service.taken());
    }
    let handle = match service.start() {
        Ok(handle) => handle,
        Err(error) => return screen.refuse(&error),
    };
    Run::new(start, handle, (doors, take_over), screen).serve(&mut signals, early).await
}

/// Waits for the plan, and with it what signals asked for meanwhile; `None` where the plan
/// is not waited for any longer.
async fn plan<T>(
    planning: impl Future<Output = T>,
    signals: &mut Signals,
    screen: &Screen,
) -> Option<(T, Early)> {
    let mut planning = pin!(planning);
    let mut early = Early::default();
    loop {
        tokio::select! {
            biased;
            planned = &mut planning => return Some((planned, early)),
            signal = signals.next() => match screen.asks(signal, None) {
                Asked::Nothing => {}
                Asked::Reload => early.reload = true,
                Asked::End => break,
            },
        }
    }
    early.end = true;
    let again = async { while screen.asks(signals.next().await, None) != Asked::End {} };
    tokio::select! {
        planned = planning => Some((planned, early)),
        () = sleep(PLAN_PATIENCE) => None,
        () = again => None,
    }
}
