//! Crashes in masses under clients that verify every byte (faults 41, 46 and 49).
//!
//! In process, through the library. Each test has a process of its own: it counts
//! descriptors and threads, or holds thousands of sockets.

use std::collections::HashSet;
use std::io::Write;
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use ipcow::config::load_str;
use ipcow::service::{Injection, Service, ServiceHandle};
use ipcow::spec::Protocol;
use ipcow::supervision::{FaultKind, Ready};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::watch;

use crate::common::{
    DEADLINE, Need, alone, connect, count_poisoned, echo_tcp, eventually_async, needs,
    own_descriptors, own_threads, poisoned, raise_own_descriptor_limit, random_bytes, read_to_fin,
};

/// Nothing is ever quarantined, and what crashes returns soon.
const PATIENT: &str = "[supervision]\nmax_restarts = 1000\n[retry]\nmax_backoff_ms = 100\n\
                       [threads]\nworkers = 2";
const SESSIONS: usize = 100;
const STAMPEDE: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(100);

fn start(keys: &str, spec: &str) -> ServiceHandle {
    let mut config = load_str("test", keys).expect("legal keys").config;
    config.groups.clear();
    let builder = Service::builder().config(config).listen(spec).expect("a legal spec");
    builder.build().expect("a plan").start().expect("threads")
}

/// Runs a future on this thread alone.
fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    tokio::task::LocalSet::new().block_on(&runtime.expect("a runtime"), future)
}

/// What one client saw.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Seen {
    /// Sessions that ended before the client wanted it.
    ended: u64,
    bytes: u64,
}

/// Echoes until told to stop, with a new session for each that dies. Whatever comes
/// back must be what was sent, in order, without a gap.
async fn client(at: SocketAddr, seed: u64, stop: watch::Receiver<bool>) -> Seen {
    let mut seen = Seen::default();
    let mut chance = fastrand::Rng::with_seed(seed);
    let script = random_bytes(65_536, seed);
    let mut back = vec![0; script.len()];
    'session: loop {
        let mut stream = TcpStream::connect(at).await.expect("it listens");
        while !*stop.borrow() {
            let from = chance.usize(..script.len() / 2);
            let frame = &script[from..from + chance.usize(1..script.len() / 2)];
            let whole = stream.write_all(frame).await.is_ok();
            let mut read = 0;
            while read < frame.len() {
                match stream.read(&mut back[read..frame.len()]).await {
                    Ok(length @ 1..) => read += length,
                    Ok(0) | Err(_) => break,
                }
            }
            assert!(back[..read] == frame[..read], "{at}: other bytes came back");
            seen.bytes += read as u64;
            if !whole || read < frame.len() {
                seen.ended += 1;
                continue 'session;
            }
            // Other tests want the machine too.
            tokio::time::sleep(Duration::from_millis(chance.u64(1..20))).await;
        }
        stream.shutdown().await.expect("it lives");
        assert_eq!(stream.read(&mut back).await.expect("FIN"), 0, "{at}: more came than was sent");
        return seen;
    }
}

/// A connect and an echo at every endpoint, all together within a second, which is the
/// promise; two more are for a machine that is busy with other tests.
async fn every_endpoint_answers(handle: &ServiceHandle) {
    let ready = handle.wait_ready().await.expect("it runs");
    let began = Instant::now();
    for endpoint in ready.bound {
        let at = endpoint.socket_addr();
        match endpoint.protocol {
            Protocol::Tcp => {
                let mut stream = TcpStream::connect(at).await.expect("it listens");
                stream.write_all(b"who is there").await.expect("connected");
                stream.shutdown().await.expect("connected");
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).await.expect("an answer, then FIN");
                assert_eq!(answer, b"who is there");
            }
            Protocol::Udp => {
                let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
                socket.connect(at).await.expect("a route to loopback");
                socket.send(b"and you").await.expect("it listens");
                let mut answer = [0; 16];
                assert_eq!(socket.recv(&mut answer).await.expect("an answer"), 7);
            }
        }
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn a_stampede_disturbs_nobody_else_and_leaves_nothing_behind() {
    alone("stampede::a_stampede_disturbs_nobody_else_and_leaves_nothing_behind", || {
        count_poisoned();
        // What a process opens once and keeps is not this service's.
        run(async { drop(start(PATIENT, "127.0.0.1:0").shutdown().await) });
        let before = (own_descriptors(), own_threads());
        run(async { stampede().await });
        assert_eq!((own_descriptors(), own_threads()), before, "after the service has stopped");
    });
}

async fn stampede() {
    let handle = start(PATIENT, "both://127.0.0.1:0x16");
    let ready = handle.wait_ready().await.expect("it runs");
    every_endpoint_answers(&handle).await;
    assert!(eventually_async(DEADLINE, || async { handle.snapshot().totals.active() == 0 }).await);
    let serving = (own_descriptors(), own_threads());
    let listens = |nth: usize| {
        let tcp = ready.bound.iter().filter(|endpoint| endpoint.protocol == Protocol::Tcp);
        tcp.cycle().nth(nth).expect("endless").socket_addr()
    };
    let (stop, stopped) = watch::channel(false);
    let clients: Vec<_> = (0..SESSIONS)
        .map(|nth| tokio::task::spawn_local(client(listens(nth), nth as u64 + 1, stopped.clone())))
        .collect();
    let mut steps = tokio::time::interval(STEP);
    let over = Instant::now() + STAMPEDE;
    while Instant::now() < over {
        steps.tick().await;
        handle.inject(Injection::PanicAny);
    }
    every_endpoint_answers(&handle).await;
    stop.send_replace(true);
    let mut seen = Seen::default();
    for client in clients {
        let one = client.await.expect("every byte was right");
        seen = Seen { ended: seen.ended + one.ended, bytes: seen.bytes + one.bytes };
    }
    assert!(
        eventually_async(DEADLINE, || async { (own_descriptors(), own_threads()) == serving })
            .await,
        "{serving:?} before"
    );
    assert_eq!(handle.snapshot().endpoints.listening, 32);
    let summary = handle.shutdown().await.expect("it drains");
    let killed = |kind| summary.errors.by_kind.get(&kind).copied().unwrap_or(0);
    println!("{seen:?}, {:?}", summary.errors);
    // Who was not killed was not disturbed. The other way round there is one that died
    // of its poison when its client had all it wanted.
    let panicked = killed(FaultKind::SessionPanic);
    assert!(seen.ended <= panicked, "{:?}", summary.errors);
    assert_eq!(summary.totals.failed, panicked);
    // Each death is in the log once; a chunk's is a worker's too.
    assert_eq!(summary.errors.logged, poisoned().values().sum::<u64>());
    assert_eq!(summary.totals.accepted, summary.totals.closed + summary.totals.failed);
    assert!(seen.ended > 0 && seen.bytes > 1_000_000, "{seen:?}");
}

#[test]
fn a_thousand_of_two_thousand_sessions_panic_and_the_others_are_byte_exact() {
    alone(
        "stampede::a_thousand_of_two_thousand_sessions_panic_and_the_others_are_byte_exact",
        || {
            if !needs(&[Need::Descriptors(8_000)]) {
                return;
            }
            raise_own_descriptor_limit();
            count_poisoned();
            run(half_of_the_sessions_panic());
        },
    );
}

/// Clients that no two have the same address: a kernel gives one port to several, where
/// they connect to different endpoints.
fn distinct(ready: &Ready, count: usize) -> Vec<std::net::TcpStream> {
    let mut taken = HashSet::new();
    let mut endpoints = ready.bound.iter().cycle();
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        let client = connect(endpoints.next().expect("endless").socket_addr());
        if taken.insert(client.local_addr().expect("an address")) {
            all.push(client);
        }
    }
    all
}

