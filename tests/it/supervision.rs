//! Crashes of every part of the tree: what dies comes back, and nobody else notices.
//!
//! In process, through the library, with faults on demand.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use ipcow::config::{Config, load_str};
use ipcow::service::{Event, Events, Injection, Service, ServiceHandle, Summary};
use ipcow::spec::{Endpoint, Protocol};
use ipcow::supervision::{FaultKind, Ready, WorkerId};

use crate::common::{
    Block, DEADLINE, alone, connect, count_poisoned, echo_tcp, echo_udp, eventually, poisoned,
    read_to_fin, refused, udp_client,
};

/// Restarts often enough that no test runs out of them by accident.
const PATIENT: &str = "[supervision]\nmax_restarts = 1000\n[retry]\nmax_backoff_ms = 100";

fn config(keys: &str) -> Config {
    let mut config = load_str("test", &format!("# Keys:\n{keys}")).expect("legal keys").config;
    config.groups.clear();
    config
}

fn start(keys: &str, spec: &str) -> ServiceHandle {
    let builder = Service::builder().config(config(keys)).listen(spec).expect("a legal spec");
    builder.build().expect("a plan").start().expect("threads")
}

fn bound(ready: &Ready, protocol: Protocol) -> Vec<Endpoint> {
    ready.bound.iter().copied().filter(|endpoint| endpoint.protocol == protocol).collect()
}

fn assert_closed_books(summary: &Summary) {
    let totals = &summary.totals;
    let ended = totals.closed + totals.failed + totals.forced;
    assert_eq!((totals.accepted, totals.active()), (ended, 0), "{summary:?}");
}

