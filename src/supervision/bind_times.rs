//! How long opening endpoints takes: a histogram of atomics, and its sums.
//!
//! Written by one worker's thread, added up over the workers when somebody
//! asks. Time is an argument.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds of the buckets, each included in its own; the last bucket, of
/// what took longer than all of them, has none.
const BOUNDS: [Duration; 12] = [
    Duration::from_micros(10),
    Duration::from_micros(25),
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(250),
    Duration::from_secs(1),
];
const BUCKETS: usize = BOUNDS.len() + 1;

/// What one worker's attempts took.
#[derive(Debug, Default)]
pub(super) struct BindClock {
    buckets: [AtomicU64; BUCKETS],
    nanos: AtomicU64,
}

/// Attempts to open an endpoint, by how long each took.
///
/// An attempt is socket(2), bind(2), listen(2) and the registration with the
/// event loop, whatever came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BindTimes {
    buckets: [u64; BUCKETS],
    nanos: u64,
}

impl BindClock {
    /// An attempt took so long.
    pub(super) fn took(&self, time: Duration) {
        let bucket = BOUNDS.iter().position(|bound| time <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.nanos.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }
}

impl BindTimes {
    /// Adds what one worker measured.
    pub(super) fn add(&mut self, clock: &BindClock) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&clock.buckets) {
            *sum += bucket.load(Relaxed);
        }
        self.nanos = self.nanos.wrapping_add(clock.nanos.load(Relaxed));
    }

    /// How many attempts there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// What all of them took together.
    #[must_use]
    pub const fn total(&self) -> Duration {
        Duration::from_nanos(self.nanos)
    }

    /// Each bucket's upper bound and how many attempts are in it and in no
    /// shorter one; the last bucket has no bound.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<Duration>, u64)> + '_ {
        let bounds = BOUNDS.into_iter().map(Some).chain([None]);
        bounds.zip(self.buckets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attempt_is_in_one_bucket_and_a_bound_belongs_to_its_own() {
        let clock = BindClock::default();
        let times = [0, 10, 11, 2_000_000].map(Duration::from_micros);
        times.into_iter().for_each(|time| clock.took(time));
        let mut sum = BindTimes::default();
        sum.add(&clock);
        sum.add(&clock);
        let filled: Vec<_> = sum.buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(Some(BOUNDS[0]), 4), (Some(BOUNDS[1]), 2), (None, 2)]);
        assert_eq!((sum.count(), sum.total()), (8, Duration::from_micros(4_000_042)));
    }
}
