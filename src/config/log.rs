//! `[log]`: how loud a program is, and how its lines look.
//!
//! Values alone; the program that has a log gives them their meaning.

use serde::Deserialize;

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Log {
    /// Least severe level that is written.
    pub level: LogLevel,
    /// How a line looks.
    pub format: LogFormat,
}

/// Severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Failures that need a person.
    Error,
    /// Failures that are being handled.
    Warn,
    /// Life of the service.
    Info,
    /// Life of each endpoint and session.
    Debug,
    /// Everything.
    Trace,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `Journald` where stderr leads to the journal, `Pretty` on a terminal, `Json`
    /// elsewhere.
    Auto,
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
    /// The journal's own protocol, each field by itself.
    Journald,
}
