//! The termination matcher against a search of the whole stream.
//!
//! Input: the sequence's length, the sequence, then reads, each behind a byte with its
//! length. Sequences are short, so that starts, near matches and overlaps abound.
#![no_main]

use libfuzzer_sys::fuzz_target;
use terminator::{Feed, Scan, Terminator};

// The library keeps them private; they need nothing else of the crate.
#[path = "../../src/net/sys/screen.rs"]
mod screen;
#[path = "../../src/net/terminator.rs"]
mod terminator;

/// As in the library, where the file looks for it.
mod sys {
    pub(crate) use super::screen;
}

/// Longest sequence that is tried. Unit: bytes.
const LONGEST: usize = 16;
/// Longest read that is tried. Unit: bytes.
const LONGEST_READ: usize = 40;

fuzz_target!(|data: &[u8]| {
    let Some((length, rest)) = data.split_first() else { return };
    let Some((sequence, mut rest)) = rest.split_at_checked(usize::from(*length) % LONGEST) else {
        return;
    };
    let Some(terminator) = Terminator::new(sequence) else {
        assert!(sequence.is_empty(), "only an empty sequence is none");
        return;
    };
    let mut scan = Scan::default();
    let mut stream = Vec::new();
    while let Some((length, tail)) = rest.split_first() {
        let (read, tail) = tail.split_at(tail.len().min(usize::from(*length) % LONGEST_READ));
        rest = tail;
        let before = stream.len();
        stream.extend_from_slice(read);
        let place = stream.windows(sequence.len()).position(|window| window == sequence);
        match (scan.feed(&terminator, read), place) {
            (Feed::Pass, None) => {}
            (Feed::Found { echo }, Some(place)) => {
                assert_eq!(echo, place.saturating_sub(before), "{sequence:?} in {stream:?}");
                return;
            }
            (verdict, place) => panic!("{verdict:?}, but {sequence:?} is at {place:?}"),
        }
    }
});
