//! Why a client was accepted and closed, and which key decides about it.

use std::fmt;

/// Why a client got no session: it was accepted and closed at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// Its source is denied by `allow_from` or `deny_from`.
    Source,
    /// As many sessions as `limits.max_sessions` are open, and `limits.on_limit`
    /// is `close`.
    Limit,
    /// Its source has `limits.max_sessions_per_source` sessions.
    SourceLimit,
}

impl Refusal {
    /// Every reason, in the order of [`Self::index`].
    pub const ALL: [Self; 3] = [Self::Source, Self::Limit, Self::SourceLimit];

    /// Its place in an array with one slot for each reason.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The word of the summary and of the `reason` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Limit => "limit",
            Self::SourceLimit => "source_limit",
        }
    }

    /// The configuration key that decides about it.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Source => "listen_defaults.allow_from, deny_from",
            Self::Limit => "limits.max_sessions",
            Self::SourceLimit => "limits.max_sessions_per_source",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_counts_in_its_own_place() {
        for (place, reason) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), place);
        }
    }
}
