//! The library as an embedder sees it: start, wait, look, shut down, drop.
//!
//! What the program does is a matter of the other modules; nothing here runs it.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ipcow::config::{Config, load_str};
use ipcow::service::{Event, Service, ServiceHandle, Summary};
use ipcow::spec::Protocol;
use ipcow::supervision::{EndpointBatch, Ready};

use crate::common::{
    Block, DEADLINE, alone, assert_free, connect, echo_tcp, echo_udp, eventually,
    raise_own_descriptor_limit, read_to_fin, udp_client,
};

/// The built-in configuration under these keys, without groups.
fn config(keys: &str) -> Config {
    let text = format!("# An empty text is a fault.\n{keys}");
    let mut config = load_str("embedder", &text).expect("legal keys").config;
    config.groups.clear();
    config
}

fn start(keys: &str, spec: &str) -> ServiceHandle {
    let builder = Service::builder().config(config(keys)).listen(spec).expect("a legal spec");
    builder.build().expect("a plan").start().expect("threads")
}

fn bound(ready: &Ready, protocol: Protocol) -> SocketAddr {
    let found = ready.bound.iter().find(|endpoint| endpoint.protocol == protocol);
    found.expect("port 0 was asked for").socket_addr()
}

/// accepted = closed + failed + forced, which holds after every end.
fn assert_closed_books(summary: &Summary) {
    let totals = &summary.totals;
    let ended = totals.closed + totals.failed + totals.forced;
    assert_eq!((totals.accepted, totals.active()), (ended, 0), "{summary:?}");
}

#[tokio::test]
async fn a_service_answers_and_counts_what_its_clients_saw() {
    let handle = start("", "both://127.0.0.1:0");
    let ready = handle.wait_ready().await.expect("it runs");
    assert!(ready.is_complete());
    let mut client = connect(bound(&ready, Protocol::Tcp));
    echo_tcp(&mut client, b"five!");
    echo_udp(&udp_client(bound(&ready, Protocol::Udp)), b"seven!!");
    // The answer is on its way before it is counted.
    assert!(eventually(DEADLINE, || handle.snapshot().totals.replied == 1));
    let snapshot = handle.snapshot();
    assert_eq!((snapshot.endpoints.listening, snapshot.peak_sessions), (2, 1));
    assert_eq!(snapshot.totals.active(), 1);
    drop(client);
    let summary = handle.shutdown().await.expect("it drains");
    assert_closed_books(&summary);
    let totals = summary.totals;
    assert_eq!((totals.closed, totals.tcp_in, totals.tcp_out, totals.udp_out), (1, 5, 5, 7));
    assert_eq!(summary.drain.endpoints.listening, 2);
}

#[tokio::test]
async fn two_services_in_one_process_know_nothing_of_each_other() {
    let block = Block::new();
    let [one, other] = [0, 1].map(|index| start("", &format!("tcp://{}:0", block.ip(index))));
    let mut events = other.events();
    let at = bound(&one.wait_ready().await.expect("it runs"), Protocol::Tcp);
    let other_at = bound(&other.wait_ready().await.expect("it runs"), Protocol::Tcp);
    echo_tcp(&mut connect(at), b"for one");
    let mut kept = connect(other_at);
    echo_tcp(&mut kept, b"for the other");
    assert_eq!(one.shutdown().await.expect("it drains").totals.tcp_in, 7);
    assert_free([at]);
    echo_tcp(&mut kept, b"undisturbed");
    echo_tcp(&mut connect(other_at), b"and new");
    let summary = other.stop().await.expect("it stops");
    assert_closed_books(&summary);
    assert_eq!(summary.totals.tcp_in, 13 + 11 + 7);
    let mut ends = Vec::new();
    while let Some(next) = events.next().await {
        if let Event::Stopped { accepted, .. } = next.event {
            ends.push(accepted);
        }
    }
    assert_eq!(ends, [2], "the end of the other service alone");
}

#[tokio::test]
async fn dropping_the_handle_frees_every_port_and_ends_every_session() {
    let block = Block::new();
    let handle = start("", &format!("both://{}:18000-18199", block.ip(0)));
    assert!(handle.wait_ready().await.expect("it runs").is_complete());
    let mut session = connect(block.at(18_000));
    echo_tcp(&mut session, b"alive");
    let begun = Instant::now();
    drop(handle);
    // One second is the promise; the rest is for a machine that is busy.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_free((18_000..18_200).map(|port| block.at(port)));
    let mut rest = Vec::new();
    let _end_or_reset = session.read_to_end(&mut rest);
    assert!(rest.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_lives_inside_a_multi_thread_runtime() {
    let handle = start("", &format!("tcp://{}:0", Block::new().ip(0)));
    let at = bound(&handle.wait_ready().await.expect("it runs"), Protocol::Tcp);
    let client = tokio::task::spawn_blocking(move || echo_tcp(&mut connect(at), b"nested"));
    client.await.expect("an echo");
    let handle = tokio::spawn(async move {
        handle.shutdown().await.expect("it drains");
        handle
    });
    drop(handle.await.expect("no panic"));
    assert_free([at]);
}

#[test]
fn a_handle_that_is_dropped_at_once_leaves_no_port_and_no_panic() {
    // The panic hook is the whole process's.
    alone("library::a_handle_that_is_dropped_at_once_leaves_no_port_and_no_panic", || {
        static PANICS: AtomicUsize = AtomicUsize::new(0);
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.fetch_add(1, Ordering::Relaxed);
            before(info);
        }));
        let block = Block::new();
        for _ in 0..100 {
            drop(start("[threads]\nworkers = 16", &format!("tcp://{}:18000-18031", block.ip(0))));
        }
        assert_eq!(PANICS.load(Ordering::Relaxed), 0);
        assert_free((18_000..18_032).map(|port| block.at(port)));
    });
}

