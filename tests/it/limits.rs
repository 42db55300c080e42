//! How many sessions there may be: of all sources and of one (faults 28 and 50).

use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ipcow::config::load_str;
use ipcow::service::{Injection, Service, ServiceHandle};
use ipcow::supervision::{EndReason, Refusal, WorkerId};
use serde_json::json;
use socket2::SockRef;

use crate::common::{
    Block, DEADLINE, Ipcow, Namespace, Need, alone, connect, connect_from, counts, echo_tcp,
    eventually, needs, raise_own_descriptor_limit,
};

/// The client, if it got a session; a refused one reads FIN, and never a reset.
pub(crate) fn admitted(mut client: TcpStream) -> Option<TcpStream> {
    // Who is refused may find the connection closed already.
    let _ = client.write_all(b"?");
    let mut byte = [0];
    match client.read(&mut byte) {
        Ok(0) => None,
        Ok(_) => Some(client),
        Err(error) => panic!("{error}: neither an echo nor FIN"),
    }
}

/// So many clients from several threads at once; those that got a session.
pub(crate) fn storm(clients: usize, to: impl Fn(usize) -> SocketAddr + Sync) -> Vec<TcpStream> {
    let (next, to) = (AtomicUsize::new(0), &to);
    let numbers = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|at| *at < clients);
    std::thread::scope(|scope| {
        let thread = || std::iter::from_fn(numbers).filter_map(|at| admitted(connect(to(at))));
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(move || thread().collect::<Vec<_>>())).collect();
        threads.into_iter().flat_map(|one| one.join().expect("no client fails")).collect()
    })
}

#[test]
fn of_1500_clients_1000_are_served_and_the_rest_gets_fin() {
    raise_own_descriptor_limit();
    let block = Block::new();
    let mut server = Ipcow::serve([format!("tcp://{}:18000-18003", block.ip(0))])
        .args(["--workers", "4"])
        .set("limits.max_sessions=1000")
        .set("limits.on_limit=close")
        .start();
    assert_eq!(server.ready().endpoints("listening"), 4);
    let at = |number: usize| block.at(18_000 + u16::try_from(number % 4).expect("below 4"));
    let mut served = storm(1_500, at);
    assert_eq!(served.len(), 1_000);
    served.iter_mut().for_each(|client| echo_tcp(client, b"one of a thousand"));
    // Who leaves makes room for one.
    drop(served.pop());
    assert!(eventually(DEADLINE, || admitted(connect(at(0))).is_some()));
    drop(served);
    let summary = server.terminate().expect_code(0).summary();
    assert_eq!(summary["sessions"]["peak"], 1_000, "{summary}");
    let [accepted, closed, failed, refused] =
        counts(&summary, "sessions", ["accepted", "closed", "failed", "refused"]);
    assert_eq!((accepted, closed + failed), (1_001, 1_001), "{summary}");
    assert!(refused >= 500, "{summary}");
    assert_eq!(summary["sessions"]["refused_by_reason"], json!({"limit": refused}), "{summary}");
}

#[test]
fn of_1500_clients_never_more_than_1000_are_served_while_the_rest_waits_for_them() {
    raise_own_descriptor_limit();
    let block = Block::new();
    let mut server = Ipcow::serve([format!("tcp://{}:18000-18003", block.ip(0))])
        .args(["--workers", "4"])
        .set("limits.max_sessions=1000")
        .start();
    assert_eq!(server.ready().endpoints("listening"), 4);
    let mut clients: Vec<_> = (0..1_500)
        .map(|number| connect(block.at(18_000 + number % 4)))
        .inspect(|mut client| client.write_all(b"!").expect("the kernel has accepted"))
        .collect();
    // Each that is served leaves, and makes room for one that waits.
    let mut served = 0;
    let end = Instant::now() + DEADLINE;
    while !clients.is_empty() && Instant::now() < end {
        clients.retain_mut(|client| {
            client.set_nonblocking(true).expect("legal");
            let echoed = client.read(&mut [0; 2]).is_ok_and(|bytes| bytes == 1);
            served += usize::from(echoed);
            !echoed
        });
        std::thread::park_timeout(Duration::from_millis(1));
    }
    assert_eq!(served, 1_500);
    let summary = server.terminate().expect_code(0).summary();
    assert_eq!(counts(&summary, "sessions", ["accepted", "refused"]), [1_500, 0], "{summary}");
    assert!(summary["sessions"]["peak"].as_u64() <= Some(1_000), "{summary}");
}

