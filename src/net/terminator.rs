//! Finds the termination sequence in a stream, wherever reads split it.
//!
//! Pure: bytes in, a verdict out. Never holds bytes of a stream: what a session
//! keeps between two reads is one number, the length of the match in progress.

use std::sync::Arc;

use memchr::memchr;
use memchr::memmem::Finder;

use super::sys::screen::{BLOCK, Traces, lacking};

/// A termination sequence, prepared for searching; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Terminator {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    finder: Finder<'static>,
    /// `None` where the sequence is too short to be screened for.
    traces: Option<Traces>,
    /// `fallback[n]`: length of the longest proper prefix of the sequence that
    /// also ends its first `n` bytes (Knuth, Morris and Pratt, 1977).
    fallback: Box<[usize]>,
}

/// Blocks of one read that may turn out to be harmless before the rest of it is
/// searched without screening: some streams are full of what resembles the sequence.
/// One in four reads of 64 KiB at random has one that resembles the default.
const PATIENCE: u32 = 32;

/// Words at the beginning of a sequence among which its traces are chosen, times their width.
const CHOICE: usize = 64;

/// What betrays a sequence in a block, several times faster than a search for it; `None`
/// for one of one or two bytes.
///
/// Wherever the sequence lies in a stream that is looked at four bytes at a time, one of four
/// words of it falls into one look: one at a place in it that four divides, or one, two or
/// three behind such a place. The four are chosen to agree in as many bits as possible, and
/// only those are looked at: so one comparison finds all four. The same holds for looks at two
/// bytes and two words, which are taken where fewer other bytes resemble them, or where the
/// sequence has less than seven bytes.
fn traces(sequence: &[u8]) -> Option<Traces> {
    let pair = |bytes: &[u8]| u32::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
    let quad = |bytes: &[u8]| u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let pairs: Vec<u32> = sequence.windows(2).take(CHOICE / 2).map(pair).collect();
    let quads: Vec<u32> = sequence.windows(4).take(CHOICE / 4).map(quad).collect();
    let (mask, pair) = agreement(&pairs, 2, u16::MAX.into())?;
    let bits = mask.count_ones();
    Some(match agreement(&quads, 4, u32::MAX) {
        // There are half as many looks.
        Some((mask, quad)) if mask.count_ones() + 1 >= bits => Traces::Quads { mask, quad },
        _ => Traces::Pairs { mask: mask as u16, pair: pair as u16 },
    })
}

/// The bits of `all` in which one word of each place modulo `width` agrees with the others,
/// and what they are: of the choice that agrees in the most. `None` where a place has none.
fn agreement(words: &[u32], width: usize, all: u32) -> Option<(u32, u32)> {
    let at = |place| words.iter().skip(place).step_by(width);
    let mut choices: Vec<(u32, u32)> = at(0).map(|word| (all, *word)).collect();
    for place in 1..width {
        let with =
            |(mask, word): (u32, u32)| at(place).map(move |other| (mask & !(word ^ other), word));
        choices = choices.into_iter().flat_map(with).collect();
    }
    let (mask, word) = choices.into_iter().max_by_key(|(mask, _)| mask.count_ones())?;
    Some((mask, word & mask))
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
        let traces = traces(sequence);
        Some(Self { shared: Arc::new(Shared { finder, traces, fallback }) })
    }

    fn sequence(&self) -> &[u8] {
        self.shared.finder.needle()
    }

    /// Where the first occurrence in `bytes` begins.
    ///
    /// A long read is screened block by block, and searched where a block may
    /// hold what betrays an occurrence, with as much around it as that reaches.
    /// From its end: that is what the nearest cache still holds of it, and
    /// afterwards its beginning, which is sent first.
    #[inline(never)] // most short reads do without
    fn find(&self, bytes: &[u8]) -> Option<usize> {
        let Shared { finder, traces, .. } = &*self.shared;
        let Some(traces) = *traces else { return finder.find(bytes) };
        let around = finder.needle().len() - 1;
        let (mut blocks, _) = bytes.as_chunks::<BLOCK>();
        let find = |begin: usize, end: usize| {
            let begin = begin.saturating_sub(around);
            let end = bytes.len().min(end + around);
            finder.find(&bytes[begin..end]).map(|place| begin + place)
        };
        let mut first = find(blocks.len() * BLOCK, bytes.len());
        for _ in 0..PATIENCE {
            let clear = lacking(blocks, traces);
            blocks = &blocks[..blocks.len() - clear];
            let Some((_, before)) = blocks.split_last() else { return first };
            first = find(before.len() * BLOCK, blocks.len() * BLOCK).or(first);
            blocks = before;
        }
        find(0, blocks.len() * BLOCK).or(first)
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
