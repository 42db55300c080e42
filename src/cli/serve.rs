//! `ipcow serve`: opens everything, serves until a signal, says what it did.
//!
//! A user of the library like any other: it adds arguments, signals, output
//! and exit codes.

use std::future::pending;
use std::pin::pin;
use std::time::Duration;

use ipcow::config::{Inputs, LoadedConfig};
use ipcow::process;
use ipcow::service::signals::Signals;
use ipcow::service::{Event, Events, Service, ServiceBuilder, ServiceGone, ServiceHandle};
use ipcow::supervision::Ready;
use tokio::sync::oneshot;
use tokio::time::{interval, sleep};

use super::activation::{self, Activation};
use super::args::ServeArgs;
use super::progress::Display;
use super::screen::Screen;
use super::service_manager::ServiceManager;
use super::{exit, logging, report};

/// Most events that are printed in one piece as JSON.
const BATCH: usize = 64;
/// How long a person waits for what recovered, to read it in one line.
const GATHER: Duration = Duration::from_millis(200);
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
    // Once the process is confined it might not reach it.
    let manager = ServiceManager::from_environment();
    // Before the first thread: each would keep the rights that it began with.
    let confined = match process::confine(&loaded.config.process, &[]) {
        Ok(confined) => confined,
        Err(error) => return exit::confine_error(&error),
    };
    let (sockets, unfit) = activation.into_parts();
    let builder = Service::builder().config(loaded.config.clone()).force(args.force);
    let builder = builder.adopt(sockets);
    // Before the first thread, too. Where it fails, opening takes longer.
    let _kept_as_it_was = builder.make_room();
    let screen = match Screen::open(args, manager) {
        Ok(screen) => screen,
        Err(error) => return exit::fail(&error),
    };
    let stderr = screen.stderr.clone();
    let journal = match logging::init(&loaded.config.log, &args.name, stderr, color) {
        Ok(journal) => journal,
        Err(error) => return exit::no_journal(&error),
    };
    report::log_confinement(&confined);
    screen.manager.log();
    Activation::log_unfit(&unfit);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let code = match runtime {
        Ok(runtime) => {
            runtime.block_on(plan_and_serve(args, &inputs, &loaded, builder, &screen, color))
        }
        Err(error) => exit::fail(&error),
    };
    if let Some(journal) = journal {
        journal.flush(&screen.stderr);
    }
    screen.flush();
    code
}

async fn plan_and_serve(
    args: &ServeArgs,
    inputs: &Inputs,
    loaded: &LoadedConfig,
    builder: ServiceBuilder,
    screen: &Screen,
    color: bool,
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
    let (planned, told) = match plan(planning, &mut signals, screen).await {
        Some(planned) => planned,
        // Nothing was opened: there is nothing to sum up.
        None => return exit::DONE,
    };
    // It has answered. Its place may be needed where threads are few.
    drop(planner.join());
    let service = match planned {
        Ok(Ok(service)) => service,
        Ok(Err(error)) => return exit::start_error(&error, loaded, inputs, color),
        Err(panicked) => return exit::fail(&panicked),
    };
    for finding in &service.plan().findings {
        let kind = finding.kind.as_str();
        tracing::warn!(kind, count = finding.count, fix = finding.fix, "{}", finding.message);
    }
    activation::log_adoption(&service);
    serve(args, service, &mut signals, told, screen).await
}

/// Waits for the plan, and with it whether a signal has come meanwhile that
/// ends the program; `None` where the plan is not waited for any longer.
async fn plan<T>(
    planning: impl Future<Output = T>,
    signals: &mut Signals,
    screen: &Screen,
) -> Option<(T, bool)> {
    let mut planning = pin!(planning);
    let told = async { while !screen.ends(signals.next().await, None) {} };
    tokio::select! {
        biased;
        planned = &mut planning => return Some((planned, false)),
        () = told => {}
    }
    let again = async { while !screen.ends(signals.next().await, None) {} };
    tokio::select! {
        planned = planning => Some((planned, true)),
        () = sleep(PLAN_PATIENCE) => None,
        () = again => None,
    }
}

