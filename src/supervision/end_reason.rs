//! Why an accepted session is over, in the words of the access log and of the
//! `reason` label, and under which sum each reason is counted.
//!
//! Plain values. Who was never a session has a [`Refusal`](super::Refusal) instead.

use std::fmt;

use super::failure::FaultKind;

/// How an accepted session left the books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEnd {
    /// By its peer, its termination sequence, a time-out or a drain.
    Closed,
    /// By an error: reset, a peer that stopped reading, a panic.
    Failed,
    /// Cut off when the drain's deadline passed or at an immediate stop.
    Forced,
}

/// Why an accepted session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
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
    /// The connection broke.
    Reset,
    /// Its service or its endpoint was draining, or an operator ended it with FIN.
    Drain,
    /// The drain's deadline, an immediate stop or an operator cut it off.
    Forced,
    /// Its actor panicked.
    Panic,
    /// Its worker's thread ended under it, and the service went on.
    WorkerLost,
    /// The system had no room to begin it (epoll_ctl(2): ENOMEM, ENOSPC;
    /// epoll_create1(2): EMFILE).
    NotBegun,
    /// The code of an embedder's own session says that it failed.
    Failed,
}

impl EndReason {
    /// Every reason, in the order of [`Self::index`].
    pub const ALL: [Self; 12] = [
        Self::Eof,
        Self::Terminated,
        Self::Idle,
        Self::Lifetime,
        Self::WriteTimeout,
        Self::Reset,
        Self::Drain,
        Self::Forced,
        Self::Panic,
        Self::WorkerLost,
        Self::NotBegun,
        Self::Failed,
    ];

    /// Its place in an array with one slot for each reason.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The word of the access log and of the `reason` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Eof => "eof",
            Self::Terminated => "terminated",
            Self::Idle => "idle",
            Self::Lifetime => "lifetime",
            Self::WriteTimeout => "write_timeout",
            Self::Reset => "reset",
            Self::Drain => "drain",
            Self::Forced => "forced",
            Self::Panic => "panic",
            Self::WorkerLost => "worker_lost",
            Self::NotBegun => "not_begun",
            Self::Failed => "failed",
        }
    }

    /// The sum that it is counted under: accepted = active + closed + failed + forced.
    #[must_use]
    pub const fn end(self) -> SessionEnd {
        match self {
            Self::Eof | Self::Terminated | Self::Idle | Self::Lifetime | Self::Drain => {
                SessionEnd::Closed
            }
            Self::WriteTimeout
            | Self::Reset
            | Self::Panic
            | Self::WorkerLost
            | Self::NotBegun
            | Self::Failed => SessionEnd::Failed,
            Self::Forced => SessionEnd::Forced,
        }
    }

    /// What the error log hears of it; `None` where nothing failed.
    #[must_use]
    pub const fn fault(self) -> Option<FaultKind> {
        match self {
            Self::WriteTimeout => Some(FaultKind::SessionWriteTimeout),
            Self::Reset => Some(FaultKind::SessionReset),
            Self::Panic => Some(FaultKind::SessionPanic),
            Self::WorkerLost => Some(FaultKind::WorkerLost),
            Self::NotBegun | Self::Failed => Some(FaultKind::SessionFailed),
            Self::Eof
            | Self::Terminated
            | Self::Idle
            | Self::Lifetime
            | Self::Drain
            | Self::Forced => None,
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_place_and_a_word_of_its_own_and_fails_or_does_not() {
        for (place, reason) in EndReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), place);
        }
        let failed = |reason: &EndReason| reason.end() == SessionEnd::Failed;
        assert!(EndReason::ALL.iter().all(|reason| reason.fault().is_some() == failed(reason)));
        let words: std::collections::HashSet<_> =
            EndReason::ALL.into_iter().map(EndReason::as_str).collect();
        assert_eq!(words.len(), EndReason::ALL.len());
    }
}