#[tokio::test]
async fn a_stop_ends_a_drain_that_waits_and_counts_its_sessions_as_forced() {
    let keys = "[shutdown]\ndrain_timeout_secs = 0\nquiet_ms = 0";
    let handle = start(keys, &format!("tcp://{}:0", Block::new().ip(0)));
    let at = bound(&handle.wait_ready().await.expect("it runs"), Protocol::Tcp);
    let mut clients: Vec<_> = (0..5).map(|_| connect(at)).collect();
    clients.iter_mut().for_each(|client| echo_tcp(client, b"here to stay"));
    let mut events = handle.events();
    let (drained, stopped) = tokio::join!(handle.shutdown(), async {
        // To ask with a connection would be a sixth session, where it comes too early.
        while !matches!(events.next().await.expect("more").event, Event::Draining { .. }) {}
        handle.stop().await
    });
    let summary = stopped.expect("it stops");
    assert_eq!(drained.expect("the same summary"), summary);
    assert_closed_books(&summary);
    assert_eq!(summary.totals.forced, 5);
}

#[tokio::test]
async fn a_shutdown_before_everything_is_decided_ends_the_wait_for_ready() {
    let block = Block::new();
    let _taken = TcpListener::bind(block.at(18_000)).expect("a fresh address");
    let keys = "[coverage]\nwait_secs = 0\n[retry]\nmax_attempts = 1000";
    let handle = start(keys, &format!("tcp://{}", block.at(18_000)));
    let (ready, summary) = tokio::join!(handle.wait_ready(), handle.shutdown());
    assert!(ready.is_err());
    assert_eq!(summary.expect("it drains").drain.endpoints.listening, 0);
}

#[tokio::test]
async fn every_recovery_is_told_however_many_come_at_once() {
    const PORTS: u64 = 2_000;
    raise_own_descriptor_limit();
    let spec = format!("tcp://{}:18000-19999", Block::new().ip(0));
    let holder = start("", &spec);
    assert!(holder.wait_ready().await.expect("it runs").is_complete());
    let keys = "[retry]\nmax_attempts = 1\nquarantine_probe_secs = 1\n[coverage]\nmin_bound = 0";
    let heir = start(keys, &spec);
    let mut events = heir.events();
    assert_eq!(heir.wait_ready().await.expect("it runs").endpoints.quarantined, PORTS);
    drop(holder);
    assert!(eventually(DEADLINE, || heir.snapshot().endpoints.listening == PORTS));
    heir.shutdown().await.expect("it drains");
    let mut told = 0;
    while let Some(next) = events.next().await {
        if let Event::Recovered { endpoints } = next.event {
            assert!(endpoints.len() <= EndpointBatch::MOST as u64);
            told += endpoints.len();
        }
    }
    assert_eq!((told, events.lost()), (PORTS, 0));
}

#[tokio::test]
async fn at_max_sessions_clients_wait_in_the_backlog_in_their_order() {
    let handle = start("[limits]\nmax_sessions = 2", "tcp://127.0.0.1:0");
    let at = bound(&handle.wait_ready().await.expect("it runs"), Protocol::Tcp);
    let mut waiting: Vec<_> = (0..10).map(|_| connect(at)).collect();
    waiting.reverse();
    let mut served = vec![];
    for _ in 0..2 {
        served.extend(waiting.pop());
    }
    served.iter_mut().for_each(|client| echo_tcp(client, b"a place"));
    while let Some(mut next) = waiting.pop() {
        assert_eq!(handle.snapshot().totals.active(), 2);
        let mut first = served.remove(0);
        first.shutdown(std::net::Shutdown::Write).expect("connected");
        assert_eq!(read_to_fin(&mut first), b"");
        echo_tcp(&mut next, b"my turn");
        served.push(next);
    }
    drop(served);
    let summary = handle.shutdown().await.expect("it drains");
    assert_closed_books(&summary);
    assert_eq!((summary.totals.accepted, summary.peak_sessions), (10, 2));
}

#[tokio::test]
async fn the_books_close_however_a_service_ends_under_clients_that_come_and_go() {
    for end in 0..6 {
        let handle = start("[shutdown]\ndrain_timeout_secs = 1", "tcp://127.0.0.1:0x4");
        let ready = handle.wait_ready().await.expect("it runs");
        let clients: Vec<_> = (0..8)
            .map(|number| {
                let at = ready.bound[number % 4].socket_addr();
                std::thread::spawn(move || while std::net::TcpStream::connect(at).is_ok() {})
            })
            .collect();
        assert!(eventually(DEADLINE, || handle.snapshot().totals.accepted > 500));
        let summary = if end % 2 == 0 { handle.shutdown().await } else { handle.stop().await };
        assert_closed_books(&summary.expect("it ends"));
        for client in clients {
            client.join().expect("it is refused in the end");
        }
    }
}
