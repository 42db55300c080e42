//! Finds the termination sequence in a stream, wherever reads split it.
//!
//! Pure: bytes in, a verdict out. Never holds bytes of a stream: what a session
//! keeps between two reads is one number, the length of the match in progress.

use std::sync::Arc;

use memchr::memchr;
use memchr::memmem::Finder;

use super::sys::screen::{BLOCK, lacking};

/// A termination sequence, prepared for searching; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Terminator {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    finder: Finder<'static>,
    /// `None` where the sequence is too short to be screened for.
    screen: Option<Screen>,
    /// `fallback[n]`: length of the longest proper prefix of the sequence that
    /// also ends its first `n` bytes (Knuth, Morris and Pratt, 1977).
    fallback: Box<[usize]>,
}

/// Blocks of one read that may turn out to be harmless before the rest of it is
/// searched without screening: some streams are full of what resembles the sequence.
/// Of 64 KiB at random eight resemble the default one, on average.
const PATIENCE: u32 = 32;

/// Pairs at the beginning of the sequence among which a screen chooses its two.
const PAIRS: usize = 64;

/// Says of a block, several times faster than a search, that the sequence is not there.
///
/// Wherever the sequence lies in a stream that is looked at two bytes at a time,
/// one of two pairs of its bytes falls into one look: a pair at an even place in
/// it, or one at an odd place. The two are chosen to differ in as few bits as
/// possible, and those are not looked at: so one comparison finds both.
#[derive(Debug, Clone, Copy)]
struct Screen {
    /// The bits in which both pairs agree.
    mask: u16,
    /// What they are.
    pair: u16,
}

impl Screen {
    /// `None` for one or two bytes, which hold no pair at an odd place.
    fn new(sequence: &[u8]) -> Option<Self> {
        let pairs: Vec<u16> = sequence.windows(2).take(PAIRS).map(as_pair).collect();
        let even = pairs.iter().step_by(2);
        let both =
            even.flat_map(|even| pairs.iter().skip(1).step_by(2).map(move |odd| (even, odd)));
        let (even, odd) = both.min_by_key(|(even, odd)| (*even ^ *odd).count_ones())?;
        let mask = !(even ^ odd);
        Some(Self { mask, pair: even & mask })
    }

    /// How many blocks from the first on have neither pair at an even place.
    fn clears(self, blocks: &[[u8; BLOCK]]) -> usize {
        lacking(blocks, self.pair, self.mask)
    }
}

/// Two bytes as [`Screen::clears`] sees them.
fn as_pair(bytes: &[u8]) -> u16 {
    u16::from_ne_bytes([bytes[0], bytes[1]])
}

/// One session's place in the sequence; needs no memory beyond itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Bytes of the sequence that end the stream so far; less than its length.
    matched: usize,
}

/// What one read means for the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feed {
    /// The sequence is not complete: echo the whole read.
    Pass,
    /// This read completes the first occurrence.
    Found {
        /// Bytes of this read that precede the sequence; 0 when it began in an
        /// earlier read.
        echo: usize,
    },
}

impl Terminator {
    /// Prepares `sequence`; `None` when it is empty, which means "never".
    ///
    /// Costs memory in proportion to the sequence, once a group: the
    /// configuration bounds it at 4096 bytes.
    #[must_use]
    pub(crate) fn new(sequence: &[u8]) -> Option<Self> {
        if sequence.is_empty() {
            return None;
        }
        let fallback = fallbacks(sequence);
        let finder = Finder::new(sequence).into_owned();
        let screen = Screen::new(sequence);
        Some(Self { shared: Arc::new(Shared { finder, screen, fallback }) })
    }

    fn sequence(&self) -> &[u8] {
        self.shared.finder.needle()
    }

    /// Where the first occurrence in `bytes` begins.
    ///
    /// A long read is screened block by block, and searched where a block may
    /// hold what betrays an occurrence, with as much around it as that reaches.
    #[inline(never)] // most short reads do without
    fn find(&self, bytes: &[u8]) -> Option<usize> {
        let Shared { finder, screen, .. } = &*self.shared;
        let around = finder.needle().len() - 1;
        let mut screened = 0_usize;
        if let Some(screen) = screen {
            let blocks = bytes.as_chunks().0;
            let mut patience = PATIENCE;
            loop {
                let left = &blocks[screened / BLOCK..];
                let clear = screen.clears(left);
                screened += clear * BLOCK;
                if clear == left.len() || patience == 0 {
                    break;
                }
                patience -= 1;
                let begin = screened.saturating_sub(around);
                let end = bytes.len().min(screened + BLOCK + around);
                if let Some(place) = finder.find(&bytes[begin..end]) {
                    return Some(begin + place);
                }
                screened += BLOCK;
            }
        }
        let begin = screened.saturating_sub(around);
        finder.find(&bytes[begin..]).map(|place| begin + place)
    }

    /// The match in progress after `byte` follows a match of `matched` bytes.
    fn advance(&self, mut matched: usize, byte: u8) -> usize {
        let sequence = self.sequence();
        while matched > 0 && sequence[matched] != byte {
            matched = self.shared.fallback[matched];
        }
        matched + usize::from(sequence[matched] == byte)
    }
}

/// The table of [`Shared::fallback`], one entry for each length short of the whole.
fn fallbacks(sequence: &[u8]) -> Box<[usize]> {
    let mut table = vec![0; sequence.len()];
    let mut matched = 0;
    for end in 1..sequence.len() {
        table[end] = matched;
        while matched > 0 && sequence[matched] != sequence[end] {
            matched = table[matched];
        }
        matched += usize::from(sequence[matched] == sequence[end]);
    }
    table.into_boxed_slice()
}

impl Scan {
    /// Judges the next read of the stream.
    ///
    /// After `Found` the scan is spent: the session ends there.
    #[inline]
    pub(crate) fn feed(&mut self, terminator: &Terminator, chunk: &[u8]) -> Feed {
        let length = terminator.sequence().len();
        // First follow what an earlier read began, until any match left to be
        // found lies wholly in this read.
        let mut consumed = 0;
        while self.matched > consumed {
            let Some(byte) = chunk.get(consumed) else {
                return Feed::Pass;
            };
            self.matched = terminator.advance(self.matched, *byte);
            consumed += 1;
            if self.matched == length {
                return Feed::Found { echo: consumed.saturating_sub(length) };
            }
        }
        let mut start = consumed - self.matched;
        if chunk.len() - start <= BLOCK {
            // One byte search says of most short reads that nothing begins there.
            let Some(first) = memchr(terminator.sequence()[0], &chunk[start..]) else {
                self.matched = 0;
                return Feed::Pass;
            };
            start += first;
        }
        if let Some(offset) = terminator.find(&chunk[start..]) {
            return Feed::Found { echo: start + offset };
        }
        self.matched = trailing_match(terminator, &chunk[start..]);
        Feed::Pass
    }
}

/// Length of the longest prefix of the sequence that ends `bytes`, which do not contain it.
fn trailing_match(terminator: &Terminator, bytes: &[u8]) -> usize {
    let sequence = terminator.sequence();
    let tail = &bytes[bytes.len().saturating_sub(sequence.len() - 1)..];
    // Most reads end nowhere near the sequence: one byte search says so.
    let Some(first) = memchr(sequence[0], tail) else {
        return 0;
    };
    tail[first..].iter().fold(0, |matched, byte| terminator.advance(matched, *byte))
}

// Named, because `benches/core` reads this file from another place.
#[cfg(test)]
#[path = "terminator/tests.rs"]
mod tests;
