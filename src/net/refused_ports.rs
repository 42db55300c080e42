//! Source ports that UDP listeners never answer; may change at any time.
//!
//! A bit a port, so that each datagram costs one look. Shared by all groups.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bits of a word.
const WORD: usize = 64;
/// Words of all 65,536 ports: 8 KiB.
const WORDS: usize = (1 << 16) / WORD;

/// A set of ports.
pub(crate) struct RefusedPorts(Box<[AtomicU64]>);

impl RefusedPorts {
    /// The ports of these inclusive ranges, in any order; reversed ones are empty.
    pub(crate) fn new(ranges: &[(u16, u16)]) -> Self {
        let ports = Self((0..WORDS).map(|_| AtomicU64::new(0)).collect());
        ports.set(ranges);
        ports
    }

    /// The ports of these ranges instead. Each port changes at once, and not all of
    /// them together.
    pub(crate) fn set(&self, ranges: &[(u16, u16)]) {
        let mut words = vec![0_u64; WORDS];
        for port in ranges.iter().flat_map(|(first, last)| *first..=*last).map(usize::from) {
            words[port / WORD] |= 1 << (port % WORD);
        }
        for (word, bits) in self.0.iter().zip(words) {
            word.store(bits, Ordering::Relaxed);
        }
    }

    /// Whether the port is among them.
    pub(crate) fn contains(&self, port: u16) -> bool {
        let port = usize::from(port);
        self.0[port / WORD].load(Ordering::Relaxed) >> (port % WORD) & 1 == 1
    }
}

impl fmt::Debug for RefusedPorts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports = self.0.iter().map(|word| word.load(Ordering::Relaxed).count_ones());
        out.debug_tuple("RefusedPorts").field(&ports.sum::<u32>()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_may_overlap_come_in_any_order_and_be_replaced() {
        let before = [(50, 60), (10, 20), (15, 30), (31, 40), (60, 60), (65535, 65535), (9, 8)];
        let ports = RefusedPorts::new(&before);
        let after = [(0, 0), (16, 16), (63, 64)];
        for (number, ranges) in [before.as_slice(), &after, &[(0, 65535)], &[]].iter().enumerate() {
            if number > 0 {
                ports.set(ranges);
            }
            for port in 0..=u16::MAX {
                let expected = ranges.iter().any(|(first, last)| (*first..=*last).contains(&port));
                assert_eq!(ports.contains(port), expected, "{port} of {ranges:?}");
            }
        }
    }
}
