//! The pump on scripted streams and pipes; `real.rs` has it on real sockets.

mod real;
mod script;

use std::future::poll_fn;
use std::io;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;
use script::{Driven, Read, Script, Write};

fn terminator(sequence: &str) -> Option<Terminator> {
    Terminator::new(sequence.as_bytes())
}

fn bytes(text: &str) -> Read {
    Read::Bytes(text.into())
}

/// Runs a session over the script to its end, with a buffer of 8 bytes.
fn drive(script: Script, mode: Mode, sequence: &str) -> Driven {
    Driven::run(Pump::new(script, mode, terminator(sequence)), 8)
}

#[test]
fn every_byte_comes_back_and_the_fin_is_left_to_the_close() {
    let driven = drive(Script::reading([bytes("hello"), bytes(" world")]), Mode::Echo, "");
    assert_eq!(driven.end, End::Eof);
    assert_eq!(driven.script().written, b"hello world");
    assert!(!driven.script().shut, "a call for nothing");
    assert_eq!(driven.tally, Tally { read: 11, written: 11, ..Tally::default() });
}

#[test]
fn discard_reads_and_counts_and_answers_nothing() {
    let driven = drive(Script::reading([bytes("hello")]), Mode::Discard, "");
    assert_eq!(
        (driven.end, driven.tally.clone()),
        (End::Eof, Tally { read: 5, written: 0, ..Tally::default() })
    );
    assert!(driven.script().written.is_empty());
}

#[test]
fn discard_still_finds_the_termination_sequence() {
    let driven =
        drive(Script::reading([bytes("he"), bytes("llo"), bytes("rest")]), Mode::Discard, "el");
    assert_eq!((driven.end, driven.tally.written), (End::Terminated, 0));
}

#[test]
fn the_bytes_before_the_sequence_are_echoed_and_none_after() {
    let driven = drive(Script::reading([bytes("ab!q!cd"), bytes("ef")]), Mode::Echo, "!q!");
    assert_eq!(driven.end, End::Terminated);
    assert_eq!(driven.script().written, b"ab");
    assert!(driven.script().shut, "closing would reset what is unread");
    assert_eq!(driven.tally, Tally { read: 9, written: 2, ..Tally::default() });
}

#[test]
fn a_near_match_before_the_end_is_echoed_whole() {
    let driven = drive(Script::reading([bytes("ab!q")]), Mode::Echo, "!q!");
    assert_eq!((driven.end, &driven.script().written[..]), (End::Eof, &b"ab!q"[..]));
}

#[test]
fn a_failed_write_ends_the_session_and_keeps_its_counts() {
    let writes = [Write::Take(3), Write::Fail(32)];
    let driven = drive(Script::new([bytes("hello"), bytes("more")], writes), Mode::Echo, "");
    assert!(matches!(driven.end, End::Reset { errno: Some(32), .. }), "{:?}", driven.end);
    assert_eq!(driven.tally, Tally { read: 5, written: 3, ..Tally::default() });
}

#[test]
fn a_failed_read_ends_the_session_and_keeps_its_counts() {
    let reads = [bytes("hello"), Read::Fail(104)];
    let driven = drive(Script::reading(reads), Mode::Echo, "");
    assert!(matches!(driven.end, End::Reset { errno: Some(104), .. }), "{:?}", driven.end);
    assert_eq!(driven.tally, Tally { read: 5, written: 5, ..Tally::default() });
    assert_eq!(driven.end.to_string(), "reset: Connection reset by peer (os error 104)");
}

#[test]
fn a_stream_that_takes_nothing_is_a_failure_and_not_a_loop() {
    let driven = drive(Script::new([bytes("hello")], [Write::Take(0)]), Mode::Echo, "");
    assert_eq!(driven.end, End::Reset { kind: io::ErrorKind::WriteZero, errno: None });
}

#[test]
fn a_peer_that_resets_while_lingering_was_terminated() {
    let driven = drive(Script::reading([bytes("a!"), Read::Fail(104)]), Mode::Echo, "!");
    assert_eq!(driven.end, End::Terminated);
}

