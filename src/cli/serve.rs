//! `ipcow serve`: opens everything, serves until a signal, says what it did.
//!
//! A user of the library like any other: it adds arguments, signals, output
//! and exit codes.

use std::cell::Cell;
use std::future::{pending, ready};
use std::io::{self, IsTerminal, Write};
use std::pin::pin;
use std::time::{Duration, Instant};

use indicatif::MultiProgress;
use ipcow::config::{self, Inputs};
use ipcow::service::signals::{Signal, Signals};
use ipcow::service::{Event, Service, ServiceGone, ServiceHandle, Snapshot, StartError, Summary};
use ipcow::supervision::Ready;
use tokio::time::{interval, sleep};

use super::args::ServeArgs;
use super::outlet::Outlet;
use super::progress::Display;
use super::{exit, json, logging, report};

/// How long the end waits for a reader of stdout and stderr that stalls.
const PATIENCE: Duration = Duration::from_millis(500);
/// The same after a second signal, which ends the program at once.
const NO_PATIENCE: Duration = Duration::from_millis(50);
/// Most events that are printed in one piece.
const BATCH: usize = 64;

/// Where a run prints, and in which form.
struct Screen {
    json: bool,
    instance: String,
    /// Asked at the start: a terminal that has hung up no longer looks like one.
    from_terminal: bool,
    patience: Cell<Duration>,
    stdout: Outlet,
    stderr: Outlet,
    bars: MultiProgress,
}

