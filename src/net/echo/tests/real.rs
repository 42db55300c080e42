//! The pump on real TCP connections over loopback.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::config::Mode;
use crate::net::echo::{End, MOST_UNSENT, Phase, Pump, Tally};
use crate::net::lean_stream::LeanStream;
use crate::net::terminator::Terminator;

const SOON: Duration = Duration::from_secs(20);

/// Both ends of one connection, the client's first.
async fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("its address");
    let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    (client.expect("a client"), accepted.expect("a session").0)
}

/// Runs the session to its end, then closes its socket.
fn serve(stream: TcpStream, sequence: &[u8]) -> JoinHandle<(End, Tally)> {
    let mut pump = Pump::new(LeanStream::from(stream), Mode::Echo, Terminator::new(sequence));
    tokio::spawn(async move {
        let (mut scratch, mut tally) = (vec![0; MOST_UNSENT], Tally::default());
        let end = poll_fn(|cx| pump.poll(cx, &mut scratch, &mut tally)).await;
        (end, tally)
    })
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|number| (number % 249) as u8).collect()
}

#[tokio::test]
async fn ten_megabytes_come_back_whole_after_the_half_close() {
    let (client, server) = connection().await;
    let session = serve(server, b"");
    let (mut reading, mut writing) = client.into_split();
    let sent = pattern(10_000_000);
    let input = sent.clone();
    let writer = tokio::spawn(async move {
        writing.write_all(&input).await.expect("the session reads");
        writing.shutdown().await.expect("a half-close");
        writing
    });
    let mut echoed = Vec::new();
    timeout(SOON, reading.read_to_end(&mut echoed)).await.expect("in time").expect("no reset");
    let _open = writer.await.expect("the writer");
    assert!(echoed == sent, "{} of {} bytes", echoed.len(), sent.len());
    let moved = 10_000_000;
    assert_eq!(
        session.await.expect("the end"),
        (End::Eof, Tally { read: moved, written: moved, ..Tally::default() })
    );
}

/// One flooding client and one that says a byte now and then share a thread.
#[tokio::test]
async fn between_two_turns_of_a_flood_others_are_heard() {
    let (flooding, flooded) = connection().await;
    let (mut lone, served) = connection().await;
    let _other = serve(served, b"");
    let mut pump = Pump::new(LeanStream::from(flooded), Mode::Discard, None);
    let (mut scratch, mut tally) = (vec![0; MOST_UNSENT], Tally::default());
    let chunk = vec![b'x'; 256 * 1024];
    let mut arrived = 0;
    while arrived < 8 * MOST_UNSENT {
        flooding.writable().await.expect("a connection");
        arrived += flooding.try_write(&chunk).unwrap_or(0);
    }
    // What it says lies in its session's socket before the flood's first turn.
    lone.try_write(b"?").expect("room");
    let turns = async {
        poll_fn(|cx| pump.poll(cx, &mut scratch, &mut tally).map(drop)).await;
    };
    tokio::select! {
        () = turns => panic!("the flood does not end"),
        heard = lone.read_u8() => assert_eq!(heard.expect("an echo"), b'?'),
    }
    let most = 5 * MOST_UNSENT as u64;
    assert!(tally.read <= most, "{} bytes of the flood came first", tally.read);
}

#[tokio::test]
async fn a_megabyte_after_the_sequence_does_not_cost_the_echo_before_it() {
    let (client, server) = connection().await;
    let session = serve(server, b"!!quit!!");
    let (mut reading, mut writing) = client.into_split();
    let before = pattern(100_000);
    let mut input = before.clone();
    input.extend_from_slice(b"!!quit!!");
    input.resize(input.len() + 1_000_000, b'z');
    let total = input.len() as u64;
    let writer = tokio::spawn(async move {
        writing.write_all(&input).await.expect("unread input is drained");
        writing.shutdown().await.expect("a half-close");
        writing
    });
    let mut echoed = Vec::new();
    timeout(SOON, reading.read_to_end(&mut echoed)).await.expect("in time").expect("FIN, not RST");
    let _open = writer.await.expect("the writer");
    let (end, tally) = session.await.expect("the end");
    // A prefix of the sequence may have been echoed by the read before.
    assert!(echoed.len() - before.len() < 8, "{} bytes", echoed.len());
    assert!(echoed.starts_with(&before), "the echo before the sequence is whole");
    assert_eq!(
        (end, tally),
        (End::Terminated, Tally { read: total, written: echoed.len() as u64, ..Tally::default() })
    );
}

#[tokio::test]
async fn a_client_that_never_reads_costs_at_most_sixty_four_kibibytes() {
    let (client, server) = connection().await;
    let mut pump = Pump::new(LeanStream::from(server), Mode::Echo, None);
    let (mut scratch, mut tally) = (vec![0; MOST_UNSENT], Tally::default());
    let chunk = vec![b'x'; 256 * 1024];
    let mut refusals = 0;
    // Time and again neither side can move, with a poll between.
    while refusals < 20 {
        let before = tally.clone();
        let polled = poll_fn(|cx| Poll::Ready(pump.poll(cx, &mut scratch, &mut tally))).await;
        assert!(polled.is_pending(), "the session goes on");
        assert!(pump.unsent() <= MOST_UNSENT);
        match client.try_write(&chunk) {
            Err(_) if tally == before => refusals += 1,
            _ => refusals = 0,
        }
        tokio::task::yield_now().await;
    }
    assert!(pump.unsent() > 0, "the session waits for its peer");
    assert_eq!(tally.read - tally.written, pump.unsent() as u64);
    assert!(crate::net::sys::unacknowledged(pump.stream().tcp()).expect("a queue") > 0);
}

#[tokio::test]
async fn a_silent_session_that_is_finished_gives_its_client_a_fin() {
    let (mut client, server) = connection().await;
    let mut pump = Pump::new(LeanStream::from(server), Mode::Echo, None);
    let (mut scratch, mut tally) = (vec![0; 1024], Tally::default());
    assert_eq!(pump.phase(), Phase::Open);
    pump.finish(End::Idle);
    let end = timeout(SOON, poll_fn(|cx| pump.poll(cx, &mut scratch, &mut tally))).await;
    assert_eq!(end.expect("without waiting for the client"), End::Idle);
    drop(pump);
    assert_eq!(client.read(&mut [0; 1]).await.expect("no reset"), 0);
}

#[tokio::test]
async fn a_client_that_resets_ends_its_session_as_reset() {
    let (mut client, server) = connection().await;
    let session = serve(server, b"");
    client.write_all(b"hello").await.expect("a write");
    client.read_exact(&mut [0; 5]).await.expect("the echo");
    crate::net::sys::reset_on_close(&client).expect("an option");
    drop(client);
    let (end, tally) = timeout(SOON, session).await.expect("in time").expect("the end");
    assert!(matches!(end, End::Reset { errno: Some(104), .. }), "{end:?}");
    assert_eq!(tally, Tally { read: 5, written: 5, ..Tally::default() });
}

#[test]
fn a_session_that_holds_nothing_unsent_is_its_state_alone() {
    assert!(size_of::<Pump<LeanStream>>() <= 128, "{} bytes", size_of::<Pump<LeanStream>>());
}
