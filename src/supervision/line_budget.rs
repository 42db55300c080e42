//! How many log lines a second failures may write; the rest is counted.

use std::time::{Duration, Instant};

/// A bound on lines a second.
#[derive(Debug, Clone)]
pub struct LineBudget {
    per_second: u32,
    began: Option<Instant>,
    used: u32,
    suppressed: u64,
}

/// Whether one line may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// It may.
    pub granted: bool,
    /// So many could not be in the seconds before; said once.
    pub suppressed: Option<u64>,
}

impl LineBudget {
    /// At most `per_second` lines in any second that begins with a line.
    #[must_use]
    pub const fn new(per_second: u32) -> Self {
        Self { per_second, began: None, used: 0, suppressed: 0 }
    }

    /// Asks for one line `now`.
    pub fn take(&mut self, now: Instant) -> Turn {
        let is_over = |began: Instant| now.duration_since(began) >= Duration::from_secs(1);
        let mut suppressed = None;
        if self.began.is_none_or(is_over) {
            self.began = Some(now);
            self.used = 0;
            suppressed = Some(std::mem::take(&mut self.suppressed)).filter(|lines| *lines > 0);
        }
        let granted = self.used < self.per_second;
        if granted {
            self.used += 1;
        } else {
            self.suppressed += 1;
        }
        Turn { granted, suppressed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_budget_are_counted_and_told_in_the_next_second() {
        let start = Instant::now();
        let mut budget = LineBudget::new(2);
        let granted: Vec<_> = (0..5).map(|_| budget.take(start).granted).collect();
        assert_eq!(granted, [true, true, false, false, false]);
        let next = budget.take(start + Duration::from_secs(1));
        assert_eq!(next, Turn { granted: true, suppressed: Some(3) });
        assert_eq!(budget.take(start + Duration::from_secs(1)).suppressed, None);
    }
}