/// Runs the command; returns the exit code of interface §4.
pub(crate) fn run(args: &ServeArgs, inputs: &Inputs, color: bool) -> u8 {
    let loaded = match config::load(inputs) {
        Ok(loaded) => loaded,
        Err(errors) => return exit::config_errors(&errors, color),
    };
    let config = loaded.config.clone();
    let screen = match Screen::open(args) {
        Ok(screen) => screen,
        Err(error) => return exit::fail(&error),
    };
    logging::init(&config.log, screen.stderr.clone(), color);
    let service = match Service::builder().config(config).force(args.force).build() {
        Ok(service) => service,
        Err(error) => return exit::start_error(&error, &loaded, inputs, color),
    };
    for finding in &service.plan().findings {
        let kind = finding.kind.as_str();
        tracing::warn!(kind, count = finding.count, fix = finding.fix, "{}", finding.message);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let code = match runtime {
        Ok(runtime) => runtime.block_on(serve(args, service, &screen)),
        Err(error) => exit::fail(&error),
    };
    let deadline = Instant::now() + screen.patience.get();
    screen.stdout.flush(deadline);
    screen.stderr.flush(deadline);
    code
}

async fn serve(args: &ServeArgs, service: Service, screen: &Screen) -> u8 {
    // Before anything is bound: a signal that comes while it opens is not lost.
    let mut signals = match Signals::install() {
        Ok(signals) => signals,
        Err(error) => return exit::fail(&error),
    };
    let mut handle = match service.start() {
        Ok(handle) => handle,
        Err(error) => return screen.refuse(&error),
    };
    let course = watch(args, &mut handle, &mut signals, screen).await;
    match course {
        Ok(course) => finish(course, &handle, &mut signals, screen).await,
        Err(gone) => screen.refuse(&gone),
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
    handle: &mut ServiceHandle,
    signals: &mut Signals,
    screen: &Screen,
) -> Result<Course, ServiceGone> {
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
    loop {
        let mut event = None;
        tokio::select! {
            next = handle.next_event() => event = Some(next.ok_or(ServiceGone)?),
            () = &mut ending => return Ok(Course::Ended),
            signal = signals.next() => if screen.ends(signal, &handle.snapshot()) {
                return Ok(Course::Ended);
            },
        }
        if let Some(event) = event {
            screen.events(&with_those_waiting(event, handle).await);
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

/// The event and what else has happened by now: many endpoints may recover at
/// once, and each piece of text has its place in a bounded queue.
async fn with_those_waiting(event: Event, handle: &mut ServiceHandle) -> Vec<Event> {
    let mut events = vec![event];
    while events.len() < BATCH {
        tokio::select! {
            biased;
            next = handle.next_event() => match next {
                Some(next) => events.push(next),
                None => break,
            },
            () = ready(()) => break,
        }
    }
    events
}

/// Waits for a signal that ends the service.
async fn until_ended(signals: &mut Signals, handle: &ServiceHandle, screen: &Screen) {
    while !screen.ends(signals.next().await, &handle.snapshot()) {}
}

/// Drains, unless a second signal stops at once, and says what was done.
async fn finish(
    course: Course,
    handle: &ServiceHandle,
    signals: &mut Signals,
    screen: &Screen,
) -> u8 {
    let summary = match course {
        Course::BelowCoverage(_) => handle.stop().await,
        Course::Ended => {
            tracing::info!("draining");
            tokio::select! {
                summary = handle.shutdown() => summary,
                () = until_ended(signals, handle, screen) => {
                    screen.patience.set(NO_PATIENCE);
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

impl Screen {
    fn open(args: &ServeArgs) -> io::Result<Self> {
        let bars = MultiProgress::new();
        let stdout = Outlet::open("ipcow-stdout", |text| {
            let mut stdout = io::stdout().lock();
            stdout.write_all(text)?;
            stdout.flush()
        })?;
        let beside = bars.clone();
        let stderr = Outlet::open("ipcow-stderr", move |text| {
            beside.suspend(|| io::stderr().lock().write_all(text))
        })?;
        let (json, instance) = (args.json, args.name.clone());
        let from_terminal = io::stdin().is_terminal() || io::stderr().is_terminal();
        let patience = Cell::new(PATIENCE);
        Ok(Self { json, instance, from_terminal, patience, stdout, stderr, bars })
    }

    /// Does what the signal asks for; true where that is to end.
    fn ends(&self, signal: Signal, snapshot: &Snapshot) -> bool {
        match signal {
            Signal::Report => {
                report::log_summary(snapshot);
                false
            }
            // A terminal that hangs up takes its programs with it.
            Signal::HangUp if !self.from_terminal => {
                tracing::warn!("SIGHUP: this version cannot reload; restart to apply a change");
                false
            }
            _ => true,
        }
    }

    fn ready(&self, ready: &Ready) {
        self.stdout.send(if self.json {
            json::ready(&self.instance, ready)
        } else {
            report::ready(ready)
        });
    }

    fn events(&self, events: &[Event]) {
        let recovered = events.iter().filter_map(|event| match event {
            Event::Recovered(endpoint) => Some(*endpoint),
            _ => None,
        });
        self.stdout.send(if self.json {
            recovered.map(|endpoint| json::recovered(&self.instance, endpoint)).collect()
        } else {
            report::recovered(recovered.collect())
        });
    }

    fn summary(&self, summary: &Summary) {
        self.stdout.send(if self.json {
            json::summary(&self.instance, summary)
        } else {
            report::summary(summary)
        });
    }

    fn below_coverage(&self, ready: &Ready) -> u8 {
        let bound = ready.endpoints.listening;
        let mut text = format!(
            "ipcow: {bound} of {} endpoints listen, and coverage.min_bound asks for {}\n",
            ready.endpoints.total, ready.required
        );
        report::causes(&mut text, &ready.failures, ready.endpoints.total - bound);
        self.stderr.send(text);
        exit::BELOW_COVERAGE
    }

    fn refuse(&self, error: &(impl std::error::Error + ExitCode)) -> u8 {
        self.stderr.send(format!("ipcow: {error}\n"));
        error.exit_code()
    }
}

/// The exit code that an error of the service stands for.
trait ExitCode {
    fn exit_code(&self) -> u8;
}

impl ExitCode for StartError {
    fn exit_code(&self) -> u8 {
        exit::of_start_error(self)
    }
}

impl ExitCode for ServiceGone {
    fn exit_code(&self) -> u8 {
        exit::FAILED
    }
}
