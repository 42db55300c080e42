//! Sessions of an embedder's own, as async functions and as actors: limits, drain,
//! panics and counters are what they are for the echo.
//!
//! In process, through the library's public face alone.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use actix::io::FramedWrite;
use actix::{Actor, ActorContext, AsyncContext, Context, StreamHandler, WrapFuture};
use ipcow::config::{Config, load_str};
use ipcow::service::{
    Outcome, Service, ServiceBuilder, ServiceHandle, SessionContext, SessionHandler, SessionStream,
    Sessions, Summary, SuspendOptions, session_actors,
};
use ipcow::spec::{Selector, Spec};
use ipcow::supervision::{EndReason, FaultKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};

use crate::common::{Block, DEADLINE, connect, echo_tcp, eventually, read_to_fin};

fn builder(keys: &str) -> ServiceBuilder {
    let text = format!("# Keys:\n{keys}");
    let mut config: Config = load_str("embedder", &text).expect("legal keys").config;
    config.groups.clear();
    Service::builder().config(config)
}

async fn start(keys: &str, handler: impl SessionHandler) -> (ServiceHandle, SocketAddr) {
    let builder = builder(keys).listen(&format!("tcp://{}:0", Block::new().ip(0)));
    let service = builder.expect("a legal spec").sessions(handler).build().expect("a plan");
    let handle = service.start().expect("threads");
    let ready = handle.wait_ready().await.expect("it runs");
    let at = ready.bound[0].socket_addr();
    (handle, at)
}

/// The summary, whose books are closed.
async fn end(handle: ServiceHandle) -> Summary {
    let summary = handle.shutdown().await.expect("it drains");
    let totals = &summary.totals;
    let ended = totals.closed + totals.failed + totals.forced;
    assert_eq!((totals.accepted, totals.active()), (ended, 0), "{summary:?}");
    summary
}

async fn ended(handle: &ServiceHandle, reason: EndReason, count: u64) {
    let reached = || handle.snapshot().totals.ended(reason) == count;
    assert!(eventually(DEADLINE, reached), "{reason}: {:?}", handle.snapshot().totals);
}

/// Greets, then gives every byte back until the peer ends its side.
async fn polite(mut stream: SessionStream, session: SessionContext) -> std::io::Result<Outcome> {
    stream.write_all(b"hello ").await?;
    let mut buffer = [0; 512];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            assert_eq!(session.bytes_read() + 6, session.bytes_written());
            return Ok(Outcome::Eof);
        }
        stream.write_all(&buffer[..read]).await?;
    }
}

fn greeted(at: SocketAddr) -> std::net::TcpStream {
    let mut client = connect(at);
    client.read_exact(&mut [0; 6]).expect("a greeting");
    client
}

#[tokio::test]
async fn an_async_function_serves_sessions_and_its_bytes_are_counted_like_the_echos() {
    let (handle, at) = start("", polite).await;
    let mut clients = [greeted(at), greeted(at)];
    for client in &mut clients {
        echo_tcp(client, b"12345");
        client.shutdown(Shutdown::Write).expect("a half-close");
        assert_eq!(read_to_fin(client), b"");
    }
    ended(&handle, EndReason::Eof, 2).await;
    let all = Selector::parse("*").expect("a selector");
    let listing = handle.list(&all, Default::default()).await.expect("a list");
    let reading = listing.endpoints[0].reading;
    assert_eq!((reading.came, reading.done), (2, 2));
    assert_eq!((reading.bytes_in, reading.bytes_out), (10, 22));
    let totals = end(handle).await.totals;
    assert_eq!((totals.closed, totals.tcp_in, totals.tcp_out), (2, 10, 22));
}

#[tokio::test]
async fn a_session_knows_where_it_is_and_who_came() {
    let tell = async |mut stream: SessionStream, session: SessionContext| {
        let local = session.local_addr().expect("it is open");
        let line = format!(
            "{} {} {} {} {local}",
            session.id(),
            session.endpoint(),
            session.peer(),
            session.group()
        );
        stream.write_all(line.as_bytes()).await?;
        Ok::<_, std::io::Error>(Outcome::Done)
    };
    let (handle, at) = start("", tell).await;
    for id in 1..=2 {
        let mut client = connect(at);
        let own = client.local_addr().expect("an address");
        let told = String::from_utf8(read_to_fin(&mut client)).expect("text");
        assert_eq!(told, format!("{id} tcp://{at} {own} builder {at}"));
    }
    ended(&handle, EndReason::Terminated, 2).await;
    end(handle).await;
}