async fn event(events: &mut Events, wanted: impl Fn(&Event) -> bool) {
    let found = async {
        loop {
            let next = events.next().await.expect("the service runs");
            if wanted(&next.event) {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, found).await.expect("the event comes");
}

/// Open sessions that echo until somebody disturbs them.
fn sessions(addr: SocketAddr, count: usize) -> Vec<TcpStream> {
    (0..count)
        .map(|_| {
            let mut client = connect(addr);
            echo_tcp(&mut client, b"hello");
            client
        })
        .collect()
}

#[tokio::test]
async fn a_panicked_session_only_frees_its_slot() {
    let handle = start("", "127.0.0.1:0");
    let ready = handle.wait_ready().await.expect("it runs");
    let addr = bound(&ready, Protocol::Tcp)[0].socket_addr();
    let mut clients = sessions(addr, 40);
    let doomed: Vec<_> = clients.drain(..20).collect();
    for client in &doomed {
        handle.inject(Injection::PanicSession(client.local_addr().expect("an address")));
    }
    assert!(eventually(DEADLINE, || handle.snapshot().totals.failed == 20));
    for mut client in doomed {
        read_to_fin(&mut client);
    }
    for client in &mut clients {
        echo_tcp(client, b"undisturbed");
    }
    drop(clients);
    let summary = handle.shutdown().await.expect("it drains");
    assert_closed_books(&summary);
    assert_eq!(summary.errors.by_kind[&FaultKind::SessionPanic], 20);
}

#[tokio::test]
async fn a_panicked_listener_serves_again_from_the_same_socket_and_its_sessions_live_on() {
    let handle = start("", "both://127.0.0.1:0");
    let mut events = handle.events();
    let ready = handle.wait_ready().await.expect("it runs");
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let endpoint = bound(&ready, protocol)[0];
        let addr = endpoint.socket_addr();
        let mut before = (protocol == Protocol::Tcp).then(|| sessions(addr, 3));
        handle.inject(Injection::PanicListener(endpoint));
        event(&mut events, |event| matches!(event, Event::ListenerCrashed { .. })).await;
        let began = Instant::now();
        event(&mut events, |event| event.recovers(&endpoint)).await;
        assert!(began.elapsed() < Duration::from_secs(2));
        match &mut before {
            Some(clients) => {
                clients.extend(sessions(addr, 1));
                clients.iter_mut().for_each(|client| echo_tcp(client, b"as before"));
            }
            None => echo_udp(&udp_client(addr), b"as before"),
        }
    }
    let summary = handle.shutdown().await.expect("it drains");
    assert_closed_books(&summary);
    assert_eq!((summary.restarts.listeners, summary.totals.failed), (2, 0));
}

#[tokio::test]
async fn a_panicked_worker_is_replaced_and_not_one_session_notices() {
    let handle = start("[threads]\nworkers = 2", "both://127.0.0.1:0x8");
    let mut events = handle.events();
    let ready = handle.wait_ready().await.expect("it runs");
    let endpoints = bound(&ready, Protocol::Tcp);
    let mut clients: Vec<_> =
        endpoints.iter().flat_map(|endpoint| sessions(endpoint.socket_addr(), 2)).collect();
    for worker in [WorkerId(1), WorkerId(2)] {
        handle.inject(Injection::PanicWorker(worker));
        event(&mut events, |event| matches!(event, Event::WorkerCrashed { .. })).await;
    }
    for client in &mut clients {
        echo_tcp(client, b"undisturbed");
    }
    for endpoint in &endpoints {
        clients.extend(sessions(endpoint.socket_addr(), 1));
    }
    assert_eq!(handle.snapshot().endpoints.listening, 16);
    drop(clients);
    let summary = handle.shutdown().await.expect("it drains");
    assert_closed_books(&summary);
    assert_eq!((summary.restarts.workers, summary.totals.failed), (2, 0));
    assert_eq!(summary.errors.by_kind[&FaultKind::WorkerPanic], 2);
}

#[tokio::test]
async fn a_thread_that_ends_is_replaced_and_only_its_own_sessions_are_lost() {
    let handle = start("[threads]\nworkers = 2", "127.0.0.1:0x8");
    let mut events = handle.events();
    let ready = handle.wait_ready().await.expect("it runs");
    let endpoints = bound(&ready, Protocol::Tcp);
    // Wherever a session was accepted, it lives on the worker that had least to do.
    let mut clients: Vec<_> =
        endpoints.iter().flat_map(|endpoint| sessions(endpoint.socket_addr(), 1)).collect();
    let own = handle.loads()[0].sessions;
    assert!((2..=6).contains(&own), "{:?}", handle.loads());
    handle.inject(Injection::EndThread(WorkerId(1)));
    event(&mut events, |event| matches!(event, Event::WorkerLost { worker: WorkerId(1), .. }))
        .await;
    assert!(eventually(DEADLINE, || {
        let snapshot = handle.snapshot();
        let served = snapshot.endpoints.listening == 8 && snapshot.chunks.completed == 2;
        // A thread is known to have ended before its last session is booked.
        served && snapshot.totals.failed == own
    }));
    let alive = clients
        .iter_mut()
        .filter_map(|client| client.write_all(b"?").ok().map(|()| client))
        .filter(|client| {
            use std::io::Read;
            let mut answer = [0];
            matches!((&**client).read(&mut answer), Ok(1))
        })
        .count();
    assert_eq!(alive as u64, 8 - own);
    for endpoint in &endpoints {
        sessions(endpoint.socket_addr(), 2);
    }
    drop(clients);
    let summary = handle.shutdown().await.expect("it drains");
    assert_closed_books(&summary);
}

#[tokio::test]
async fn the_supervisor_and_the_error_log_die_and_come_back_with_what_they_knew() {
    let handle = start(PATIENT, "both://127.0.0.1:0x4");
    let mut events = handle.events();
    let ready = handle.wait_ready().await.expect("it runs");
    let endpoint = bound(&ready, Protocol::Tcp)[0];
    let mut clients = sessions(endpoint.socket_addr(), 5);
    for _ in 0..3 {
        handle.inject(Injection::PanicSupervisor);
        handle.inject(Injection::PanicErrorLog);
        // The successor knows the endpoint, its lease and its socket.
        handle.inject(Injection::PanicListener(endpoint));
        event(&mut events, |event| event.recovers(&endpoint)).await;
    }
    for client in &mut clients {
        echo_tcp(client, b"undisturbed");
    }
    assert_eq!(handle.snapshot().endpoints.listening, 8);
    drop(clients);
    // The last thing before the end, so that the end finds it dead.
    handle.inject(Injection::PanicErrorLog);
    let summary = handle.shutdown().await.expect("it drains");
    assert_closed_books(&summary);
    assert_eq!(summary.errors.by_kind[&FaultKind::SupervisorPanic], 3);
    assert!(summary.errors.by_kind[&FaultKind::ErrorLogPanic] >= 3);
}

#[tokio::test]
async fn a_listener_that_keeps_crashing_is_quarantined_and_its_siblings_stay() {
    let keys = "[supervision]\nmax_restarts = 2\n[retry]\ninitial_backoff_ms = 1\n\
                quarantine_probe_secs = 0";
    let handle = start(keys, "127.0.0.1:0x3");
    let mut events = handle.events();
    let ready = handle.wait_ready().await.expect("it runs");
    let endpoints = bound(&ready, Protocol::Tcp);
    for _ in 0..2 {
        handle.inject(Injection::PanicListener(endpoints[0]));
        event(&mut events, |event| event.recovers(&endpoints[0])).await;
    }
    handle.inject(Injection::PanicListener(endpoints[0]));
    event(&mut events, |event| matches!(event, Event::Quarantined { .. })).await;
    assert!(eventually(DEADLINE, || handle.snapshot().endpoints.quarantined == 1));
    assert!(eventually(DEADLINE, || TcpStream::connect(endpoints[0].socket_addr()).is_err()));
    for endpoint in &endpoints[1..] {
        sessions(endpoint.socket_addr(), 1);
    }
    let summary = handle.shutdown().await.expect("it drains");
    assert_eq!((summary.drain.chunks.error, summary.restarts.listeners), (1, 2));
}

#[tokio::test]
async fn a_worker_that_hangs_is_seen_and_not_replaced() {
    let handle = start("[threads]\nworkers = 2", "127.0.0.1:0x2");
    let mut events = handle.events();
    handle.wait_ready().await.expect("it runs");
    let hangs = handle.hang(WorkerId(2)).await.expect("it has a thread");
    event(&mut events, |event| *event == Event::WorkerHung { worker: WorkerId(2) }).await;
    assert_eq!(handle.snapshot().hung_workers, 1);
    drop(hangs);
    assert!(eventually(DEADLINE, || handle.snapshot().hung_workers == 0));
    let summary = handle.shutdown().await.expect("it drains");
    assert_eq!(summary.restarts.workers, 0);
}

#[tokio::test]
async fn a_worker_that_answers_with_its_death_hangs_no_longer_and_its_sessions_end_in_a_drain() {
    let keys = "[threads]\nworkers = 2\n[retry]\ninitial_backoff_ms = 5000\njitter = 0.0";
    let handle = start(keys, "127.0.0.1:0x8");
    let mut events = handle.events();
    let ready = handle.wait_ready().await.expect("it runs");
    let endpoints = bound(&ready, Protocol::Tcp);
    let _clients: Vec<_> =
        endpoints.iter().flat_map(|endpoint| sessions(endpoint.socket_addr(), 1)).collect();
    let worker = WorkerId(1);
    handle.inject(Injection::PanicWorker(worker));
    event(&mut events, |event| *event == Event::WorkerRestarted { worker }).await;
    let hangs = handle.hang(worker).await.expect("it has a thread");
    // Its successor, whose heart would beat, comes five seconds later.
    handle.inject(Injection::PanicWorker(worker));
    event(&mut events, |event| *event == Event::WorkerHung { worker }).await;
    drop(hangs);
    event(&mut events, |event| matches!(event, Event::WorkerCrashed { .. })).await;
    assert_eq!(handle.snapshot().hung_workers, 0);
    let totals = handle.shutdown().await.expect("it drains").totals;
    assert_eq!((totals.closed, totals.forced), (8, 0));
}

#[tokio::test]
async fn a_poisoned_chunk_is_quarantined_and_the_other_chunks_are_untouched() {
    let keys = "[threads]\nworkers = 2\n[chunks]\nsize = 2\n[supervision]\nmax_restarts = 3\n\
                [retry]\ninitial_backoff_ms = 1\nquarantine_probe_secs = 0";
    let builder = Service::builder().config(config(keys)).poison_chunk(2);
    let service = builder.listen("127.0.0.1:0x6").expect("a legal spec").build().expect("a plan");
    let handle = service.start().expect("threads");
    let ready = handle.wait_ready().await.expect("every endpoint is decided");
    assert_eq!((ready.endpoints.listening, ready.endpoints.quarantined), (4, 2));
    assert_eq!((ready.chunks.completed, ready.chunks.error), (2, 1));
    assert!(ready.failures.iter().all(|failed| failed.fault.kind == FaultKind::ChunkPanic));
    for endpoint in bound(&ready, Protocol::Tcp) {
        sessions(endpoint.socket_addr(), 1);
    }
    let summary = handle.shutdown().await.expect("it drains");
    assert_closed_books(&summary);
    assert_eq!(summary.errors.by_kind[&FaultKind::ChunkPanic], 4);
}

#[tokio::test]
async fn a_listener_that_crashes_once_too_often_before_its_worker_reports_is_quarantined() {
    let keys = "[supervision]\nmax_restarts = 0\n[retry]\nquarantine_probe_secs = 0\n\
                [threads]\nworkers = 1";
    let block = Block::new();
    let spec = format!("tcp://{}:18000-19999", block.ip(0));
    let handle = start(keys, &spec);
    let mut events = handle.events();
    let endpoint = handle.plan().endpoints.get(0).expect("2,000 endpoints").1;
    // The first of a chunk that is still being opened.
    while refused(endpoint.socket_addr()) {}
    handle.inject(Injection::PanicListener(endpoint));
    event(&mut events, |event| matches!(event, Event::Quarantined { .. })).await;
    let ready = handle.wait_ready().await.expect("every endpoint is decided");
    assert_eq!((ready.endpoints.listening, ready.endpoints.quarantined), (1_999, 1));
    // The worker lets go of its own share of the socket next.
    assert!(eventually(DEADLINE, || refused(endpoint.socket_addr())));
}

#[test]
fn a_crash_is_in_the_log_also_when_its_thread_ends_before_anybody_hears_of_it() {
    let name = "supervision::\
                a_crash_is_in_the_log_also_when_its_thread_ends_before_anybody_hears_of_it";
    alone(name, || {
        count_poisoned();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(crash_unheard());
    });
}

async fn crash_unheard() {
    let keys = "[threads]\nworkers = 1\n[retry]\ninitial_backoff_ms = 1000\njitter = 0.0";
    let handle = start(keys, "127.0.0.1:0x2");
    let mut events = handle.events();
    let ready = handle.wait_ready().await.expect("it runs");
    let kill = |injection, actor: &str, times| {
        let killed = eventually(DEADLINE, || {
            handle.inject(injection);
            poisoned().get(actor) == Some(&times)
        });
        assert!(killed, "{actor}");
    };
    // The second time it is dead for a second.
    kill(Injection::PanicSupervisor, "Supervisor", 2);
    kill(Injection::PanicListener(ready.bound[0]), "Listener", 1);
    kill(Injection::PanicWorker(WorkerId(1)), "Worker", 1);
    handle.inject(Injection::EndThread(WorkerId(1)));
    event(&mut events, |event| matches!(event, Event::WorkerLost { worker: WorkerId(1), .. }))
        .await;
    // Its successor opened it: what the lost thread had to say came before.
    event(&mut events, |event| event.recovers(&ready.bound[0])).await;
    assert!(eventually(DEADLINE, || handle.snapshot().endpoints.listening == 2));
    let summary = handle.shutdown().await.expect("it drains");
    let of = |kind| summary.errors.by_kind.get(&kind).copied().unwrap_or(0);
    assert_eq!((of(FaultKind::ListenerPanic), of(FaultKind::WorkerPanic)), (1, 1), "{summary:?}");
}
