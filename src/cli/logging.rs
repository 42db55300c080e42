//! Where log lines go and how they look.

use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{Registry, fmt, reload};

use super::journal::{self, Journal};
use super::outlet::Outlet;
use ipcow::config::{Log, LogFormat, LogLevel};

/// This program's log.
pub(crate) struct Logging {
    pub(crate) level: Level,
    /// Where lines go, if it is not stderr.
    pub(crate) journal: Option<Journal>,
}

/// The level of the log, which may change.
#[derive(Debug, Clone)]
pub(crate) struct Level(reload::Handle<Targets, Registry>);

impl Level {
    /// Lines of this level and of more severe ones from now on.
    pub(crate) fn set(&self, level: LogLevel) {
        // It fails where the log is gone.
        let _ended = self.0.reload(filter(level));
    }
}

/// Sends this program's log lines to `stderr`, or to the journal.
///
/// # Errors
/// That the journal is asked for and cannot be had.
pub(crate) fn init(log: &Log, instance: &str, stderr: Outlet, colour: bool) -> io::Result<Logging> {
    let journal = match log.format {
        LogFormat::Journald => Some(Journal::open(instance)?),
        // A journal that is gone by now is no reason to serve nothing.
        LogFormat::Auto if journal::is_stderr_of_journal() => Journal::open(instance).ok(),
        LogFormat::Auto | LogFormat::Pretty | LogFormat::Json => None,
    };
    let pretty = match log.format {
        LogFormat::Auto => io::stderr().is_terminal(),
        LogFormat::Pretty => true,
        LogFormat::Json | LogFormat::Journald => false,
    };
    let (level, handle) = reload::Layer::new(filter(log.level));
    let (lines, log) = (fmt::layer().with_writer(stderr), Registry::default().with(level));
    let set = if let Some(journal) = &journal {
        log.with(journal.clone()).try_init()
    } else if pretty {
        log.with(lines.with_ansi(colour).with_target(false)).try_init()
    } else {
        log.with(lines.json().flatten_event(true)).try_init()
    };
    // Only one logger a process: the one that is there already is kept.
    drop(set);
    std::panic::set_hook(Box::new(log_panic));
    Ok(Logging { level: Level(handle), journal })
}

/// What the HTTP library says of its clients, in its own words and at its own level, is for
/// who looks for a fault: whoever reaches the admin address could fill the log with it.
fn filter(level: LogLevel) -> Targets {
    let (level, of_clients) = match level {
        LogLevel::Error => (LevelFilter::ERROR, LevelFilter::OFF),
        LogLevel::Warn => (LevelFilter::WARN, LevelFilter::OFF),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::OFF),
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::DEBUG),
        LogLevel::Trace => (LevelFilter::TRACE, LevelFilter::TRACE),
    };
    Targets::new().with_default(level).with_target("actix_http", of_clients)
}

/// A crash of a part is a log line like another, never a backtrace among them.
fn log_panic(info: &std::panic::PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string);
    let thread = std::thread::current();
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    tracing::error!(place, thread = thread.name(), panic = text, "a panic");
}