#[tokio::test]
async fn an_answer_reaches_a_peer_whose_input_nobody_read() {
    let blurt = |mut stream: SessionStream, _session| async move {
        stream.write_all(&[b'x'; 100_000]).await?;
        Ok::<_, std::io::Error>(Outcome::Done)
    };
    let (handle, at) = start("", blurt).await;
    let mut client = connect(at);
    client.write_all(&[b'y'; 100_000]).expect("room in the kernel");
    // A close with unread input would reset the connection and lose the answer.
    assert_eq!(read_to_fin(&mut client).len(), 100_000);
    drop(client);
    assert_eq!(end(handle).await.totals.closed, 1);
}

#[tokio::test]
async fn idle_lifetime_and_write_timeouts_end_own_sessions_as_they_end_the_echo() {
    let keys = "[session]\nidle_timeout_secs = 1";
    let (handle, at) = start(keys, polite).await;
    assert_eq!(read_to_fin(&mut greeted(at)), b"");
    ended(&handle, EndReason::Idle, 1).await;
    assert_eq!(end(handle).await.totals.closed, 1);

    let (handle, at) = start("[session]\nmax_lifetime_secs = 1", polite).await;
    assert_eq!(read_to_fin(&mut greeted(at)), b"");
    ended(&handle, EndReason::Lifetime, 1).await;
    end(handle).await;

    let flood = |mut stream: SessionStream, _session| async move {
        loop {
            stream.write_all(&[0; 65_536]).await?;
        }
        #[expect(unreachable_code, reason = "it says what type the session has")]
        Ok::<_, std::io::Error>(Outcome::Done)
    };
    let (handle, at) = start("[session]\nwrite_timeout_secs = 1", flood).await;
    let _never_reads = connect(at);
    ended(&handle, EndReason::WriteTimeout, 1).await;
    assert_eq!(end(handle).await.errors.by_kind[&FaultKind::SessionWriteTimeout], 1);
}

#[tokio::test]
async fn a_draining_session_hears_of_it_and_says_goodbye() {
    let until_drain = |mut stream: SessionStream, session: SessionContext| async move {
        stream.write_all(b"hello ").await?;
        assert!(!session.is_draining());
        session.draining().await;
        assert!(session.is_draining());
        stream.write_all(b"goodbye").await?;
        Ok::<_, std::io::Error>(Outcome::Done)
    };
    let (handle, at) = start("", until_drain).await;
    let mut client = greeted(at);
    let goodbye = tokio::task::spawn_blocking(move || read_to_fin(&mut client));
    let summary = end(handle).await;
    assert_eq!(goodbye.await.expect("a client"), b"goodbye");
    assert_eq!(summary.totals.ended(EndReason::Terminated), 1);
}

#[tokio::test]
async fn a_quiet_session_ends_with_fin_in_a_drain_and_one_that_is_busy_is_waited_for() {
    let (handle, at) = start("[shutdown]\nquiet_ms = 200", polite).await;
    let mut client = greeted(at);
    let rest = tokio::task::spawn_blocking(move || read_to_fin(&mut client));
    let totals = end(handle).await.totals;
    assert_eq!((totals.ended(EndReason::Drain), totals.forced), (1, 0));
    assert_eq!(rest.await.expect("a client"), b"");

    let works = |mut stream: SessionStream, session: SessionContext| async move {
        stream.write_all(b"hello ").await?;
        let busy = session.busy();
        session.draining().await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        stream.write_all(b"done").await?;
        drop(busy);
        Ok::<_, std::io::Error>(Outcome::Done)
    };
    let (handle, at) = start("[shutdown]\nquiet_ms = 100", works).await;
    let mut client = greeted(at);
    let rest = tokio::task::spawn_blocking(move || read_to_fin(&mut client));
    end(handle).await;
    assert_eq!(rest.await.expect("a client"), b"done");
}

#[tokio::test]
async fn the_deadline_of_a_drain_cuts_off_who_does_not_end() {
    let keys = "[shutdown]\ndrain_timeout_secs = 1\nquiet_ms = 0";
    let (handle, at) = start(keys, polite).await;
    let _client = greeted(at);
    let totals = end(handle).await.totals;
    assert_eq!((totals.forced, totals.ended(EndReason::Forced)), (1, 1));
}

