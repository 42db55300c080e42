//! Sorted, disjoint, inclusive ranges of numbers.
//!
//! Holds set arithmetic for ports (`u64`) and addresses (`u128`) alike. Never
//! knows what a number stands for; never overflows at either end.

/// A number with neighbours.
pub(crate) trait Key: Copy + Ord {
    fn up(self) -> Option<Self>;
    fn down(self) -> Option<Self>;
}

impl Key for u64 {
    fn up(self) -> Option<Self> {
        self.checked_add(1)
    }
    fn down(self) -> Option<Self> {
        self.checked_sub(1)
    }
}

impl Key for u128 {
    fn up(self) -> Option<Self> {
        self.checked_add(1)
    }
    fn down(self) -> Option<Self> {
        self.checked_sub(1)
    }
}

/// A set of numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RangeSet<T>(Vec<(T, T)>);

impl<T: Key> RangeSet<T> {
    /// The union of ranges in any order; each must have `first <= last`.
    pub(crate) fn new(mut ranges: Vec<(T, T)>) -> Self {
        ranges.sort_unstable();
        let mut merged: Vec<(T, T)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some(open) if open.1.up().is_none_or(|next| first <= next) => {
                    open.1 = open.1.max(last);
                }
                _ => merged.push((first, last)),
            }
        }
        Self(merged)
    }

    pub(crate) fn ranges(&self) -> &[(T, T)] {
        &self.0
    }

    pub(crate) fn contains(&self, number: T) -> bool {
        self.next_from(number) == Some(number)
    }

    /// The lowest number of the set that is not below `number`.
    pub(crate) fn next_from(&self, number: T) -> Option<T> {
        let found = self.0.get(self.0.partition_point(|range| range.1 < number))?;
        Some(found.0.max(number))
    }

    /// What of `range` is not in this set.
    pub(crate) fn remove_from(&self, range: (T, T), mut keep: impl FnMut(T, T)) {
        let (mut first, last) = range;
        let start = self.0.partition_point(|hole| hole.1 < first);
        for hole in &self.0[start..] {
            if hole.0 > last {
                break;
            }
            if let Some(before) = hole.0.down().filter(|before| *before >= first) {
                keep(first, before);
            }
            match hole.1.up() {
                Some(next) if next <= last => first = next,
                _ => return,
            }
        }
        keep(first, last);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn touching_ranges_become_one_even_at_the_last_number() {
        let set = RangeSet::new(vec![(5, u64::MAX), (0, 1), (2, 3), (7, u64::MAX)]);
        assert_eq!(set.ranges(), [(0, 3), (5, u64::MAX)]);
    }

    #[test]
    fn nothing_is_left_of_a_range_that_is_wholly_removed() {
        let all = RangeSet::new(vec![(0, u128::MAX)]);
        all.remove_from((0, u128::MAX), |_, _| unreachable!("nothing is left"));
    }

    proptest! {
        #[test]
        fn removal_keeps_exactly_what_is_outside(
            holes in prop::collection::vec((0_u64..40, 0_u64..5), 0..8),
            first in 0_u64..40,
            length in 0_u64..20,
        ) {
            let holes: Vec<_> = holes.into_iter().map(|(at, more)| (at, at + more)).collect();
            let inside = |number| holes.iter().any(|hole| hole.0 <= number && number <= hole.1);
            let expected: Vec<u64> =
                (first..=first + length).filter(|number| !inside(*number)).collect();
            let mut left = Vec::new();
            RangeSet::new(holes.clone())
                .remove_from((first, first + length), |low, high| left.extend(low..=high));
            prop_assert_eq!(left, expected);
        }
    }
}