async fn serve(
    args: &ServeArgs,
    service: Service,
    signals: &mut Signals,
    told: bool,
    screen: &Screen,
) -> u8 {
    let handle = match service.start() {
        Ok(handle) => handle,
        Err(error) => return screen.refuse(&error),
    };
    let whole_course = async {
        let course = match told {
            true => Ok(Course::Ended),
            false => watch(args, &handle, signals, screen).await,
        };
        match course {
            Ok(course) => finish(course, &handle, signals, screen).await,
            Err(gone) => screen.refuse(&gone),
        }
    };
    tokio::select! {
        code = whole_course => code,
        never = screen.manager.follow(&handle) => match never {},
    }
}

/// Why a service shall end.
enum Course {
    /// A signal, `--for` or `--once`.
    Ended,
    /// Too few endpoints listen.
    BelowCoverage(Box<Ready>),
}

/// Follows the service until it shall end by itself.
async fn watch(
    args: &ServeArgs,
    handle: &ServiceHandle,
    signals: &mut Signals,
    screen: &Screen,
) -> Result<Course, ServiceGone> {
    let mut events = handle.events();
    let limit = args.duration;
    let ending = async move {
        match limit {
            Some(limit) => sleep(limit).await,
            None => pending().await,
        }
    };
    let mut ending = pin!(ending);
    let ready = tokio::select! {
        ready = open(args, handle, screen) => ready?,
        () = &mut ending => return Ok(Course::Ended),
        () = until_ended(signals, handle, screen) => return Ok(Course::Ended),
    };
    if ready.endpoints.listening < ready.required {
        return Ok(Course::BelowCoverage(Box::new(ready)));
    }
    if args.once {
        return Ok(Course::Ended);
    }
    screen.ready(&ready);
    screen.manager.ready(&handle.snapshot());
    loop {
        let mut event = None;
        tokio::select! {
            next = events.next() => event = Some(next.ok_or(ServiceGone)?),
            () = &mut ending => return Ok(Course::Ended),
            signal = signals.next() => if screen.ends(signal, Some(&handle.snapshot())) {
                return Ok(Course::Ended);
            },
        }
        if let Some(event) = event {
            screen.events(&gather(event, &mut events, screen.json).await);
        }
    }
}

/// Shows progress until the service is ready.
async fn open(
    args: &ServeArgs,
    handle: &ServiceHandle,
    screen: &Screen,
) -> Result<Ready, ServiceGone> {
    let mut display = Display::new(args.progress, &screen.bars, &screen.stderr);
    let mut ticks = interval(display.step());
    ticks.tick().await;
    let mut ready = pin!(handle.wait_ready());
    let result = loop {
        tokio::select! {
            ready = &mut ready => break ready,
            _ = ticks.tick() => display.show(&handle.snapshot()),
        }
    };
    display.finish();
    result
}

/// The event and those that follow it at once: many endpoints may recover
/// together, and each piece of text has its place in a bounded queue.
async fn gather(event: Event, following: &mut Events, json: bool) -> Vec<Event> {
    // A program wants each event now; a person wants one line of them.
    let (most, wait) = if json { (BATCH, Duration::ZERO) } else { (usize::MAX, GATHER) };
    let mut events = vec![event];
    let mut over = pin!(sleep(wait));
    while events.len() < most {
        tokio::select! {
            biased;
            next = following.next() => match next {
                Some(next) => events.push(next),
                None => break,
            },
            () = &mut over => break,
        }
    }
    events
}

/// Waits for a signal that ends the service.
async fn until_ended(signals: &mut Signals, handle: &ServiceHandle, screen: &Screen) {
    while !screen.ends(signals.next().await, Some(&handle.snapshot())) {}
}

/// Drains, unless a second signal stops at once, and says what was done.
async fn finish(
    course: Course,
    handle: &ServiceHandle,
    signals: &mut Signals,
    screen: &Screen,
) -> u8 {
    screen.manager.stopping();
    let summary = match course {
        Course::BelowCoverage(_) => handle.stop().await,
        Course::Ended => {
            tracing::info!("draining");
            tokio::select! {
                summary = handle.shutdown() => summary,
                () = until_ended(signals, handle, screen) => {
                    screen.hurry();
                    handle.stop().await
                }
            }
        }
    };
    let summary = match summary {
        Ok(summary) => summary,
        Err(gone) => return screen.refuse(&gone),
    };
    screen.summary(&summary);
    match course {
        Course::BelowCoverage(ready) => screen.below_coverage(&ready),
        Course::Ended if summary.totals.forced > 0 => exit::FORCED,
        Course::Ended => exit::DONE,
    }
}
