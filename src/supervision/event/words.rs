//! The words of events: what was ordered, what follows, which limit.
//!
//! Plain enums, which serialise as the words that they are shown as.

use serde::Serialize;

use crate::supervision::intensity::Charge;
use crate::supervision::retry::Verdict;

/// What follows a failure or a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outlook {
    /// It is tried again after a while.
    Retrying,
    /// It comes back, at once or after a while.
    Restarting,
    /// It waits until the machine has more to give; no attempt is charged.
    WaitingForResources,
    /// It rests, and is tried now and then.
    QuarantinedProbed,
    /// It rests until an operator retries it.
    Quarantined,
    /// What it belonged to has ended too.
    Gone,
}

impl Outlook {
    /// In words, for a log line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retrying => "retrying",
            Self::Restarting => "restarting",
            Self::WaitingForResources => "waiting for resources",
            Self::QuarantinedProbed => "quarantined, probed now and then",
            Self::Quarantined => "quarantined",
            Self::Gone => "gone",
        }
    }
}

impl From<Verdict> for Outlook {
    /// What follows a failure.
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::RetryAfter(_) => Self::Retrying,
            Verdict::Pause(_) => Self::WaitingForResources,
            Verdict::Quarantine { probe: Some(_) } => Self::QuarantinedProbed,
            Verdict::Quarantine { probe: None } => Self::Quarantined,
        }
    }
}

impl From<Charge> for Outlook {
    /// What follows a crash.
    fn from(charge: Charge) -> Self {
        match charge {
            Charge::Restart { .. } => Self::Restarting,
            Charge::Exhausted { probe: Some(_) } => Self::QuarantinedProbed,
            Charge::Exhausted { probe: None } => Self::Quarantined,
        }
    }
}

/// A part of the tree that restarts are charged to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PartKind {
    /// One endpoint.
    Endpoint,
    /// One chunk: it crashes whoever opens it.
    Chunk,
    /// One worker.
    Worker,
}

/// A limit that clients meet. Serialises as `limit`, the key that sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "limit")]
#[non_exhaustive]
pub enum Limit {
    /// `limits.max_sessions`: as many sessions as may be are open.
    #[serde(rename = "limits.max_sessions")]
    Sessions,
    /// `limits.max_sessions_per_source`: a source has as many as it may.
    #[serde(rename = "limits.max_sessions_per_source")]
    SessionsPerSource,
}

impl Limit {
    /// Every limit.
    pub const ALL: [Self; 2] = [Self::Sessions, Self::SessionsPerSource];

    /// The configuration key that sets it.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Sessions => "limits.max_sessions",
            Self::SessionsPerSource => "limits.max_sessions_per_source",
        }
    }
}

/// What an operator ordered of endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Order {
    /// Close, until they are resumed.
    Suspend,
    /// Close, and let sessions end.
    Drain,
    /// Open again.
    Resume,
    /// Open again what failed.
    Retry,
    /// Close for good.
    Remove,
}

/// How a plan changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Replanning {
    /// Endpoints were added.
    Add,
    /// A new configuration took the place of the old one.
    Reload,
}
