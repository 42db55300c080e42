//! A token bucket whose state is one number: when it will be full again.

use std::num::NonZeroU32;

use super::seconds::SECOND;

/// How fast a bucket fills, and how much it holds. Unit: nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    /// What one takes.
    each: u64,
    /// What an empty bucket lacks.
    depth: u64,
}

impl Bucket {
    /// Holds as many as it gets in a second. Never more than `rate` a second: the time for
    /// each is rounded up to a whole nanosecond.
    pub(super) fn per_second(rate: NonZeroU32) -> Self {
        let rate = u64::from(rate.get());
        let each = SECOND.div_ceil(rate);
        Self { each, depth: each * rate }
    }

    /// Takes one; false, and nothing taken, where none is left.
    ///
    /// `full_at` is the bucket's state; one of 0 is full.
    pub(super) fn take(&self, full_at: &mut u64, now: u64) -> bool {
        let after = (*full_at).max(now).saturating_add(self.each);
        let fits = after - now <= self.depth;
        if fits {
            *full_at = after;
        }
        fits
    }
}
