//! A set of ports: numbers, and ports that the kernel shall choose.
//!
//! Holds counting, indexing and lookup in logarithmic time. Never knows an address.

use super::Port;
use super::ranges::RangeSet;

/// Numbers come after every port of the kernel's choice, with a gap between.
const NUMBERS: u64 = 1 << 32;

/// A sorted set of ports; what it holds is never listed one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortSet {
    runs: Vec<Run>,
    len: u64,
}

/// A run of neighbouring ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    first: u64,
    last: u64,
    /// How many ports come before this run.
    before: u64,
}

/// A port as a number that sorts as the port does.
pub(crate) const fn key(port: Port) -> u64 {
    match port {
        Port::Ephemeral(ordinal) => ordinal as u64,
        Port::Number(number) => NUMBERS + number as u64,
    }
}

pub(crate) fn port(key: u64) -> Port {
    let [.., high, low] = key.to_be_bytes();
    match u32::try_from(key) {
        Ok(ordinal) => Port::Ephemeral(ordinal),
        Err(_) => Port::Number(u16::from_be_bytes([high, low])),
    }
}

impl PortSet {
    pub(crate) fn new(keys: &RangeSet<u64>) -> Self {
        let mut len = 0;
        let runs = keys
            .ranges()
            .iter()
            .map(|&(first, last)| {
                let before = len;
                len += last - first + 1;
                Run { first, last, before }
            })
            .collect();
        Self { runs, len }
    }

    /// How many ports; a port of the kernel's choice counts as one.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// True when there is no port.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The port at `index`, in sort order.
    #[must_use]
    pub fn get(&self, index: u64) -> Option<Port> {
        let (_, key) = self.seek(index)?;
        Some(port(key))
    }

    /// The place of `port` in sort order.
    #[must_use]
    pub fn index_of(&self, port: Port) -> Option<u64> {
        let key = key(port);
        let run = self.runs.get(self.runs.partition_point(|run| run.last < key))?;
        (run.first <= key).then(|| run.before + (key - run.first))
    }

    /// The first port whose key is not below `key`: its place, and its key.
    pub(crate) fn next_from(&self, key: u64) -> Option<(u64, u64)> {
        let run = self.runs.get(self.runs.partition_point(|run| run.last < key))?;
        let found = run.first.max(key);
        Some((run.before + (found - run.first), found))
    }

    /// True when `port` is in the set.
    #[must_use]
    pub fn contains(&self, port: Port) -> bool {
        self.index_of(port).is_some()
    }

    /// The numbered ports, as sorted inclusive ranges that do not touch.
    pub fn numbers(&self) -> impl DoubleEndedIterator<Item = (u16, u16)> + '_ {
        self.runs.iter().filter_map(|run| match (port(run.first), port(run.last)) {
            (Port::Number(first), Port::Number(last)) => Some((first, last)),
            _ => None,
        })
    }

    /// How many of the ports the kernel shall choose.
    #[must_use]
    pub fn chosen_by_kernel(&self) -> u64 {
        self.runs.iter().filter(|run| run.first < NUMBERS).map(|run| run.last - run.first + 1).sum()
    }

    /// How many numbered ports lie in `first..=last`.
    #[must_use]
    pub fn count_between(&self, first: u16, last: u16) -> u64 {
        self.numbers()
            .map(|run| (run.0.max(first), run.1.min(last)))
            .filter(|(low, high)| low <= high)
            .map(|(low, high)| u64::from(high - low) + 1)
            .sum()
    }

    /// The lowest numbered port that both sets hold.
    #[must_use]
    pub fn first_common(&self, other: &Self) -> Option<u16> {
        let (mut mine, mut theirs) = (self.numbers().peekable(), other.numbers().peekable());
        while let (Some(left), Some(right)) = (mine.peek(), theirs.peek()) {
            if left.0.max(right.0) <= left.1.min(right.1) {
                return Some(left.0.max(right.0));
            }
            if left.1 < right.1 {
                mine.next();
            } else {
                theirs.next();
            }
        }
        None
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.runs.iter().map(|run| (run.first, run.last))
    }

    /// The run of the port at `index`, and the port's key.
    fn seek(&self, index: u64) -> Option<(usize, u64)> {
        if index >= self.len {
            return None;
        }
        let run = self.runs.partition_point(|run| run.before <= index).checked_sub(1)?;
        let found = self.runs.get(run)?;
        Some((run, found.first + (index - found.before)))
    }
}

/// A place in a port set that moves on in constant time.
#[derive(Debug, Clone)]
pub(crate) struct PortCursor {
    run: usize,
    key: u64,
}

impl PortCursor {
    pub(crate) fn at(ports: &PortSet, index: u64) -> Option<Self> {
        ports.seek(index).map(|(run, key)| Self { run, key })
    }

    pub(crate) fn port(&self) -> Port {
        port(self.key)
    }

    /// The next place; `None` behind the last port.
    pub(crate) fn next(&self, ports: &PortSet) -> Option<Self> {
        if self.key < ports.runs.get(self.run)?.last {
            return Some(Self { run: self.run, key: self.key + 1 });
        }
        let run = self.run + 1;
        ports.runs.get(run).map(|found| Self { run, key: found.first })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ports: &[(Port, Port)]) -> PortSet {
        let keys = ports.iter().map(|(first, last)| (key(*first), key(*last))).collect();
        PortSet::new(&RangeSet::new(keys))
    }

    fn numbers(ranges: &[(u16, u16)]) -> PortSet {
        let ports: Vec<_> =
            ranges.iter().map(|(low, high)| (Port::Number(*low), Port::Number(*high))).collect();
        set(&ports)
    }

    #[test]
    fn every_port_is_found_at_the_index_that_it_has() {
        let ports = set(&[
            (Port::Ephemeral(3), Port::Ephemeral(4)),
            (Port::Ephemeral(u32::MAX), Port::Ephemeral(u32::MAX)),
            (Port::Number(1), Port::Number(2)),
            (Port::Number(65535), Port::Number(65535)),
        ]);
        assert_eq!((ports.len(), ports.chosen_by_kernel()), (6, 3));
        let mut cursor = PortCursor::at(&ports, 0);
        for index in 0..6 {
            let port = ports.get(index).expect("six ports");
            assert_eq!(ports.index_of(port), Some(index));
            let place = cursor.expect("a cursor for each port");
            assert_eq!(place.port(), port);
            cursor = place.next(&ports);
        }
        assert!(cursor.is_none());
        assert_eq!(ports.get(6), None);
        assert_eq!(ports.index_of(Port::Number(3)), None);
        assert_eq!(ports.numbers().collect::<Vec<_>>(), [(1, 2), (65535, 65535)]);
    }

    #[test]
    fn the_lowest_common_port_of_two_sets_is_found() {
        let ports = numbers(&[(1, 3), (10, 20)]);
        assert_eq!(ports.first_common(&numbers(&[(4, 9), (15, 30)])), Some(15));
        assert_eq!(ports.first_common(&numbers(&[(4, 9), (21, 30)])), None);
        assert_eq!(ports.count_between(3, 11), 3);
    }
}
