//! The reactor on real connections over loopback.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, oneshot};
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::*;
use crate::config::Mode;
use crate::net::echo::{End, MOST_UNSENT, Pump, Tally};

const SOON: Duration = Duration::from_secs(20);

fn reactor() -> Rc<Reactor> {
    Rc::new(Reactor::new().expect("an epoll instance"))
}

/// A client, and the other end of its connection.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let client = TcpStream::connect(listener.local_addr().expect("its address")).expect("a client");
    let (server, _) = listener.accept().expect("a connection");
    server.set_nonblocking(true).expect("an option");
    (client, server)
}

fn tokio_client(client: TcpStream) -> tokio::net::TcpStream {
    client.set_nonblocking(true).expect("an option");
    tokio::net::TcpStream::from_std(client).expect("a client")
}

/// Echoes at this reactor until the client ends, and says how that was.
fn echo(reactor: &Rc<Reactor>, server: TcpStream) -> oneshot::Receiver<(End, Tally)> {
    let (stream, registration) = reactor.register(server).expect("a registration");
    let mut pump = Pump::new(stream, Mode::Echo, None);
    let (tell, told) = oneshot::channel();
    registration.begin(async move {
        let (mut scratch, mut tally) = (vec![0; MOST_UNSENT], Tally::default());
        let end = poll_fn(|cx| pump.poll(cx, &mut scratch, &mut tally)).await;
        let _nobody = tell.send((end, tally));
    });
    told
}

#[tokio::test(flavor = "local")]
async fn more_connections_than_one_call_tells_of_are_all_served_again_and_again() {
    let reactor = reactor();
    let mut clients = Vec::new();
    for _ in 0..3 * BATCH {
        let (client, server) = pair();
        clients.push((tokio_client(client), echo(&reactor, server)));
    }
    spawn_local(reactor.run());
    for round in 0..3_u8 {
        for (client, _) in &mut clients {
            client.write_all(&[round; 9]).await.expect("a write");
        }
        for (client, _) in &mut clients {
            let mut echoed = [u8::MAX; 9];
            let read = timeout(SOON, client.read_exact(&mut echoed)).await.expect("in time");
            read.expect("the echo");
            assert_eq!(echoed, [round; 9]);
        }
    }
    for (client, ended) in clients {
        drop(client);
        let (end, tally) = ended.await.expect("an end");
        assert_eq!((end, tally.read, tally.written), (End::Eof, 27, 27));
    }
}

#[tokio::test(flavor = "local")]
async fn the_thread_waits_for_its_core_while_connections_come_in_crowds() {
    let has = |policy| scheduling::change(policy, policy).expect("an answer");
    assert!(has(scheduling::INTERRUPTS), "a thread begins so");
    let reactor = reactor();
    let (mut clients, mut ended) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let (client, server) = pair();
        clients.push(tokio_client(client));
        ended.push(echo(&reactor, server));
    }
    spawn_local(reactor.run());
    // On this one thread the reactor hears of all that was written before it has its turn.
    for _ in 0..16 {
        for client in &mut clients {
            client.write_all(b"together").await.expect("room");
        }
        for client in &mut clients {
            client.read_exact(&mut [0; 8]).await.expect("the echo");
        }
    }
    assert!(has(scheduling::WAITS));
    for _ in 0..100 {
        clients[0].write_all(b"alone").await.expect("room");
        clients[0].read_exact(&mut [0; 5]).await.expect("the echo");
    }
    assert!(has(scheduling::INTERRUPTS));
}

/// A read stops at the mark of urgent data, short of what lies behind, and no further event
/// follows.
#[tokio::test(flavor = "local")]
async fn bytes_behind_urgent_data_are_echoed() {
    let reactor = reactor();
    let (client, server) = pair();
    let urgent = SockRef::from(&client).send_out_of_band(b"beforeU").expect("a write");
    assert_eq!(urgent, 7);
    (&client).write_all(b"behind").expect("a write");
    let (mut client, _told) = (tokio_client(client), echo(&reactor, server));
    spawn_local(reactor.run());
    let mut echoed = [0; 12];
    timeout(SOON, client.read_exact(&mut echoed)).await.expect("in time").expect("the echo");
    assert_eq!(&echoed, b"beforebehind");
}

