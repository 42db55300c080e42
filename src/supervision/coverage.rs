//! When the service is ready, and whether enough of it is.

use crate::config::MinBound;

use super::states::EndpointCounts;

/// `coverage.min_bound`, resolved against a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coverage {
    required: u64,
}

impl Coverage {
    /// The requirement for a plan of `total` endpoints. A percentage is rounded up.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a plan has far fewer than 2^52 endpoints, and the product is not negative"
    )]
    pub fn new(min_bound: MinBound, total: u64) -> Self {
        let required = match min_bound {
            MinBound::Count(count) => count,
            MinBound::Percent(percent) => (total as f64 * percent / 100.0).ceil() as u64,
        };
        Self { required }
    }

    /// Least number of endpoints that must listen.
    #[must_use]
    pub const fn required(self) -> u64 {
        self.required
    }

    /// Whether enough listen. An endpoint that an operator suspended is
    /// intended, so it does not count as missing.
    #[must_use]
    pub const fn is_met(self, counts: &EndpointCounts) -> bool {
        counts.listening + counts.suspended >= self.required
    }
}

/// What a service is doing, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Some endpoint was not decided yet.
    Starting,
    /// Every endpoint listens, but for those that an operator holds.
    Ready,
    /// Some endpoint does not listen.
    Degraded,
    /// It accepts nothing new, and ends.
    Draining,
}

impl Phase {
    /// Its name in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Draining => "draining",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listening(listening: u64) -> EndpointCounts {
        EndpointCounts { total: 70, listening, ..EndpointCounts::default() }
    }

    #[test]
    fn a_percentage_is_rounded_up() {
        let coverage = Coverage::new(MinBound::Percent(99.0), 70);
        assert_eq!(coverage.required(), 70);
        assert!(!coverage.is_met(&listening(69)));
        assert!(coverage.is_met(&listening(70)));
    }

    #[test]
    fn zero_is_always_met() {
        assert!(Coverage::new(MinBound::Count(0), 70).is_met(&listening(0)));
    }
}