#[tokio::test]
async fn an_operator_suspends_with_fin_or_with_reset() {
    let (handle, at) = start("", polite).await;
    let all = Selector::parse("*").expect("a selector");
    let mut client = greeted(at);
    let fin = SuspendOptions::default().sessions(Sessions::Fin);
    handle.suspend(&all, fin).await.expect("it is there");
    assert_eq!(read_to_fin(&mut client), b"");
    ended(&handle, EndReason::Drain, 1).await;
    handle.resume(&all).await.expect("it is there");
    assert!(eventually(DEADLINE, || handle.snapshot().endpoints.listening == 1));
    let mut client = greeted(at);
    let reset = SuspendOptions::default().sessions(Sessions::Reset);
    handle.suspend(&all, reset).await.expect("it is there");
    let error = client.read(&mut [0]).expect_err("a reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    ended(&handle, EndReason::Forced, 1).await;
    end(handle).await;
}

#[tokio::test]
async fn panics_and_errors_end_one_session_each_and_free_its_permit() {
    let fragile = |mut stream: SessionStream, session: SessionContext| async move {
        match session.id() % 3 {
            0 => panic!("poisoned own session"),
            1 => Err("it would not".to_owned()),
            _ => {
                stream.write_all(b"fine").await.map_err(|error| error.to_string())?;
                Ok(Outcome::Done)
            }
        }
    };
    let (handle, at) = start("[limits]\nmax_sessions = 1", fragile).await;
    for id in 1..=30 {
        let expected: &[u8] = if id % 3 == 2 { b"fine" } else { b"" };
        assert_eq!(read_to_fin(&mut connect(at)), expected, "{id}");
    }
    let summary = end(handle).await;
    assert_eq!((summary.totals.accepted, summary.totals.failed), (30, 20));
    assert_eq!(summary.totals.ended(EndReason::Panic), 10);
    assert_eq!(summary.totals.ended(EndReason::Failed), 10);
    assert_eq!(summary.errors.by_kind[&FaultKind::SessionPanic], 10);
    assert_eq!(summary.errors.by_kind[&FaultKind::SessionFailed], 10);
    assert_eq!((summary.peak_sessions, summary.restarts.listeners), (1, 0));
}

#[tokio::test]
async fn a_handler_that_panics_before_its_future_is_no_matter_of_the_listener() {
    let never = |_stream: SessionStream, _session: SessionContext| {
        if std::hint::black_box(true) {
            panic!("poisoned own handler");
        }
        async { Ok::<_, std::io::Error>(Outcome::Done) }
    };
    let (handle, at) = start("", never).await;
    for _ in 0..3 {
        assert_eq!(read_to_fin(&mut connect(at)), b"");
    }
    ended(&handle, EndReason::Panic, 3).await;
    assert_eq!(end(handle).await.restarts.listeners, 0);
}

#[tokio::test]
async fn a_peer_that_resets_is_counted_as_such_whatever_the_code_says() {
    let (handle, at) = start("", polite).await;
    let client = greeted(at);
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("an option");
    drop(client);
    ended(&handle, EndReason::Reset, 1).await;
    assert_eq!(end(handle).await.errors.by_kind[&FaultKind::SessionReset], 1);
}

#[tokio::test]
async fn who_keeps_the_stream_of_a_session_that_is_over_gets_errors() {
    let (send, mut kept) = tokio::sync::mpsc::unbounded_channel();
    let leak = move |mut stream: SessionStream, session: SessionContext| {
        let send = send.clone();
        async move {
            tokio::task::spawn_local(async move {
                session.draining().await;
                let error = stream.write_all(b"from beyond").await.expect_err("it is over");
                send.send(error.kind()).expect("a reader");
            });
            Ok::<_, std::io::Error>(Outcome::Done)
        }
    };
    let (handle, at) = start("", leak).await;
    assert_eq!(read_to_fin(&mut connect(at)), b"");
    assert_eq!(kept.recv().await, Some(std::io::ErrorKind::NotConnected));
    end(handle).await;
}

#[tokio::test]
async fn a_group_may_have_its_own_sessions_beside_one_that_echoes() {
    let block = Block::new();
    let described = || {
        let own = builder("").listen_in("own", &format!("tcp://{}:18000", block.ip(0)));
        let both = own.expect("legal").listen_in("echo", &format!("tcp://{}:18001", block.ip(0)));
        both.expect("legal")
    };
    let unknown = described().group_sessions("nobody", polite).build();
    let message = unknown.expect_err("there is no such group").to_string();
    assert!(message.contains("`nobody`") && message.contains("own, echo"), "{message}");
    let builder = described().group_sessions("own", polite);
    let handle = builder.build().expect("a plan").start().expect("threads");
    handle.wait_ready().await.expect("it runs");
    drop(greeted(block.at(18_000)));
    echo_tcp(&mut connect(block.at(18_001)), b"echo");
    // What is added to a group is served as the group is.
    let added = Spec::parse(&format!("tcp://{}:18002", block.ip(0))).expect("a spec");
    handle.add(&added, Some("own")).await.expect("it is added");
    assert!(eventually(DEADLINE, || handle.snapshot().endpoints.listening == 3));
    drop(greeted(block.at(18_002)));
    end(handle).await;
}

/// Sums the numbers that it is sent, one a line.
struct Adder {
    sum: i64,
    session: SessionContext,
    out: FramedWrite<String, WriteHalf<SessionStream>, LinesCodec>,
}

impl Adder {
    fn new(stream: SessionStream, session: SessionContext, ctx: &mut Context<Self>) -> Self {
        let (reader, writer): (ReadHalf<_>, _) = tokio::io::split(stream);
        ctx.add_stream(FramedRead::new(reader, LinesCodec::new_with_max_length(64)));
        Self { sum: 0, session, out: FramedWrite::new(writer, LinesCodec::new(), ctx) }
    }
}

impl Actor for Adder {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let session = self.session.clone();
        let goodbye = async move { session.draining().await }.into_actor(self);
        ctx.spawn(actix::ActorFutureExt::map(goodbye, |(), adder: &mut Self, _ctx| {
            adder.out.write(format!("goodbye at {}", adder.sum));
            // It stops when that is written.
            adder.out.close();
        }));
    }
}