async fn half_of_the_sessions_panic() {
    let handle = start(PATIENT, "127.0.0.1:0x8");
    let ready = handle.wait_ready().await.expect("it runs");
    let script = random_bytes(4_096, 41);
    let (first, rest) = script.split_at(1_000);
    let mut clients = distinct(&ready, 2_000);
    clients.iter_mut().for_each(|client| echo_tcp(client, first));
    let doomed: Vec<_> = clients.drain(..1_000).collect();
    for (nth, client) in doomed.iter().enumerate() {
        handle.inject(Injection::PanicSession(client.local_addr().expect("an address")));
        // In the midst of the deaths.
        clients[nth].write_all(rest).expect("connected");
    }
    for mut client in doomed {
        assert_eq!(read_to_fin(&mut client), b"");
    }
    for mut client in clients {
        client.shutdown(Shutdown::Write).expect("connected");
        assert!(read_to_fin(&mut client) == rest);
    }
    let summary = handle.shutdown().await.expect("it drains");
    assert_eq!(summary.errors.by_kind, [(FaultKind::SessionPanic, 1_000)].into());
    assert_eq!((summary.errors.logged, summary.errors.dropped), (1_000, 0));
    assert_eq!(summary.totals.failed, 1_000);
    assert!(summary.totals.tcp_out >= 2_000 * 1_000 + 1_000 * rest.len() as u64);
}

/// Session failures that wait to be logged, at most.
const QUEUE: u64 = 10_000;

#[test]
fn a_blocked_error_log_drops_what_its_queue_does_not_hold_and_counts_it() {
    alone("stampede::a_blocked_error_log_drops_what_its_queue_does_not_hold_and_counts_it", || {
        count_poisoned();
        run(a_blocked_error_log());
    });
}

async fn a_blocked_error_log() {
    let block = Duration::from_secs(20);
    let handle = start(PATIENT, "127.0.0.1:0x4");
    let ready = handle.wait_ready().await.expect("it runs");
    let at = |nth: usize| ready.bound[nth % 4].socket_addr();
    let mut witnesses: Vec<_> = (0..10).map(|nth| connect(at(nth))).collect();
    let began = Instant::now();
    handle.inject(Injection::BlockErrorLog(block));
    // The first failure: when it is there, the error log handles nothing.
    let mut first = connect(at(0));
    echo_tcp(&mut first, b"before");
    handle.inject(Injection::PanicSession(first.local_addr().expect("an address")));
    read_to_fin(&mut first);
    for nth in 0.. {
        let mut stream = connect(at(nth));
        stream.write_all(b"?").expect("connected");
        // Zero linger: close sends RST.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a TCP socket");
        drop(stream);
        if nth % 100 == 0 {
            witnesses.iter_mut().for_each(|witness| echo_tcp(witness, b"undisturbed"));
            if handle.snapshot().totals.failed > QUEUE + 500 {
                break;
            }
        }
    }
    assert!(eventually_async(DEADLINE, || async { handle.snapshot().totals.active() == 10 }).await);
    let failed = handle.snapshot().totals.failed;
    assert!(began.elapsed() < block, "the block must outlast the failures: {:?}", began.elapsed());
    drop(witnesses);
    let summary = handle.shutdown().await.expect("it drains");
    assert_eq!((summary.errors.logged, summary.errors.dropped), (QUEUE, failed - QUEUE));
    assert_eq!(summary.totals.closed + failed, summary.totals.accepted);
}