#[test]
fn a_source_has_ten_sessions_over_all_endpoints_and_workers_and_others_have_theirs() {
    let block = Block::new();
    let mut server = Ipcow::serve([format!("tcp://{}:18000-18007", block.ip(0))])
        .args(["--workers", "4"])
        .set("chunks.size=1")
        .set("limits.max_sessions_per_source=10")
        .start();
    assert_eq!(server.ready().endpoints("listening"), 8);
    let at = |number: usize| block.at(18_000 + u16::try_from(number % 8).expect("below 8"));
    let mut served = storm(100, at);
    assert_eq!(served.len(), 10);
    let other = connect_from(block.ip(1), at(0));
    assert!(admitted(other).is_some(), "another source pays for the first");
    // A session that is reset is over like any other.
    for client in served.drain(5..) {
        SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("a TCP socket");
    }
    let mut again = 0;
    assert!(eventually(DEADLINE, || {
        served.extend(admitted(connect(at(again))));
        again += 1;
        served.len() == 10
    }));
    assert_eq!(storm(20, at).len(), 0, "an eleventh session of a source");
    served.iter_mut().for_each(|client| echo_tcp(client, b"one of ten"));
    drop(served);
    let summary = server.terminate().expect_code(0).summary();
    let [accepted, refused] = counts(&summary, "sessions", ["accepted", "refused"]);
    assert_eq!((accepted, accepted + refused), (16, 100 + 1 + again as u64 + 20), "{summary}");
    let by_reason = json!({"source_limit": refused});
    assert_eq!(summary["sessions"]["refused_by_reason"], by_reason, "{summary}");
}

#[test]
fn an_ipv6_network_of_64_bits_is_one_source() {
    if !needs(&[Need::Root, Need::Tool("ip")]) {
        return;
    }
    let namespace = Namespace::new();
    let source = |text: &str| -> Ipv6Addr { text.parse().expect("an address") };
    for address in ["fd00:1c0:0:1::1", "fd00:1c0:0:1:ffff::1", "fd00:1c0:0:2::1"] {
        namespace.ip(&format!("addr add {address}/128 dev lo nodad"));
    }
    namespace.enter(|| {
        let mut server =
            Ipcow::serve(["tcp://[::]:8000"]).set("limits.max_sessions_per_source=1").start();
        assert_eq!(server.ready().endpoints("listening"), 1);
        let dial =
            |from: &str| admitted(connect_from(source(from), (Ipv6Addr::LOCALHOST, 8_000).into()));
        let first = dial("fd00:1c0:0:1::1");
        assert!(first.is_some());
        assert!(dial("fd00:1c0:0:1:ffff::1").is_none(), "a neighbour in the same network");
        assert!(dial("fd00:1c0:0:2::1").is_some(), "another network");
        drop(first);
        assert!(eventually(DEADLINE, || dial("fd00:1c0:0:1:ffff::1").is_some()));
    });
}

#[test]
fn what_accept_gave_is_what_was_accepted_and_what_was_refused_for_whatever_reason() {
    if !needs(&[Need::Tool("strace")]) {
        return;
    }
    let (block, folder) = (Block::new(), tempfile::tempdir().expect("a folder"));
    let trace = folder.path().join("trace");
    let mut server = Ipcow::serve([format!("tcp://{}:18000-18001", block.ip(0))])
        .args(["--workers", "2"])
        .set("limits.max_sessions=4")
        .set("limits.on_limit=close")
        .set("limits.max_sessions_per_source=2")
        .set(&format!("listen_defaults.deny_from={}", block.ip(3)))
        .traced(&trace, &["trace=accept4"])
        .start();
    assert_eq!(server.ready().endpoints("listening"), 2);
    let dial = |from: u32, nth: u16| connect_from(block.ip(from), block.at(18_000 + nth % 2));
    let (mut held, mut dialled) = (Vec::new(), 0);
    for (from, clients, served) in [(1, 3, 2), (3, 2, 0), (2, 3, 2), (4, 2, 0)] {
        let before = held.len();
        held.extend((0..clients).filter_map(|nth| admitted(dial(from, nth))));
        assert_eq!(held.len() - before, served, "from address {from}");
        dialled += u64::from(clients);
    }
    // Gone before it was taken, or after: accept(2) gives it all the same.
    for nth in 0..50 {
        let client = dial(1 + u32::from(nth) % 4, nth);
        SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("a TCP socket");
        dialled += 1;
    }
    drop(held);
    let summary = server.terminate().expect_code(0).summary();
    let [accepted, refused] = counts(&summary, "sessions", ["accepted", "refused"]);
    assert_eq!(accepted + refused, dialled, "{summary}");
    let reasons = summary["sessions"]["refused_by_reason"].as_object().expect("by reason");
    assert_eq!(reasons.len(), 3, "{summary}");
    assert_eq!(reasons.values().filter_map(serde_json::Value::as_u64).sum::<u64>(), refused);
    // The tracer may write its last lines after the program has ended.
    let given = || {
        let text = std::fs::read_to_string(&trace).expect("a trace");
        let results = text.lines().filter(|line| line.contains("accept4"));
        results.filter(|line| line.rsplit("= ").next().is_some_and(is_number)).count() as u64
    };
    assert!(eventually(DEADLINE, || given() == dialled), "{} given, {summary}", given());
}

