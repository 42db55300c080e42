//! Finds the termination sequence in a stream, wherever reads split it.
//!
//! Pure: bytes in, a verdict out. Never holds bytes of a stream: what a session
//! keeps between two reads is one number, the length of the match in progress.

use std::sync::Arc;

use memchr::memchr;
use memchr::memmem::Finder;

/// A termination sequence, prepared for searching; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Terminator {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    finder: Finder<'static>,
    /// `fallback[n]`: length of the longest proper prefix of the sequence that
    /// also ends its first `n` bytes (Knuth, Morris and Pratt, 1977).
    fallback: Box<[usize]>,
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
        Some(Self { shared: Arc::new(Shared { finder, fallback }) })
    }

    fn sequence(&self) -> &[u8] {
        self.shared.finder.needle()
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
        let start = consumed - self.matched;
        if let Some(offset) = terminator.shared.finder.find(&chunk[start..]) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn terminator(sequence: &[u8]) -> Terminator {
        Terminator::new(sequence).expect("a sequence")
    }

    /// Feeds the reads; the number of the read that completed it and its echo.
    fn run<'a>(
        sequence: &[u8],
        reads: impl IntoIterator<Item = &'a [u8]>,
    ) -> Option<(usize, usize)> {
        let terminator = terminator(sequence);
        let mut scan = Scan::default();
        for (number, read) in reads.into_iter().enumerate() {
            if let Feed::Found { echo } = scan.feed(&terminator, read) {
                return Some((number, echo));
            }
        }
        None
    }

    /// The same by looking at the whole stream after each read.
    fn oracle(sequence: &[u8], reads: &[Vec<u8>]) -> Option<(usize, usize)> {
        let mut stream = Vec::new();
        for (number, read) in reads.iter().enumerate() {
            let before = stream.len();
            stream.extend_from_slice(read);
            let found = stream.windows(sequence.len()).position(|window| window == sequence);
            if let Some(place) = found {
                return Some((number, place.saturating_sub(before)));
            }
        }
        None
    }

    #[test]
    fn an_empty_sequence_is_no_terminator() {
        assert!(Terminator::new(b"").is_none());
    }

    #[test]
    fn a_sequence_inside_one_read_leaves_the_bytes_before_it() {
        assert_eq!(run(b"!!quit!!", [&b"hello!!quit!!rest"[..]]), Some((0, 5)));
    }

    #[test]
    fn a_sequence_split_at_every_boundary_is_found_once() {
        let stream = b"ab!!quit!!cd";
        for split in 1..stream.len() {
            let (left, right) = stream.split_at(split);
            let expected = match split {
                10.. => (0, 2),
                2.. => (1, 0),
                _ => (1, 2 - split),
            };
            assert_eq!(run(b"!!quit!!", [left, right]), Some(expected), "split at {split}");
        }
    }

    #[test]
    fn an_overlapping_start_does_not_hide_the_sequence() {
        assert_eq!(run(b"aab", [&b"aaab"[..]]), Some((0, 1)));
        assert_eq!(run(b"aab", b"aaab".chunks(1)), Some((3, 0)));
        assert_eq!(run(b"aab", [&b"aa"[..], b"ab"]), Some((1, 0)));
    }

    #[test]
    fn a_near_match_at_the_end_of_the_stream_is_none() {
        assert_eq!(run(b"!!quit!!", [&b"!!quit!"[..], b"?"]), None);
        assert_eq!(run(b"!!quit!!", [&b"!!quit!"[..]]), None);
    }

    #[test]
    fn an_earlier_near_match_does_not_shift_a_later_sequence() {
        assert_eq!(run(b"!!quit!!", [&b"x!!qui"[..], b"!!quit!!"]), Some((1, 0)));
        assert_eq!(run(b"!!quit!!", [&b"x!!qui"[..], b"ab!!quit!!"]), Some((1, 2)));
    }

    #[test]
    fn a_sequence_of_the_greatest_length_is_found_in_one_byte_reads() {
        let mut sequence = vec![b'a'; 4095];
        sequence.push(b'b');
        let mut stream = vec![b'a'; 5000];
        stream.push(b'b');
        assert_eq!(run(&sequence, stream.chunks(1)), Some((5000, 0)));
        assert_eq!(run(&sequence, [&stream[..]]), Some((0, 905)));
    }

    /// Reads of a two-letter alphabet, so that overlaps and near matches abound.
    fn reads() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let byte = prop_oneof![4 => Just(b'a'), 2 => Just(b'b'), 1 => Just(b'c')];
        prop::collection::vec(prop::collection::vec(byte, 0..9), 0..12)
    }

    /// 20,000 cases, or as many as `PROPTEST_CASES` asks for beyond that.
    fn cases() -> ProptestConfig {
        let cases = ProptestConfig::default().cases.max(20_000);
        ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
    }

    proptest! {
        #![proptest_config(cases())]

        #[test]
        fn the_first_sequence_is_found_however_reads_split_it(
            sequence in "[ab]{1,6}",
            reads in reads(),
        ) {
            let sequence = sequence.as_bytes();
            let found = run(sequence, reads.iter().map(Vec::as_slice));
            prop_assert_eq!(found, oracle(sequence, &reads));
        }
    }
}
