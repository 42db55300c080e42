//! The pump on real TCP connections over loopback.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::config::Mode;
use crate::net::echo::{End, MOST_UNSENT, Phase, Pump, Tally};
use crate::net::lean_stream::LeanStream;
use crate::net::reactor::{Reactor, Registration};
use crate::net::terminator::Terminator;

const SOON: Duration = Duration::from_secs(20);

/// Both ends of one connection: the client's, and the session's at a reactor that runs.
async fn connection() -> (TcpStream, LeanStream, Registration) {
    let reactor = Rc::new(Reactor::new().expect("an epoll instance"));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("its address");
    let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    let accepted = accepted.expect("a session").0.into_std().expect("its socket");
    let (stream, registration) = reactor.register(accepted).expect("a registration");
    spawn_local(reactor.run());
    (client.expect("a client"), stream, registration)
}

/// A client whose session runs to its end, and then closes its socket.
async fn served(sequence: &[u8]) -> (TcpStream, oneshot::Receiver<(End, Tally)>) {
    let (client, stream, registration) = connection().await;
    let mut pump = Pump::new(stream, Mode::Echo, Terminator::new(sequence));
    let (tell, told) = oneshot::channel();
    registration.begin(async move {
        let (mut scratch, mut tally) = (vec![0; MOST_UNSENT], Tally::default());
        let end = poll_fn(|cx| pump.poll(cx, &mut scratch, &mut tally)).await;
        drop(pump);
        let _nobody = tell.send((end, tally));
    });
    (client, told)
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|number| (number % 249) as u8).collect()
}

#[tokio::test(flavor = "local")]
async fn ten_megabytes_come_back_whole_after_the_half_close() {
    let (client, session) = served(b"").await;
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

#[tokio::test(flavor = "local")]
async fn a_megabyte_after_the_sequence_does_not_cost_the_echo_before_it() {
    let (client, session) = served(b"!!quit!!").await;
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

#[tokio::test(flavor = "local")]
async fn a_client_that_never_reads_costs_at_most_sixty_four_kibibytes() {
    let (client, stream, registration) = connection().await;
    let pump = Rc::new(RefCell::new(Pump::new(stream, Mode::Echo, None)));
    let tally = Rc::new(RefCell::new(Tally::default()));
    let (served, counted) = (Rc::clone(&pump), Rc::clone(&tally));
    let mut scratch = vec![0; MOST_UNSENT];
    registration.begin(poll_fn(move |cx| {
        let mut pump = served.borrow_mut();
        let polled = pump.poll(cx, &mut scratch, &mut counted.borrow_mut());
        assert!(polled.is_pending(), "the session goes on");
        assert!(pump.unsent() <= MOST_UNSENT);
        Poll::Pending
    }));
    let chunk = vec![b'x'; 256 * 1024];
    let mut refusals = 0;
    // Time and again neither side can move, with a poll between.
    while refusals < 20 {
        let before = tally.borrow().clone();
        registration.call();
        tokio::task::yield_now().await;
        match client.try_write(&chunk) {
            Err(_) if *tally.borrow() == before => refusals += 1,
            _ => refusals = 0,
        }
    }
    let (pump, tally) = (pump.borrow(), tally.borrow());
    assert!(pump.unsent() > 0, "the session waits for its peer");
    assert_eq!(tally.read - tally.written, pump.unsent() as u64);
    assert!(crate::net::sys::unacknowledged(&pump.stream().socket()).expect("a queue") > 0);
}

#[tokio::test(flavor = "local")]
async fn a_silent_session_that_is_finished_gives_its_client_a_fin() {
    let (mut client, stream, registration) = connection().await;
    let mut pump = Pump::new(stream, Mode::Echo, None);
    assert_eq!(pump.phase(), Phase::Open);
    pump.finish(End::Idle);
    let (tell, told) = oneshot::channel();
    registration.begin(async move {
        let (mut scratch, mut tally) = (vec![0; 1024], Tally::default());
        let end = poll_fn(|cx| pump.poll(cx, &mut scratch, &mut tally)).await;
        drop(pump);
        tell.send(end).expect("the test");
    });
    let end = timeout(SOON, told).await.expect("without waiting for the client");
    assert_eq!(end.expect("an end"), End::Idle);
    assert_eq!(client.read(&mut [0; 1]).await.expect("no reset"), 0);
}

/// What has arrived is in the kernel before anybody has told of it.
#[tokio::test(flavor = "local")]
async fn a_session_that_is_finished_answers_what_nobody_has_told_of() {
    let (client, stream, registration) = connection().await;
    let (mut reading, writing) = client.into_split();
    assert_eq!(writing.try_write(b"hello").expect("room"), 5);
    let mut pump = Pump::new(stream, Mode::Echo, None);
    let (tell, told) = oneshot::channel();
    registration.begin(async move {
        let (mut scratch, mut tally) = (vec![0; 1024], Tally::default());
        let mut poll = |cx: &mut Context<'_>, late: &[u8]| {
            let polled = pump.poll(cx, &mut scratch, &mut tally);
            if polled.is_pending() && tally.read == 5 {
                assert_eq!(writing.try_write(late).expect("room"), late.len());
                pump.stream().look_again();
                pump.finish(End::Drain);
                return pump.poll(cx, &mut scratch, &mut tally);
            }
            polled
        };
        let end = poll_fn(|cx| poll(cx, b" late")).await;
        drop(pump);
        tell.send((end, tally.written, writing)).expect("the test");
    });
    let told = timeout(SOON, told).await.expect("without waiting for the client");
    let (end, written, _open) = told.expect("an end");
    assert_eq!((end, written), (End::Drain, 10));
    let mut echoed = Vec::new();
    reading.read_to_end(&mut echoed).await.expect("FIN, not RST");
    assert_eq!(echoed, b"hello late");
}

#[tokio::test(flavor = "local")]
async fn a_client_that_resets_ends_its_session_as_reset() {
    let (mut client, session) = served(b"").await;
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
