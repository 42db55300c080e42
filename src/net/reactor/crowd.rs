//! Whether the connections of a thread come in crowds: several at a time, not one now and
//! then.
//!
//! Counts, and knows nothing of threads.

/// How much a turn that heard of several connections counts for; one that heard of a single
/// one counts for 1 on the other side.
const SEVERAL: u8 = 8;

/// At this sum it is a crowd, and at 0 it is none any more.
const MOST: u8 = 64;

/// What the turns so far have come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crowd {
    Absent(u8),
    Present(u8),
    /// Nobody wants to know.
    Unheeded,
}

impl Default for Crowd {
    fn default() -> Self {
        Self::Absent(0)
    }
}

impl Crowd {
    /// After a turn that heard of this many connections; and whether there is a crowd now,
    /// where that has changed.
    pub(super) fn heard_of(self, connections: usize) -> (Self, Option<bool>) {
        let counted = |sum: u8| match connections {
            0 => sum,
            1 => sum.saturating_sub(1),
            _ => MOST.min(sum + SEVERAL),
        };
        match self {
            Self::Unheeded => (self, None),
            Self::Absent(sum) if counted(sum) == MOST => (Self::Present(MOST), Some(true)),
            Self::Absent(sum) => (Self::Absent(counted(sum)), None),
            Self::Present(sum) if counted(sum) == 0 => (Self::Absent(0), Some(false)),
            Self::Present(sum) => (Self::Present(counted(sum)), None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of it, and how it changed on the way.
    fn after(mut crowd: Crowd, turns: impl IntoIterator<Item = usize>) -> (Crowd, Vec<bool>) {
        let mut changes = Vec::new();
        for connections in turns {
            let (next, turned) = crowd.heard_of(connections);
            crowd = next;
            changes.extend(turned);
        }
        (crowd, changes)
    }

    #[test]
    fn several_at_a_time_make_a_crowd_and_it_is_there_until_each_comes_alone() {
        let (crowd, changes) = after(Crowd::default(), [2; 7]);
        assert!(changes.is_empty());
        let (crowd, changes) = after(crowd, [64; 9]);
        assert_eq!((crowd, changes), (Crowd::Present(64), vec![true]));
        let (crowd, changes) = after(crowd, [1; 63]);
        assert_eq!((crowd, changes), (Crowd::Present(1), vec![]));
        let (crowd, changes) = after(crowd, [1, 1, 1]);
        assert_eq!((crowd, changes), (Crowd::Absent(0), vec![false]));
    }

    #[test]
    fn two_that_meet_now_and_then_are_none() {
        let meetings = (0..10_000).map(|turn| if turn % 9 == 0 { 2 } else { 1 });
        assert!(after(Crowd::default(), meetings).1.is_empty());
        let more = (0..10_000).map(|turn| if turn % 7 == 0 { 2 } else { 1 });
        assert_eq!(after(Crowd::default(), more).1, vec![true]);
    }

    #[test]
    fn turns_that_hear_of_nothing_change_nothing() {
        let (crowd, _) = after(Crowd::default(), [5; 8]);
        assert_eq!(after(crowd, [0; 1_000]), (crowd, vec![]));
    }

    #[test]
    fn what_nobody_wants_to_know_is_not_counted() {
        assert_eq!(after(Crowd::Unheeded, [64; 1_000]), (Crowd::Unheeded, vec![]));
    }
}
