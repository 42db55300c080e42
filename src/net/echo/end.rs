//! How a session's bytes came to their end.
//!
//! Plain values. Never decides whether an end is a fault: the counters do.

use std::fmt;
use std::io;

use crate::supervision::EndReason;

/// Why a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The peer ended its side, and everything was answered.
    Eof,
    /// The termination sequence was seen.
    Terminated,
    /// Nothing was read or written for `session.idle_timeout_secs`.
    Idle,
    /// It reached `session.max_lifetime_secs`.
    Lifetime,
    /// The peer took nothing for `session.write_timeout_secs`.
    WriteTimeout,
    /// The service is draining and the session was quiet.
    Drain,
    /// An embedder's own session says that it failed.
    Failed,
    /// The connection broke.
    Reset {
        /// What the failed call said.
        kind: io::ErrorKind,
        /// The kernel's number for it, where there is one (errno(3)).
        errno: Option<i32>,
    },
}

impl End {
    /// The end of a session whose read or write failed.
    pub(crate) fn reset(error: &io::Error) -> Self {
        Self::Reset { kind: error.kind(), errno: error.raw_os_error() }
    }

    /// What it is counted as.
    pub(crate) const fn reason(self) -> EndReason {
        match self {
            Self::Eof => EndReason::Eof,
            Self::Terminated => EndReason::Terminated,
            Self::Idle => EndReason::Idle,
            Self::Lifetime => EndReason::Lifetime,
            Self::WriteTimeout => EndReason::WriteTimeout,
            Self::Drain => EndReason::Drain,
            Self::Failed => EndReason::Failed,
            Self::Reset { .. } => EndReason::Reset,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reset { errno: Some(errno), .. } => {
                write!(out, "reset: {}", io::Error::from_raw_os_error(*errno))
            }
            Self::Reset { kind, errno: None } => write!(out, "reset: {kind}"),
            _ => self.reason().fmt(out),
        }
    }
}
