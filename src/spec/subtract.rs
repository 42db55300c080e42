//! A list of items less its exclusions, whatever their order.
//!
//! Holds the arithmetic that addresses and ports share. Never knows which of
//! the two it works on.

use std::collections::BTreeMap;

use super::ranges::{Key, RangeSet};

/// A range in one group of numbers that are neighbours.
pub(crate) type Block<G, T> = (G, T, T);

/// Inclusive ranges by group. They may overlap: every mention counts.
pub(crate) type Mentioned<G, T> = BTreeMap<G, Vec<(T, T)>>;

/// What the items of a list name and what they take away.
#[derive(Debug, Clone)]
pub(crate) struct Lists<G, T> {
    pub(crate) named: Vec<Block<G, T>>,
    /// With the index of the item that excludes it, ascending.
    pub(crate) excluded: Vec<(usize, Block<G, T>)>,
}

/// What is left of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Left<G, T> {
    /// At least one number.
    Some(Mentioned<G, T>),
    /// Nothing was named in the first place.
    NothingNamed,
    /// This item took the last number away.
    EmptiedBy(usize),
    /// More than `limit` separate ranges.
    TooMany,
}

impl<G: Copy + Ord, T: Key> Lists<G, T> {
    pub(crate) const fn new() -> Self {
        Self { named: Vec::new(), excluded: Vec::new() }
    }

    /// Subtracts; gives up on more than `limit` ranges.
    pub(crate) fn left(&self, limit: usize) -> Left<G, T> {
        if self.named.is_empty() {
            return Left::NothingNamed;
        }
        match self.without(self.excluded.len(), limit) {
            None => Left::TooMany,
            Some(left) if !left.is_empty() => Left::Some(left),
            Some(_) => {
                let emptied =
                    |count| self.without(count, limit).is_some_and(|left| left.is_empty());
                let (mut low, mut high) = (0, self.excluded.len());
                while high - low > 1 {
                    let middle = low.midpoint(high);
                    if emptied(middle) {
                        high = middle;
                    } else {
                        low = middle;
                    }
                }
                Left::EmptiedBy(self.excluded.get(low).map_or(0, |(item, _)| *item))
            }
        }
    }

    /// What is named less the first `count` exclusions; `None` past `limit` ranges.
    fn without(&self, count: usize, limit: usize) -> Option<Mentioned<G, T>> {
        let mut holes = BTreeMap::<G, Vec<(T, T)>>::new();
        for (_, (group, first, last)) in &self.excluded[..count] {
            holes.entry(*group).or_default().push((*first, *last));
        }
        let holes: BTreeMap<G, RangeSet<T>> =
            holes.into_iter().map(|(group, holes)| (group, RangeSet::new(holes))).collect();
        let mut left = Mentioned::new();
        let mut total = 0;
        for (group, first, last) in &self.named {
            let mut keep = |low, high| {
                total += 1;
                if total <= limit {
                    left.entry(*group).or_insert_with(Vec::new).push((low, high));
                }
            };
            match holes.get(group) {
                Some(holes) => holes.remove_from((*first, *last), keep),
                None => keep(*first, *last),
            }
            if total > limit {
                return None;
            }
        }
        Some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(named: &[(u64, u64)], excluded: &[(usize, u64, u64)]) -> Lists<(), u64> {
        Lists {
            named: named.iter().map(|(first, last)| ((), *first, *last)).collect(),
            excluded: excluded.iter().map(|(item, low, high)| (*item, ((), *low, *high))).collect(),
        }
    }

    #[test]
    fn every_mention_is_left_as_often_as_it_was_named() {
        let left = lists(&[(1, 9), (5, 5)], &[(2, 3, 4)]).left(9);
        assert_eq!(left, Left::Some(BTreeMap::from([((), vec![(1, 2), (5, 9), (5, 5)])])));
    }

    #[test]
    fn the_exclusion_that_takes_the_last_number_is_named() {
        let lists = lists(&[(1, 9)], &[(1, 1, 3), (4, 4, 9), (7, 100, 200)]);
        assert_eq!(lists.left(9), Left::EmptiedBy(4));
    }

    #[test]
    fn a_list_that_names_nothing_was_emptied_by_nobody() {
        assert_eq!(lists(&[], &[(0, 1, 2)]).left(9), Left::NothingNamed);
    }

    #[test]
    fn a_list_in_too_many_pieces_is_given_up() {
        assert_eq!(lists(&[(1, 9)], &[(1, 3, 3), (2, 5, 5)]).left(2), Left::TooMany);
    }
}
