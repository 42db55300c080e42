//! Where log lines go and how they look.

use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::journal::{self, Journal};
use super::outlet::Outlet;
use ipcow::config::{Log, LogFormat, LogLevel};

/// Sends this program's log lines to `stderr`, or to the journal, which is
/// returned then.
///
/// # Errors
/// That the journal is asked for and cannot be had.
pub(crate) fn init(
    log: &Log,
    instance: &str,
    stderr: Outlet,
    colour: bool,
) -> io::Result<Option<Journal>> {
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
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
    let lines = tracing_subscriber::fmt().with_max_level(level).with_writer(stderr);
    let set = if let Some(journal) = &journal {
        tracing_subscriber::registry().with(journal.clone()).with(level).try_init()
    } else if pretty {
        lines.with_ansi(colour).with_target(false).finish().try_init()
    } else {
        lines.json().flatten_event(true).finish().try_init()
    };
    // Only one logger a process: the one that is there already is kept.
    drop(set);
    std::panic::set_hook(Box::new(log_panic));
    Ok(journal)
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
