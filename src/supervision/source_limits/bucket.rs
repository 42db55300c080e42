//! A token bucket whose state is one number: when it will be full again.
//!
//! A state keeps its meaning where the rate changes: who has used up half of its
//! second has half a second left, whatever that is worth.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use super::seconds::SECOND;

/// How fast a bucket fills, and how much it holds. Unit: nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    /// What one takes.
    each: u64,
    /// What an empty bucket lacks.
    depth: u64,
}

/// A bucket that may change at any time, or be none; one word.
#[derive(Debug)]
pub(super) struct LiveBucket(AtomicU64);

impl LiveBucket {
    /// `None` = no bucket.
    pub(super) fn new(rate: Option<NonZeroU32>) -> Self {
        Self(AtomicU64::new(rate.map_or(0, pack)))
    }

    /// Another bucket from now on.
    pub(super) fn set(&self, rate: Option<NonZeroU32>) {
        self.0.store(rate.map_or(0, pack), Ordering::Relaxed);
    }

    /// The bucket of this moment.
    pub(super) fn get(&self) -> Option<Bucket> {
        let packed = self.0.load(Ordering::Relaxed);
        let (each, rate) = (packed >> 32, packed & u64::from(u32::MAX));
        (packed > 0).then_some(Bucket { each, depth: each * rate })
    }
}

/// The time for each and the rate: both are below 2^32.
fn pack(rate: NonZeroU32) -> u64 {
    Bucket::per_second(rate).each << 32 | u64::from(rate.get())
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