#[test]
fn input_is_dropped_while_the_echo_before_the_sequence_waits_for_room() {
    let script = Script::new([bytes("ab!"), bytes("ignored")], [Write::Stuck]);
    let mut driven = Driven::new(Pump::new(script, Mode::Echo, terminator("!")), 8);
    assert!(driven.poll_stuck().is_pending());
    assert_eq!((driven.tally.read, driven.pump.unsent()), (10, 2));
    driven.script_mut().writes.clear();
    assert_eq!(driven.poll(), Poll::Ready(End::Terminated));
    assert_eq!(driven.script().written, b"ab");
}

#[test]
fn a_session_yields_after_sixteen_reads() {
    let mut driven =
        Driven::new(Pump::new(Script::reading(vec![bytes("x"); 40]), Mode::Echo, None), 8);
    assert!(driven.poll().is_pending());
    assert_eq!(driven.tally, Tally { read: 16, written: 16, ..Tally::default() });
    assert!(driven.poll().is_pending());
    assert_eq!(driven.tally.read, 32);
    assert_eq!(driven.poll(), Poll::Ready(End::Eof));
    assert_eq!(driven.poll(), Poll::Ready(End::Eof), "an end is said again");
}

#[test]
fn a_session_yields_after_sixty_four_kibibytes_however_few_reads_brought_them() {
    let part = || Read::Bytes(vec![b'x'; MOST_UNSENT / 2]);
    let script = Script::reading([part(), part(), part(), part(), part()]);
    let mut driven = Driven::new(Pump::new(script, Mode::Echo, None), MOST_UNSENT);
    for turn in 1..=2_u64 {
        assert!(driven.poll().is_pending());
        assert_eq!(driven.tally.read, turn * MOST_UNSENT as u64);
    }
    assert_eq!(driven.poll(), Poll::Ready(End::Eof));
}

#[test]
fn nothing_is_read_while_the_peer_takes_nothing() {
    let reads = [bytes("first"), bytes("second")];
    let mut driven = Driven::new(
        Pump::new(Script::new(reads, [Write::Take(2), Write::Stuck]), Mode::Echo, None),
        8,
    );
    for _ in 0..3 {
        assert!(driven.poll_stuck().is_pending());
    }
    assert_eq!(
        (driven.pump.unsent(), driven.tally.clone()),
        (3, Tally { read: 5, written: 2, ..Tally::default() })
    );
    driven.script_mut().writes.clear();
    assert_eq!(driven.poll(), Poll::Ready(End::Eof));
    assert_eq!(driven.script().written, b"firstsecond");
    assert!(driven.pump.unsent.is_none(), "a session with nothing unsent holds no buffer");
}

#[test]
fn a_finished_session_answers_what_has_arrived_and_does_not_wait_for_the_peer() {
    let script = Script::reading([bytes("late"), Read::Stuck]);
    let mut driven = Driven::new(Pump::new(script, Mode::Echo, None), 8);
    driven.pump.finish(End::Drain);
    assert_ne!(driven.pump.phase(), Phase::Open);
    assert_eq!(driven.poll(), Poll::Ready(End::Drain));
    assert_eq!(driven.script().written, b"late");
    assert!(driven.script().shut);
}

#[test]
fn a_finished_session_sends_what_was_unsent_before_its_fin() {
    let script = Script::new([bytes("hello"), Read::Stuck], [Write::Take(1), Write::Stuck]);
    let mut driven = Driven::new(Pump::new(script, Mode::Echo, None), 8);
    assert!(driven.poll_stuck().is_pending());
    driven.pump.finish(End::Idle);
    assert!(driven.poll_stuck().is_pending());
    assert_eq!(driven.pump.phase(), Phase::Flushing);
    assert!(!driven.script().shut);
    driven.script_mut().writes.clear();
    assert_eq!(driven.poll(), Poll::Ready(End::Idle));
    assert_eq!((&driven.script().written[..], driven.script().shut), (&b"hello"[..], true));
}

#[test]
fn a_peer_that_ended_first_is_not_said_to_have_been_idle() {
    let mut driven = Driven::new(Pump::new(Script::reading([bytes("bye")]), Mode::Echo, None), 8);
    driven.pump.finish(End::Idle);
    assert_eq!(driven.poll(), Poll::Ready(End::Eof));
    assert_eq!(driven.script().written, b"bye");
}