fn is_number(text: &str) -> bool {
    text.trim_end().parse::<u32>().is_ok()
}

fn start(keys: &str) -> ServiceHandle {
    let mut config = load_str("test", keys).expect("legal keys").config;
    config.groups.clear();
    let builder = Service::builder().config(config).listen("127.0.0.1:0").expect("a spec");
    builder.build().expect("a plan").start().expect("threads")
}

/// Fills the service up with clients; all of them have a session.
fn fill(addr: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut clients: Vec<TcpStream> = Vec::new();
    let filled = eventually(DEADLINE, || {
        clients.extend(admitted(connect(addr)));
        clients.len() == count
    });
    assert!(filled, "{} of {count} places are free", clients.len());
    assert!(admitted(connect(addr)).is_none(), "more than {count} sessions");
    clients
}

#[tokio::test]
async fn a_place_is_free_again_whether_its_session_panicked_or_its_thread_ended() {
    let keys = "[limits]\nmax_sessions = 6\nmax_sessions_per_source = 5\non_limit = \"close\"\n\
                [threads]\nworkers = 1\n[retry]\nmax_backoff_ms = 100";
    let handle = start(keys);
    let ready = handle.wait_ready().await.expect("it runs");
    let addr = ready.bound[0].socket_addr();
    let clients = fill(addr, 5);
    for client in &clients {
        handle.inject(Injection::PanicSession(client.local_addr().expect("an address")));
    }
    assert!(eventually(DEADLINE, || handle.snapshot().totals.failed == 5));
    let clients = fill(addr, 5);
    // A new Worker adopts the sessions with their places.
    handle.inject(Injection::PanicWorker(WorkerId(1)));
    assert!(admitted(connect(addr)).is_none());
    handle.inject(Injection::EndThread(WorkerId(1)));
    assert!(eventually(DEADLINE, || handle.snapshot().totals.failed == 10));
    let last = fill(addr, 5);
    let summary = handle.stop().await.expect("it stops");
    drop((clients, last));
    let totals = summary.totals;
    assert_eq!((totals.accepted, totals.failed, totals.forced), (15, 10, 5), "{summary:?}");
    let reasons = [EndReason::Panic, EndReason::WorkerLost, EndReason::Forced];
    assert_eq!(reasons.map(|reason| totals.ended(reason)), [5, 5, 5], "{summary:?}");
    assert_eq!(totals.refusals(), totals.refused[Refusal::SourceLimit.index()], "{summary:?}");
    assert_eq!(summary.peak_sessions, 5);
}

/// The p99 of these round trips.
fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

#[test]
fn five_thousand_slow_clients_leave_a_normal_echo_alone() {
    alone("limits::five_thousand_slow_clients_leave_a_normal_echo_alone", || {
        raise_own_descriptor_limit();
        let mut servers =
            [Ipcow::serve(["tcp://127.0.0.1:0"]), Ipcow::serve(["tcp://127.0.0.1:0"])]
                .map(|command| command.set("session.idle_timeout_secs=60").start());
        let [crowded, quiet] = servers.each_mut().map(|server| server.ready().tcp());
        let slow: Vec<_> = (0..5_000).map(|_| connect(crowded)).collect();
        let (done, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
        let (with, without) = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let next = Instant::now() + Duration::from_secs(1);
                    for mut client in &slow {
                        client.write_all(b"x").expect("the session is open");
                        client.read_exact(&mut [0]).expect("each byte comes back");
                    }
                    rounds.fetch_add(1, Ordering::Relaxed);
                    std::thread::park_timeout(next.saturating_duration_since(Instant::now()));
                }
            });
            let mut normal = [connect(crowded), connect(quiet)];
            let mut times = [Vec::new(), Vec::new()];
            // Turn by turn, so that both see the same machine.
            while rounds.load(Ordering::Relaxed) < 3 || times[0].len() < 1_000 {
                for (client, times) in normal.iter_mut().zip(&mut times) {
                    let start = Instant::now();
                    echo_tcp(client, b"a normal echo of thirty-two byte");
                    times.push(start.elapsed());
                }
                std::thread::park_timeout(Duration::from_millis(1));
            }
            done.store(true, Ordering::Relaxed);
            let [with, without] = times.map(p99);
            (with, without)
        });
        // A machine that is busy with other things is slow for both.
        let most = Duration::from_millis(50).max(without * 3);
        assert!(with < most, "p99 {with:?} beside slow clients, {without:?} without");
        drop(slow);
        for server in servers {
            server.terminate().expect_code(0);
        }
    });
}
