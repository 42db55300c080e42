//! Where a run of `serve` prints, in which form, and what its signals mean.
//!
//! Texts are made elsewhere; nothing here waits, but for [`Screen::flush`].

use std::cell::Cell;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::MultiProgress;
use ipcow::service::signals::Signal;
use ipcow::service::{Event, Occurrence, ServiceGone, Snapshot, StartError, Summary};
use ipcow::supervision::Ready;

use super::access_log::Access;
use super::args::ServeArgs;
use super::json::Reachable;
use super::outlet::Outlet;
use super::service_manager::ServiceManager;
use super::take_over::TakeOverError;
use super::{exit, json, report};

/// How long the end waits for a reader of stdout and stderr that stalls.
const PATIENCE: Duration = Duration::from_millis(500);
/// The same after a second signal, which ends the program at once.
const NO_PATIENCE: Duration = Duration::from_millis(50);

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// Nothing that was not done at once.
    Nothing,
    /// To read the configuration again.
    Reload,
    /// To end.
    End,
}

/// Where a run prints, and in which form.
pub(super) struct Screen {
    pub(super) json: bool,
    instance: String,
    /// Asked at the start: a terminal that has hung up no longer looks like one.
    from_terminal: bool,
    /// How long the end waits for a reader that stalls.
    patience: Cell<Duration>,
    pub(super) stdout: Outlet,
    pub(super) stderr: Outlet,
    pub(super) bars: MultiProgress,
    /// Who started this run, if it wants to know how it goes.
    pub(super) manager: ServiceManager,
    pub(super) access_log: Access,
}

impl Screen {
    pub(super) fn open(
        args: &ServeArgs,
        manager: ServiceManager,
        access_log: Access,
    ) -> io::Result<Self> {
        let bars = MultiProgress::new();
        let stdout = Outlet::open("ipcow-stdout", |text: Vec<u8>| {
            let mut stdout = io::stdout().lock();
            stdout.write_all(&text)?;
            stdout.flush()
        })?;
        let beside = bars.clone();
        let stderr = Outlet::open("ipcow-stderr", move |text: Vec<u8>| {
            beside.suspend(|| io::stderr().lock().write_all(&text))
        })?;
        let (json, instance) = (args.json, args.name.clone());
        let from_terminal = io::stdin().is_terminal() || io::stderr().is_terminal();
        let patience = Cell::new(PATIENCE);
        Ok(Self {
            json,
            instance,
            from_terminal,
            patience,
            stdout,
            stderr,
            bars,
            manager,
            access_log,
        })
    }

    /// Ends what stalls sooner: a second signal came.
    pub(super) fn hurry(&self) {
        self.patience.set(NO_PATIENCE);
    }

    /// Waits for the readers of what was printed, but not long, and says what
    /// they missed.
    pub(super) fn flush(&self) {
        let deadline = Instant::now() + self.patience.get();
        self.stdout.flush(deadline);
        let (stdout, stderr) = (self.stdout.lost(), self.stderr.lost());
        if stdout + stderr > 0 {
            self.stderr.send(format!(
                "ipcow: nobody read fast enough: {stdout} pieces of stdout and {stderr} of \
                 stderr are lost\n"
            ));
        }
        self.stderr.flush(deadline);
    }

    /// What the signal asks for; what can be done at once is done.
    pub(super) fn asks(&self, signal: Signal, snapshot: Option<&Snapshot>) -> Asked {
        match signal {
            Signal::Report => {
                match snapshot {
                    Some(snapshot) => report::log_summary(snapshot),
                    None => tracing::info!("nothing is open yet"),
                }
                Asked::Nothing
            }
            Signal::Reopen => {
                self.access_log.reopen();
                Asked::Nothing
            }
            // A terminal that hangs up takes its programs with it.
            Signal::HangUp if !self.from_terminal => Asked::Reload,
            _ => Asked::End,
        }
    }

    pub(super) fn ready(&self, ready: &Ready, reachable: &Reachable) {
        self.stdout.send(if self.json {
            json::ready(&self.instance, ready, reachable)
        } else {
            report::ready(ready, reachable)
        });
    }

    pub(super) fn events(&self, events: &[Occurrence]) {
        let recovered = events.iter().filter_map(|occurrence| match &occurrence.event {
            Event::Recovered { endpoints } => Some(endpoints.iter()),
            _ => None,
        });
        let recovered = recovered.flatten();
        self.stdout.send(if self.json {
            recovered.map(|endpoint| json::recovered(&self.instance, endpoint)).collect()
        } else {
            report::recovered(recovered.collect())
        });
    }

    pub(super) fn summary(&self, summary: &Summary) {
        self.stdout.send(if self.json {
            json::summary(&self.instance, summary)
        } else {
            report::summary(summary)
        });
    }

    pub(super) fn below_coverage(&self, ready: &Ready) -> u8 {
        let bound = ready.endpoints.listening;
        let mut text = format!(
            "ipcow: {bound} of {} endpoints listen, and coverage.min_bound asks for {}\n",
            ready.endpoints.total, ready.required
        );
        report::causes(&mut text, &ready.failures, ready.endpoints.total - bound);
        self.stderr.send(text);
        exit::BELOW_COVERAGE
    }

    pub(super) fn refuse(&self, error: &(impl std::error::Error + ExitCode)) -> u8 {
        self.stderr.send(format!("ipcow: {error}\n"));
        error.exit_code()
    }
}

/// The exit code that an error of the service stands for.
pub(super) trait ExitCode {
    fn exit_code(&self) -> u8;
}

impl ExitCode for StartError {
    fn exit_code(&self) -> u8 {
        exit::of_start_error(self)
    }
}

impl ExitCode for TakeOverError {
    fn exit_code(&self) -> u8 {
        exit::FAILED
    }
}

impl ExitCode for ServiceGone {
    fn exit_code(&self) -> u8 {
        exit::FAILED
    }
}