/// The end is told together with the bytes before it, and no further event follows.
#[tokio::test(flavor = "local")]
async fn an_end_that_came_with_the_last_bytes_is_seen() {
    let reactor = reactor();
    let (mut client, server) = pair();
    client.write_all(b"all").expect("a write");
    client.shutdown(Shutdown::Write).expect("a half-close");
    let ended = echo(&reactor, server);
    spawn_local(reactor.run());
    let (end, tally) = timeout(SOON, ended).await.expect("in time").expect("an end");
    assert_eq!((end, tally.written), (End::Eof, 3));
    let mut echoed = Vec::new();
    client.read_to_end(&mut echoed).expect("the echo");
    assert_eq!(echoed, b"all");
}

/// One flooding client and one that says a byte now and then share a reactor.
#[tokio::test(flavor = "local")]
async fn between_two_turns_of_a_flood_others_are_heard() {
    let reactor = reactor();
    let (flooding, flooded) = pair();
    let (mut lone, served) = pair();
    flooding.set_nonblocking(true).expect("an option");
    let chunk = vec![b'x'; 256 * 1024];
    let mut arrived = 0;
    while arrived < 8 * MOST_UNSENT {
        arrived += (&flooding).write(&chunk).unwrap_or(0);
    }
    let (stream, registration) = reactor.register(flooded).expect("a registration");
    let mut pump = Pump::new(stream, Mode::Discard, None);
    let flood = Rc::new(Cell::new(0));
    let read = Rc::clone(&flood);
    registration.begin(async move {
        let (mut scratch, mut tally) = (vec![0; MOST_UNSENT], Tally::default());
        poll_fn(|cx| {
            let polled = pump.poll(cx, &mut scratch, &mut tally);
            read.set(tally.read);
            polled
        })
        .await;
    });
    // What it says lies in its session's socket before the flood's first turn.
    lone.write_all(b"?").expect("room");
    let _session = echo(&reactor, served);
    let mut lone = tokio_client(lone);
    spawn_local(reactor.run());
    let heard = timeout(SOON, lone.read_u8()).await.expect("in time").expect("an echo");
    assert_eq!((heard, flood.get() > 0), (b'?', true));
    assert!(flood.get() <= 5 * MOST_UNSENT as u64, "{} bytes of the flood came first", flood.get());
}

#[tokio::test(flavor = "local")]
async fn a_task_that_is_called_is_polled_and_one_that_woke_itself_again() {
    let reactor = reactor();
    let (_client, server) = pair();
    let (_stream, registration) = reactor.register(server).expect("a registration");
    let polls = Rc::new(Cell::new(0));
    let polled = Rc::new(Notify::new());
    let (count, tell) = (Rc::clone(&polls), Rc::clone(&polled));
    registration.begin(poll_fn(move |cx| {
        count.set(count.get() + 1);
        if count.get() % 2 == 1 {
            cx.waker().wake_by_ref();
        } else {
            tell.notify_one();
        }
        Poll::Pending
    }));
    spawn_local(reactor.run());
    for times in 1..=3 {
        // The first time it hears of its connection, then of the calls.
        timeout(SOON, polled.notified()).await.expect("a poll, and another");
        assert_eq!(polls.get(), 2 * times);
        registration.call();
    }
}