#[test]
fn a_lingering_session_that_is_finished_ends_at_once_and_stays_terminated() {
    let script = Script::reading([bytes("a!"), Read::Stuck]);
    let mut driven = Driven::new(Pump::new(script, Mode::Echo, terminator("!")), 8);
    assert!(driven.poll_stuck().is_pending());
    assert_eq!(driven.pump.phase(), Phase::Lingering);
    driven.pump.finish(End::Drain);
    assert_eq!(driven.poll(), Poll::Ready(End::Terminated));
}

#[test]
fn a_flood_after_finish_is_dropped_a_bounded_number_of_times() {
    let script = Script::reading(vec![bytes("x"); 1000]);
    let mut driven = Driven::new(Pump::new(script, Mode::Echo, None), 8);
    driven.pump.finish(End::Lifetime);
    assert_eq!(driven.poll(), Poll::Ready(End::Lifetime));
    assert!(driven.tally.read <= 32, "{:?}", driven.tally.clone());
    assert_eq!(driven.tally.written, 16);
}

#[test]
fn an_empty_buffer_is_refused_instead_of_taken_for_the_end() {
    let mut driven = Driven::new(Pump::new(Script::reading([bytes("x")]), Mode::Echo, None), 0);
    assert!(matches!(
        driven.poll(),
        Poll::Ready(End::Reset { kind: io::ErrorKind::InvalidInput, .. })
    ));
}

#[tokio::test]
async fn echo_returns_every_byte_after_half_close_through_a_pipe_of_sixteen_bytes() {
    let (client, server) = duplex(16);
    let sent: Vec<u8> = (0..100_000_u32).map(|number| (number % 251) as u8).collect();
    let session = tokio::spawn(async move {
        let mut pump = Pump::new(server, Mode::Echo, None);
        let (mut scratch, mut tally) = (vec![0; 4096], Tally::default());
        let end = poll_fn(|cx| pump.poll(cx, &mut scratch, &mut tally)).await;
        (end, tally)
    });
    let (mut reading, mut writing) = tokio::io::split(client);
    let input = sent.clone();
    let writer = tokio::spawn(async move {
        writing.write_all(&input).await.expect("the pump reads");
        writing.shutdown().await.expect("a half-close");
    });
    let mut echoed = Vec::new();
    reading.read_to_end(&mut echoed).await.expect("the echo");
    writer.await.expect("the writer");
    let (end, tally) = session.await.expect("the session");
    assert!(echoed == sent, "{} of {} bytes", echoed.len(), sent.len());
    assert_eq!(
        (end, tally),
        (End::Eof, Tally { read: 100_000, written: 100_000, ..Tally::default() })
    );
}

fn reads() -> impl Strategy<Value = Vec<Read>> {
    let read = prop_oneof![
        6 => "[ab]{1,12}".prop_map(|text| bytes(&text)),
        2 => Just(Read::Pending),
        1 => Just(Read::Fail(4)),
    ];
    prop::collection::vec(read, 0..24)
}

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let write = prop_oneof![
        6 => (1..6_usize).prop_map(Write::Take),
        3 => Just(Write::Pending),
        1 => Just(Write::Fail(4)),
    ];
    prop::collection::vec(write, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(4_000),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Short writes, EINTR and EAGAIN in any schedule (4 is EINTR).
    #[test]
    fn no_schedule_loses_doubles_or_reorders_a_byte(
        reads in reads(),
        writes in writes(),
        sequence in prop_oneof![2 => Just(String::new()), 3 => "[ab]{4,7}"],
    ) {
        let script = Script::new(reads.clone(), writes);
        let sent: Vec<u8> = script.input();
        let driven = drive(script, Mode::Echo, &sequence);
        let place = (!sequence.is_empty())
            .then(|| sent.windows(sequence.len()).position(|window| window == sequence.as_bytes()))
            .flatten();
        let echoed = match place {
            None => sent.len(),
            Some(place) => place.max(driven.script().read_before(place + sequence.len())),
        };
        prop_assert_eq!(driven.end, if place.is_some() { End::Terminated } else { End::Eof });
        prop_assert_eq!(&driven.script().written[..], &sent[..echoed]);
        prop_assert_eq!(driven.tally.clone(), Tally { read: sent.len() as u64, written: echoed as u64, ..Tally::default() });
        prop_assert!(place.is_some() || !driven.script().shut);
        prop_assert_eq!(driven.pump.unsent(), 0);
    }
}