impl actix::io::WriteHandler<LinesCodecError> for Adder {}

impl StreamHandler<Result<String, LinesCodecError>> for Adder {
    fn handle(&mut self, line: Result<String, LinesCodecError>, ctx: &mut Self::Context) {
        match line.map(|line| line.parse::<i64>()) {
            Ok(Ok(number)) => {
                assert_ne!(number, 666, "poisoned actor");
                self.sum += number;
                self.out.write(self.sum.to_string());
            }
            Ok(Err(error)) => {
                self.session.fail(error);
                ctx.stop();
            }
            Err(_) => ctx.stop(),
        }
    }
}

#[tokio::test]
async fn an_actor_of_the_embedders_own_is_created_for_each_connection() {
    let (handle, at) = start("[limits]\nmax_sessions = 2", session_actors(Adder::new)).await;
    let ask = |client: &mut std::net::TcpStream, line: &str, expected: &str| {
        client.write_all(line.as_bytes()).expect("a line");
        let mut answer = vec![0; expected.len()];
        client.read_exact(&mut answer).expect("an answer");
        assert_eq!(String::from_utf8_lossy(&answer), expected);
    };
    let [mut one, mut other] = [connect(at), connect(at)];
    ask(&mut one, "5\n", "5\n");
    ask(&mut other, "1\n", "1\n");
    ask(&mut one, "7\n", "12\n");
    // A panic, an error and an end, each of one session; its place is free again.
    one.write_all(b"666\n").expect("a line");
    assert_eq!(read_to_fin(&mut one), b"");
    let mut wrong = connect(at);
    ask(&mut wrong, "3\n", "3\n");
    wrong.write_all(b"three\n").expect("a line");
    assert_eq!(read_to_fin(&mut wrong), b"");
    let mut over = connect(at);
    ask(&mut over, "4\n", "4\n");
    over.shutdown(Shutdown::Write).expect("a half-close");
    assert_eq!(read_to_fin(&mut over), b"");
    ended(&handle, EndReason::Eof, 1).await;
    let last = tokio::task::spawn_blocking(move || read_to_fin(&mut other));
    let summary = end(handle).await;
    assert_eq!(String::from_utf8_lossy(&last.await.expect("a client")), "goodbye at 1\n");
    let reasons = [EndReason::Panic, EndReason::Failed, EndReason::Eof, EndReason::Terminated];
    assert_eq!(reasons.map(|reason| summary.totals.ended(reason)), [1, 1, 1, 1], "{summary:?}");
}
