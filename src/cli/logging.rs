//! Where log lines go and how they look.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;

use super::outlet::Outlet;
use ipcow::config::{Log, LogFormat, LogLevel};

/// Sends this program's log lines to `stderr`.
pub(crate) fn init(log: &Log, stderr: Outlet, colour: bool) {
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let pretty = match log.format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let lines = tracing_subscriber::fmt().with_max_level(level).with_writer(stderr);
    let set = if pretty {
        lines.with_ansi(colour).with_target(false).try_init()
    } else {
        lines.json().flatten_event(true).try_init()
    };
    // Only one logger a process: the one that is there already is kept.
    drop(set);
    std::panic::set_hook(Box::new(log_panic));
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
