//! Restart intensity: how often a part may crash before it is left alone.
//!
//! Holds the counting of crashes alone. Never restarts anything, never waits
//! and never draws chance itself: the time and the chance are arguments.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::retry::{Verdict, backoff};
use crate::config;

/// `[supervision]` with the delays of `[retry]`, ready to charge crashes.
#[derive(Debug, Clone, PartialEq)]
pub struct RestartPolicy {
    max_restarts: u32,
    window: Duration,
    delay: config::Retry,
}

/// What shall become of a part that crashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charge {
    /// Start it again.
    Restart {
        /// The pause before; zero for the first crash within the window.
        after: Duration,
    },
    /// It crashed more than `max_restarts` times within the window: it is
    /// quarantined, and its siblings stay.
    Exhausted {
        /// Pause before it is tried once more (`retry.quarantine_probe_secs`);
        /// `None` = only when an operator says so.
        probe: Option<Duration>,
    },
}

/// The crashes of one part: an endpoint, a chunk or a worker slot.
///
/// Holds at most `max_restarts + 1` instants, whatever happens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restarts {
    /// Oldest first.
    crashes: VecDeque<Instant>,
}

impl RestartPolicy {
    /// A policy with these settings.
    #[must_use]
    pub fn new(supervision: &config::Supervision, retry: &config::Retry) -> Self {
        Self {
            max_restarts: supervision.max_restarts,
            window: supervision.window,
            delay: retry.clone(),
        }
    }

    fn counts(&self, crash: Instant, now: Instant) -> bool {
        now.saturating_duration_since(crash) < self.window
    }

    fn most(&self) -> usize {
        usize::try_from(self.max_restarts).unwrap_or(usize::MAX)
    }
}

impl From<Charge> for Verdict {
    /// For a part that failed like a crash: the same outlook, as a verdict.
    fn from(charge: Charge) -> Self {
        match charge {
            Charge::Restart { after } => Self::RetryAfter(after),
            Charge::Exhausted { probe } => Self::Quarantine { probe },
        }
    }
}

impl Restarts {
    /// Charges a crash that happened `now`. `chance` in 0.0 to 1.0 places the
    /// delay within its jitter, which only ever shortens it.
    pub fn charge(&mut self, policy: &RestartPolicy, now: Instant, chance: f64) -> Charge {
        self.crashes.retain(|crash| policy.counts(*crash, now));
        self.crashes.push_back(now);
        let most = policy.most();
        while self.crashes.len() > most.saturating_add(1) {
            self.crashes.pop_front();
        }
        self.standing(policy, now, chance)
    }

    /// What shall become of the part by the crashes that were charged so far: for
    /// whoever must say it again later. As [`Self::charge`], but charges nothing.
    #[must_use]
    pub fn standing(&self, policy: &RestartPolicy, now: Instant, chance: f64) -> Charge {
        let crashes = self.crashes.iter().filter(|crash| policy.counts(**crash, now)).count();
        if crashes > policy.most() {
            return Charge::Exhausted { probe: policy.delay.quarantine_probe };
        }
        let after = match u32::try_from(crashes.saturating_sub(1)).unwrap_or(u32::MAX) {
            0 => Duration::ZERO,
            earlier => backoff(&policy.delay, earlier, chance),
        };
        Charge::Restart { after }
    }

    /// Forgets every crash: the part starts afresh.
    pub fn release(&mut self) {
        self.crashes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PROBE: Option<Duration> = Some(Duration::from_secs(15));

    fn policy(max_restarts: u32) -> RestartPolicy {
        let supervision = config::Supervision { max_restarts, window: Duration::from_secs(60) };
        RestartPolicy::new(&supervision, &config::Retry::default())
    }

    /// The charges of crashes that all happen at once.
    fn burst(restarts: &mut Restarts, policy: &RestartPolicy, chance: f64) -> Vec<Charge> {
        let now = Instant::now();
        (0..7).map(|_| restarts.charge(policy, now, chance)).collect()
    }

    #[test]
    fn the_first_restart_is_at_once_and_the_next_delays_double() {
        let charges = burst(&mut Restarts::default(), &policy(5), 0.0);
        let delays =
            [0, 100, 200, 400, 800].map(|ms| Charge::Restart { after: Duration::from_millis(ms) });
        assert_eq!(charges[..5], delays);
        assert_eq!(charges[5..], [Charge::Exhausted { probe: PROBE }; 2]);
    }

    #[test]
    fn jitter_only_shortens_the_delay() {
        let charges = burst(&mut Restarts::default(), &policy(5), 1.0);
        assert_eq!(charges[1], Charge::Restart { after: Duration::from_millis(50) });
    }

    #[test]
    fn without_restarts_the_first_crash_is_one_too_many() {
        let charge = Restarts::default().charge(&policy(0), Instant::now(), 0.0);
        assert_eq!(charge, Charge::Exhausted { probe: PROBE });
    }

    #[test]
    fn a_crash_counts_until_the_window_has_passed() {
        let (policy, mut restarts, start) = (policy(1), Restarts::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        let at_once = Charge::Restart { after: Duration::ZERO };
        assert_eq!(restarts.charge(&policy, at(0), 0.0), at_once);
        assert_eq!(restarts.charge(&policy, at(59_999), 0.0), Charge::Exhausted { probe: PROBE });
        assert_eq!(restarts.charge(&policy, at(120_000), 0.0), at_once);
    }

    #[test]
    fn the_standing_is_the_last_charge_said_again_until_its_window_has_passed() {
        let (policy, mut restarts, start) = (policy(1), Restarts::default(), Instant::now());
        let verdict = |restarts: &Restarts, at| Verdict::from(restarts.standing(&policy, at, 0.0));
        restarts.charge(&policy, start, 0.0);
        assert_eq!(verdict(&restarts, start), Verdict::RetryAfter(Duration::ZERO));
        restarts.charge(&policy, start, 0.0);
        for _ in 0..2 {
            assert_eq!(verdict(&restarts, start), Verdict::Quarantine { probe: PROBE });
        }
        let later = start + Duration::from_secs(60);
        assert_eq!(verdict(&restarts, later), Verdict::RetryAfter(Duration::ZERO));
    }

    #[test]
    fn a_released_part_starts_afresh() {
        let (policy, mut restarts) = (policy(5), Restarts::default());
        let first = burst(&mut restarts, &policy, 0.0);
        restarts.release();
        assert_eq!(burst(&mut restarts, &policy, 0.0), first);
    }

    proptest! {
        #[test]
        fn the_crashes_that_are_remembered_are_bounded(
            gaps in prop::collection::vec(0..90_000_u64, 0..60),
            max_restarts in 0..8_u32,
            chance in 0.0..=1.0,
        ) {
            let (policy, mut restarts) = (policy(max_restarts), Restarts::default());
            let mut now = Instant::now();
            let mut times = Vec::new();
            for gap in gaps {
                now += Duration::from_millis(gap);
                times.push(now);
                let recent = times.iter().filter(|at| now - **at < policy.window).count();
                let charge = restarts.charge(&policy, now, chance);
                prop_assert!(restarts.crashes.len() <= max_restarts as usize + 1);
                let exhausted = matches!(charge, Charge::Exhausted { .. });
                prop_assert_eq!(exhausted, recent > max_restarts as usize);
                if let Charge::Restart { after } = charge {
                    prop_assert!(after <= policy.delay.max_backoff);
                    prop_assert_eq!(after.is_zero(), recent == 1);
                }
            }
        }
    }
}
