//! How a session ends, in the words of the access log.
//!
//! Plain values. Never decides whether an end is a fault: the counters do.

use std::fmt;
use std::io;

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

    /// The word of the access log and of the `reason` label.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Eof => "eof",
            Self::Terminated => "terminated",
            Self::Idle => "idle",
            Self::Lifetime => "lifetime",
            Self::WriteTimeout => "write_timeout",
            Self::Drain => "drain",
            Self::Reset { .. } => "reset",
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
            _ => out.write_str(self.as_str()),
        }
    }
}