#[tokio::test(flavor = "local")]
async fn a_task_that_is_called_often_waits_once() {
    let reactor = reactor();
    let (_client, server) = pair();
    let (_stream, registration) = reactor.register(server).expect("a registration");
    registration.begin(poll_fn(|cx| {
        cx.waker().wake_by_ref();
        Poll::Pending
    }));
    for _ in 0..1_000 {
        registration.call();
    }
    assert_eq!(reactor.called.borrow().len(), 1);
    spawn_local(Rc::clone(&reactor).run());
    for _ in 0..10 {
        tokio::task::yield_now().await;
        registration.call();
        assert_eq!(reactor.called.borrow().len(), 1, "it woke itself, too");
    }
}

#[tokio::test(flavor = "local")]
async fn a_reactor_that_has_ended_drops_what_it_has_and_takes_nothing_more() {
    let reactor = reactor();
    let (mut client, server) = pair();
    let _session = echo(&reactor, server);
    // Never polled.
    drop(Rc::clone(&reactor).run());
    assert_eq!(client.read(&mut [0; 1]).expect("FIN"), 0);
    let (_client, server) = pair();
    assert!(reactor.register(server).is_err(), "nobody would poll its task");
}

#[tokio::test(flavor = "local")]
async fn whoever_has_the_place_of_another_does_not_hear_its_calls() {
    let reactor = reactor();
    let (_first, server) = pair();
    let (_stream, old) = reactor.register(server).expect("a registration");
    let ended = Rc::new(Notify::new());
    let tell = Rc::clone(&ended);
    old.begin(async move { tell.notify_one() });
    spawn_local(Rc::clone(&reactor).run());
    timeout(SOON, ended.notified()).await.expect("its end");
    let (_second, server) = pair();
    let (_stream, new) = reactor.register(server).expect("a registration");
    assert_eq!((new.key.place, old.key.place), (0, 0));
    let polls = Rc::new(Cell::new(0));
    let (count, tell) = (Rc::clone(&polls), Rc::clone(&ended));
    new.begin(poll_fn(move |_| {
        count.set(count.get() + 1);
        tell.notify_one();
        Poll::<()>::Pending
    }));
    timeout(SOON, ended.notified()).await.expect("what its connection is");
    old.call();
    new.call();
    timeout(SOON, ended.notified()).await.expect("the call");
    assert_eq!(polls.get(), 2);
}

#[tokio::test(flavor = "local")]
async fn tasks_that_never_have_enough_leave_the_thread_to_others_in_between() {
    let reactor = reactor();
    let polls = Rc::new(Cell::new(0));
    let mut held = Vec::new();
    for _ in 0..3 * BATCH {
        let (client, server) = pair();
        let (stream, registration) = reactor.register(server).expect("a registration");
        let count = Rc::clone(&polls);
        registration.begin(poll_fn(move |cx| {
            count.set(count.get() + 1);
            cx.waker().wake_by_ref();
            Poll::Pending
        }));
        held.push((client, stream));
    }
    spawn_local(reactor.run());
    let mut before = 0;
    while polls.get() < 30 * BATCH {
        tokio::task::yield_now().await;
        assert!(polls.get() - before <= 2 * BATCH, "{} in a row", polls.get() - before);
        before = polls.get();
    }
}

struct Fragile(Rc<Cell<u32>>);

impl Drop for Fragile {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
        assert!(self.0.get() != 1, "while it is dropped");
    }
}

#[tokio::test(flavor = "local")]
async fn tasks_end_with_the_reactor_also_where_one_panics() {
    let reactor = reactor();
    let dropped = Rc::new(Cell::new(0));
    let mut clients = Vec::new();
    for _ in 0..3 {
        let (client, server) = pair();
        let (stream, registration) = reactor.register(server).expect("a registration");
        let fragile = Fragile(Rc::clone(&dropped));
        registration.begin(async move {
            let _held = (stream, fragile);
            std::future::pending::<()>().await;
        });
        clients.push(client);
    }
    let run = spawn_local(reactor.run());
    tokio::task::yield_now().await;
    run.abort();
    assert!(run.await.expect_err("it was stopped").is_cancelled());
    assert_eq!(dropped.get(), 3);
}
