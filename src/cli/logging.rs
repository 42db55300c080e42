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
}
