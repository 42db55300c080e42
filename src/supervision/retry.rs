//! The retry policy: what becomes of a failed endpoint.
//!
//! Holds the decision alone. Never waits and never draws chance itself: both
//! the attempt and the chance are arguments.

use std::time::Duration;

use super::failure::{Fault, FaultClass};
use crate::config;

/// What shall become of a failed endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Open it again after this delay.
    RetryAfter(Duration),
    /// Its attempts are used up. `probe` is the pause before it is tried once
    /// more; `None` = only when an operator says so.
    Quarantine {
        /// Pause before the next try.
        probe: Option<Duration>,
    },
    /// The machine is short of something: nothing is opened for this long, and
    /// the attempt is not charged.
    Pause(Duration),
}

/// `[retry]`, ready to judge.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    settings: config::Retry,
}

impl RetryPolicy {
    /// A policy with these settings.
    #[must_use]
    pub const fn new(settings: config::Retry) -> Self {
        Self { settings }
    }

    /// Judges the failure of an endpoint that has now used `attempts` attempts
    /// (from 1). `chance` in 0.0 to 1.0 places the delay within its jitter,
    /// which only ever shortens it.
    #[must_use]
    pub fn judge(&self, fault: Fault, attempts: u32, chance: f64) -> Verdict {
        match fault.class() {
            FaultClass::Configuration | FaultClass::Permission => {
                Verdict::Quarantine { probe: None }
            }
            FaultClass::Resource => Verdict::Pause(backoff(&self.settings, 1, chance)),
            FaultClass::InUse | FaultClass::Absent | FaultClass::Transient => {
                if attempts >= self.settings.max_attempts {
                    Verdict::Quarantine { probe: self.settings.quarantine_probe }
                } else {
                    Verdict::RetryAfter(backoff(&self.settings, attempts, chance))
                }
            }
        }
    }
}

/// Delay after the `failures`-th failure in a row (from 1):
/// `min(max, initial × multiplier^(failures − 1)) × (1 − jitter × chance)`.
pub(super) fn backoff(settings: &config::Retry, failures: u32, chance: f64) -> Duration {
    let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
    let initial = settings.initial_backoff.as_secs_f64();
    let longest = settings.max_backoff.as_secs_f64();
    let delay = (initial * settings.multiplier.powi(exponent)).min(longest);
    let kept = 1.0 - settings.jitter * chance.clamp(0.0, 1.0);
    Duration::from_secs_f64(delay * kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervision::FaultKind;
    use nix::errno::Errno;

    fn policy() -> RetryPolicy {
        RetryPolicy::new(config::Retry {
            max_attempts: 5,
            initial_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_millis(500),
            multiplier: 2.0,
            jitter: 0.5,
            quarantine_probe: Some(Duration::from_secs(15)),
        })
    }

    fn in_use() -> Fault {
        Fault::from_bind_errno(Errno::EADDRINUSE as i32)
    }

    #[test]
    fn delays_double_up_to_the_longest() {
        let delays: Vec<_> =
            (1..5).map(|attempts| policy().judge(in_use(), attempts, 0.0)).collect();
        let expected =
            [100, 200, 400, 500].map(|ms| Verdict::RetryAfter(Duration::from_millis(ms)));
        assert_eq!(delays, expected);
    }

    #[test]
    fn jitter_only_shortens_a_delay() {
        let verdict = policy().judge(in_use(), 1, 1.0);
        assert_eq!(verdict, Verdict::RetryAfter(Duration::from_millis(50)));
    }

    #[test]
    fn used_up_attempts_end_in_quarantine_with_a_slow_probe() {
        let probe = Some(Duration::from_secs(15));
        assert_eq!(policy().judge(in_use(), 5, 0.0), Verdict::Quarantine { probe });
        assert_eq!(policy().judge(in_use(), 900, 0.0), Verdict::Quarantine { probe });
    }

    #[test]
    fn a_missing_right_is_never_retried_by_itself() {
        let fault = Fault::from_bind_errno(Errno::EACCES as i32);
        assert_eq!(policy().judge(fault, 1, 0.0), Verdict::Quarantine { probe: None });
    }

    #[test]
    fn a_shortage_pauses_and_never_quarantines() {
        let fault = Fault { kind: FaultKind::BindResource, errno: Errno::ENOMEM as i32 };
        assert!(matches!(policy().judge(fault, 1_000, 0.5), Verdict::Pause(_)));
    }
}
