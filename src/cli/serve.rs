//! `ipcow serve`: opens everything, serves until a signal, says what it did.
//!
//! A user of the library like any other: it adds arguments, signals, output
//! and exit codes.

use std::future::pending;
use std::io::{self, IsTerminal, Write};
use std::pin::pin;

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

/// Where a run prints, and in which form.
struct Screen {
    json: bool,
    instance: String,
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
    let config = loaded.config;
    let screen = match Screen::open(args) {
        Ok(screen) => screen,
        Err(error) => return exit::fail(&error),
    };
    logging::init(&config.log, screen.stderr.clone(), color);
    let service = match Service::builder().config(config).force(args.force).build() {
        Ok(service) => service,
        Err(error) => return exit::start_error(&error, inputs, color),
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
    screen.stdout.flush();
    screen.stderr.flush();
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
        () = until_ended(signals, handle) => return Ok(Course::Ended),
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
            signal = signals.next() => if ends(signal, &handle.snapshot()) {
                return Ok(Course::Ended);
            },
        }
        if let Some(event) = event {
            screen.event(&event);
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

/// Waits for a signal that ends the service.
async fn until_ended(signals: &mut Signals, handle: &ServiceHandle) {
    while !ends(signals.next().await, &handle.snapshot()) {}
}

/// Does what the signal asks for; true where that is to end.
fn ends(signal: Signal, snapshot: &Snapshot) -> bool {
    match signal {
        Signal::Report => {
            tracing::info!("{snapshot:?}");
            false
        }
        // A terminal that hangs up takes its programs with it.
        Signal::HangUp if !io::stdin().is_terminal() && !io::stderr().is_terminal() => {
            tracing::warn!("SIGHUP: this version cannot reload; restart to apply a change");
            false
        }
        _ => true,
    }
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
                () = until_ended(signals, handle) => handle.stop().await,
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
        Ok(Self { json, instance, stdout, stderr, bars })
    }

    fn ready(&self, ready: &Ready) {
        self.stdout.send(if self.json {
            json::ready(&self.instance, ready)
        } else {
            report::ready(ready)
        });
    }

    fn event(&self, event: &Event) {
        match event {
            Event::Recovered(endpoint) if self.json => {
                self.stdout.send(json::recovered(&self.instance, *endpoint));
            }
            Event::Recovered(endpoint) => self.stdout.send(format!("recovered: {endpoint}\n")),
            _ => {}
        }
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
