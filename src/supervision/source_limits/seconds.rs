//! Counting by the second: how often something came, and for how long too often.

/// Unit: nanoseconds.
pub(super) const SECOND: u64 = 1_000_000_000;

/// How often something came in the present second, and in how many before it too often.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seconds {
    began: u64,
    count: u32,
    /// Whole seconds in a row, up to the present one, with too many.
    too_many_for: u32,
}

impl Seconds {
    /// It came once more. True where it comes too often: more than `most` times in this
    /// second or in the one before.
    pub(super) fn count(&mut self, now: u64, most: u32) -> bool {
        let passed = now.saturating_sub(self.began);
        if passed >= SECOND {
            let goes_on = passed < 2 * SECOND;
            let too_many = goes_on && self.count > most;
            *self = Self {
                began: if goes_on { self.began + SECOND } else { now },
                count: 0,
                too_many_for: if too_many { self.too_many_for + 1 } else { 0 },
            };
        }
        self.count += 1;
        self.count > most || self.too_many_for > 0
    }

    /// Whole seconds in a row, up to the present one, with too many.
    pub(super) const fn too_many_for(&self) -> u32 {
        self.too_many_for
    }
}
