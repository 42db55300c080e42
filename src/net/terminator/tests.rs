//! The search against a naive one, on streams that are split anywhere.

use super::*;
use proptest::prelude::*;

fn terminator(sequence: &[u8]) -> Terminator {
    Terminator::new(sequence).expect("a sequence")
}

/// Feeds the reads; the number of the read that completed it and its echo.
fn run<'a>(sequence: &[u8], reads: impl IntoIterator<Item = &'a [u8]>) -> Option<(usize, usize)> {
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

/// One read of a few blocks, of bytes that screens like and dislike, with the
/// sequence wherever blocks may split it.
fn long_read() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let sequence = prop_oneof![
        2 => Just(b"!!quit!!".to_vec()),
        3 => prop::collection::vec(prop::sample::select(b"ab!q".to_vec()), 1..12),
        1 => prop::collection::vec(any::<u8>(), 1..600),
    ];
    let filler = prop_oneof![
        any::<u8>().prop_map(|byte| vec![byte]),
        prop::collection::vec(prop::sample::select(b"ab!qx".to_vec()), 1..5),
    ];
    let places = prop::collection::vec(0..4 * BLOCK, 0..3);
    let read = (filler, 0..4 * BLOCK);
    (sequence, read, places).prop_map(|(sequence, (filler, length), places)| {
        let mut read: Vec<u8> = filler.into_iter().cycle().take(length).collect();
        for place in places {
            let place = place.min(read.len());
            let end = read.len().min(place + sequence.len());
            read.splice(place..end, sequence.iter().copied());
        }
        (sequence, read)
    })
}

/// 20,000 cases, or as many as `PROPTEST_CASES` asks for beyond that.
fn cases() -> ProptestConfig {
    let cases = ProptestConfig::default().cases.max(20_000);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

#[test]
fn a_sequence_across_the_edge_of_a_block_is_found_at_every_place() {
    for sequence in [&b"!!quit!!"[..], b"abc", b"ab", b"a", &[b'z'; 700]] {
        for place in 0..2 * BLOCK + 8 {
            let mut read = vec![b'.'; place];
            read.extend_from_slice(sequence);
            read.resize(read.len() + 3 * BLOCK, b'.');
            assert_eq!(run(sequence, [&read[..]]), Some((0, place)), "{}", sequence.len());
        }
    }
}

#[test]
fn a_read_that_is_full_of_near_matches_is_searched_from_end_to_end() {
    for before in [0, 1, 40 * 64, 80 * 64] {
        let mut read = b"!!quit! ".repeat(before);
        read.extend_from_slice(b"!!quit!!");
        read.extend(b"!!quit! ".repeat(80 * 64 - before));
        assert_eq!(run(b"!!quit!!", [&read[..]]), Some((0, 8 * before)));
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn the_first_sequence_in_a_long_read_is_found((sequence, read) in long_read()) {
        let place = read.windows(sequence.len()).position(|window| window == sequence);
        prop_assert_eq!(run(&sequence, [&read[..]]), place.map(|place| (0, place)));
    }

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
