//! Drain and stop, whatever the tree is doing: each ends in time, frees every port and
//! closes the books.
//!
//! In process, through the library, with faults on demand.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use ipcow::config::load_str;
use ipcow::service::{Event, Events, Injection, Service, ServiceHandle, Summary};
use ipcow::spec::{Endpoint, Protocol};
use ipcow::supervision::{FaultKind, WorkerId};

use crate::common::{
    Block, DEADLINE, alone, assert_free, connect, count_poisoned, echo_tcp, eventually, poisoned,
    read_to_fin, refused,
};

/// What happens at once the first time takes a long time the second.
const SLOW: &str = "[retry]\ninitial_backoff_ms = 5000\njitter = 0.0\nmax_attempts = 1000\n\
                    [coverage]\nwait_secs = 0\n[threads]\nworkers = 2\n\
                    [supervision]\nmax_restarts = 1000";
/// The promise is one second after the last session; the rest is for a busy machine.
const IN_TIME: Duration = Duration::from_secs(4);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Drain,
    Stop,
}

const BOTH: [End; 2] = [End::Drain, End::Stop];

fn start(keys: &str, spec: &str) -> ServiceHandle {
    let mut config = load_str("test", keys).expect("legal keys").config;
    config.groups.clear();
    let builder = Service::builder().config(config).listen(spec).expect("a legal spec");
    builder.build().expect("a plan").start().expect("threads")
}

async fn event(events: &mut Events, wanted: impl Fn(&Event) -> bool) {
    let found = async { while !wanted(&events.next().await.expect("it runs").event) {} };
    tokio::time::timeout(DEADLINE, found).await.expect("the event comes");
}

/// Ends the service and asserts what holds after every end.
async fn end(handle: &ServiceHandle, end: End) -> Summary {
    let began = Instant::now();
    let summary = match end {
        End::Drain => handle.shutdown().await,
        End::Stop => handle.stop().await,
    };
    let took = began.elapsed();
    assert!(took < IN_TIME, "{end:?} took {took:?}");
    let summary = summary.expect("a summary");
    let totals = &summary.totals;
    let ended = totals.closed + totals.failed + totals.forced;
    assert_eq!((totals.accepted, totals.active()), (ended, 0), "{summary:?}");
    summary
}

/// A service of eight endpoints that is ready, and these.
async fn ready(keys: &str) -> (ServiceHandle, Vec<Endpoint>) {
    // On an address of its own: a port that is given back is nobody else's afterwards.
    let handle = start(keys, &format!("{}:0x8", Block::new().ip(0)));
    let ready = handle.wait_ready().await.expect("it runs");
    assert!(ready.bound.iter().all(|endpoint| endpoint.protocol == Protocol::Tcp));
    (handle, ready.bound)
}

fn assert_all_refuse(endpoints: &[Endpoint]) {
    assert_free(endpoints.iter().map(Endpoint::socket_addr));
}

#[tokio::test]
async fn half_bound() {
    for way in BOTH {
        let block = Block::new();
        let keys = "[threads]\nworkers = 1\n[chunks]\nsize = 50";
        let handle = start(keys, &format!("{}:18000-19999", block.ip(0)));
        assert!(eventually(DEADLINE, || handle.snapshot().endpoints.listening > 0));
        let summary = end(&handle, way).await;
        assert!(summary.drain.endpoints.pending > 0, "{:?}", summary.drain.endpoints);
        assert_free((18_000..20_000).map(|port| block.at(port)));
    }
}

#[tokio::test]
async fn in_the_middle_of_the_one_chunk_that_holds_everything() {
    for way in BOTH {
        let block = Block::new();
        let keys = "[threads]\nworkers = 1";
        let handle = start(keys, &format!("{}:18000-19999", block.ip(0)));
        assert!(eventually(DEADLINE, || !refused(block.at(18_000))));
        end(&handle, way).await;
        assert_free((18_000..20_000).map(|port| block.at(port)));
    }
}

#[tokio::test]
async fn in_backoff_after_a_failed_bind() {
    for way in BOTH {
        let block = Block::new();
        let taken = TcpListener::bind(block.at(18_003)).expect("a fresh address");
        let handle = start(SLOW, &format!("{}:18000-18007", block.ip(0)));
        assert!(eventually(DEADLINE, || {
            let endpoints = handle.snapshot().endpoints;
            (endpoints.listening, endpoints.retrying) == (7, 1)
        }));
        let summary = end(&handle, way).await;
        assert_eq!(summary.errors.by_kind, [(FaultKind::BindInUse, 1)].into());
        drop(taken);
        assert_free((18_000..18_008).map(|port| block.at(port)));
    }
}

#[tokio::test]
async fn in_quarantine() {
    for way in BOTH {
        let keys = "[supervision]\nmax_restarts = 0";
        let (handle, endpoints) = ready(keys).await;
        let mut events = handle.events();
        let mut client = connect(endpoints[0].socket_addr());
        echo_tcp(&mut client, b"before");
        handle.inject(Injection::PanicListener(endpoints[0]));
        event(&mut events, |event| matches!(event, Event::Quarantined { .. })).await;
        echo_tcp(&mut client, b"its sessions live on");
        drop(client);
        let summary = end(&handle, way).await;
        assert_eq!(summary.drain.endpoints.quarantined, 1);
        assert_eq!(summary.errors.by_kind, [(FaultKind::ListenerPanic, 1)].into());
        assert_all_refuse(&endpoints);
    }
}

/// Crashes something twice. The first crash is made good at once, as `back` is told;
/// the second after five seconds.
async fn crash_twice(handle: &ServiceHandle, injection: Injection, back: impl Fn(&Event) -> bool) {
    let mut events = handle.events();
    let crashed = |event: &Event| {
        matches!(event, Event::WorkerCrashed { .. } | Event::ListenerCrashed { .. })
    };
    handle.inject(injection);
    event(&mut events, crashed).await;
    event(&mut events, back).await;
    handle.inject(injection);
    event(&mut events, crashed).await;
}

#[tokio::test]
async fn while_a_worker_waits_for_its_replacement() {
    for way in BOTH {
        let (handle, endpoints) = ready(SLOW).await;
        let mut clients: Vec<_> =
            endpoints.iter().map(|endpoint| connect(endpoint.socket_addr())).collect();
        clients.iter_mut().for_each(|client| echo_tcp(client, b"before"));
        for worker in [WorkerId(1), WorkerId(2)] {
            let back = |event: &Event| *event == Event::WorkerRestarted { worker };
            crash_twice(&handle, Injection::PanicWorker(worker), back).await;
        }
        clients.iter_mut().for_each(|client| echo_tcp(client, b"nobody opens, all serve"));
        let summary = end(&handle, way).await;
        assert_eq!(summary.errors.by_kind, [(FaultKind::WorkerPanic, 4)].into());
        if way == End::Drain {
            // Closed with FIN once they were quiet.
            clients.iter_mut().for_each(|client| assert_eq!(read_to_fin(client), b""));
            assert_eq!((summary.totals.closed, summary.totals.forced), (8, 0));
        }
        assert_all_refuse(&endpoints);
    }
}

#[tokio::test]
async fn while_a_listener_waits_to_be_served_again() {
    for way in BOTH {
        let (handle, endpoints) = ready(SLOW).await;
        let injection = Injection::PanicListener(endpoints[0]);
        crash_twice(&handle, injection, |event| event.recovers(&endpoints[0])).await;
        // It waits in the backlog of a socket that nobody serves for five seconds.
        let _waiting = connect(endpoints[0].socket_addr());
        let summary = end(&handle, way).await;
        assert_eq!(summary.drain.endpoints.retrying, 1);
        assert_all_refuse(&endpoints);
    }
}

#[tokio::test]
async fn while_a_thread_is_replaced() {
    for way in BOTH {
        let (handle, endpoints) = ready(SLOW).await;
        for endpoint in &endpoints {
            echo_tcp(&mut connect(endpoint.socket_addr()), b"before");
        }
        handle.inject(Injection::EndThread(WorkerId(1)));
        end(&handle, way).await;
        assert_all_refuse(&endpoints);
    }
}

#[tokio::test]
async fn while_a_worker_hangs() {
    for way in BOTH {
        let (handle, endpoints) = ready(SLOW).await;
        handle.inject(Injection::Hang(WorkerId(1), Duration::from_secs(1)));
        end(&handle, way).await;
        assert_all_refuse(&endpoints);
    }
}

#[tokio::test]
async fn a_worker_that_hangs_for_ever_keeps_no_service_from_its_stop() {
    let (handle, _endpoints) = ready(SLOW).await;
    let _hangs = handle.hang(WorkerId(1)).await.expect("it has a thread");
    let began = Instant::now();
    handle.stop().await.expect("it stops");
    assert!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_worker_that_hangs_for_ever_keeps_no_drain_from_its_end() {
    let keys = format!("{SLOW}\n[shutdown]\ndrain_timeout_secs = 0");
    let (handle, endpoints) = ready(&keys).await;
    let mut clients: Vec<_> =
        endpoints.iter().map(|endpoint| connect(endpoint.socket_addr())).collect();
    clients.iter_mut().for_each(|client| echo_tcp(client, b"before"));
    // A busy worker gets fewer of them.
    let held = handle.loads()[0].sessions;
    assert!((1..8).contains(&held), "{:?}", handle.loads());
    let _hangs = handle.hang(WorkerId(1)).await.expect("it has a thread");
    let began = Instant::now();
    let summary = handle.shutdown().await.expect("it drains");
    assert!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
    let totals = &summary.totals;
    assert_eq!(
        (totals.closed, totals.active()),
        (8 - held, held),
        "the other worker's sessions ended"
    );
}

/// Kills these twice, and ends the service while they wait for a second to come back.
async fn ends_while_dead(killed: &[(Injection, &str, FaultKind)]) {
    count_poisoned();
    for (round, way) in (1..).zip(BOTH) {
        let (handle, endpoints) = ready(SLOW).await;
        let mut client = connect(endpoints[0].socket_addr());
        // One that is dead already cannot be killed: it is tried until it was.
        for (injection, actor, _) in killed {
            assert!(eventually(DEADLINE, || {
                handle.inject(*injection);
                poisoned().get(*actor) == Some(&(2 * round))
            }));
        }
        echo_tcp(&mut client, b"undisturbed");
        drop(client);
        let summary = end(&handle, way).await;
        let expected: BTreeMap<_, _> = killed.iter().map(|(_, _, kind)| (*kind, 2)).collect();
        assert_eq!(summary.errors.by_kind, expected, "{way:?}");
        assert_all_refuse(&endpoints);
    }
}

/// Each has a process of its own, where it counts the panics.
fn alone_while_dead(name: &str, killed: &[(Injection, &str, FaultKind)]) {
    alone(name, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(ends_while_dead(killed));
    });
}

/// Noise only adds: the shortest of three ends tells whether it waits.
async fn ends_at_once_while_the_supervisor_is_dead() {
    count_poisoned();
    let mut round = 0;
    for way in BOTH {
        let mut shortest = DEADLINE;
        for _ in 0..3 {
            round += 1;
            let (handle, _endpoints) = ready(SLOW).await;
            assert!(eventually(DEADLINE, || {
                handle.inject(Injection::PanicSupervisor);
                poisoned().get("Supervisor") == Some(&(2 * round))
            }));
            // It is dead for a second.
            let began = Instant::now();
            end(&handle, way).await;
            shortest = shortest.min(began.elapsed());
        }
        assert!(shortest < Duration::from_millis(400), "{way:?} took {shortest:?}");
    }
}

#[test]
fn an_end_waits_for_no_supervisor() {
    alone("end_in_any_state::an_end_waits_for_no_supervisor", || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(ends_at_once_while_the_supervisor_is_dead());
    });
}

const SUPERVISOR: (Injection, &str, FaultKind) =
    (Injection::PanicSupervisor, "Supervisor", FaultKind::SupervisorPanic);
const ERROR_LOG: (Injection, &str, FaultKind) =
    (Injection::PanicErrorLog, "ErrorLog", FaultKind::ErrorLogPanic);

#[test]
fn while_the_supervisor_is_dead() {
    alone_while_dead("end_in_any_state::while_the_supervisor_is_dead", &[SUPERVISOR]);
}

#[test]
fn while_the_error_log_is_dead() {
    alone_while_dead("end_in_any_state::while_the_error_log_is_dead", &[ERROR_LOG]);
}

#[test]
fn while_the_supervisor_and_the_error_log_are_dead() {
    let name = "end_in_any_state::while_the_supervisor_and_the_error_log_are_dead";
    alone_while_dead(name, &[SUPERVISOR, ERROR_LOG]);
}

#[tokio::test]
async fn while_the_error_log_handles_nothing() {
    for way in BOTH {
        let (handle, endpoints) = ready(SLOW).await;
        handle.inject(Injection::BlockErrorLog(Duration::from_secs(30)));
        let mut client = connect(endpoints[0].socket_addr());
        echo_tcp(&mut client, b"before");
        handle.inject(Injection::PanicSession(client.local_addr().expect("an address")));
        assert_eq!(read_to_fin(&mut client), b"");
        let summary = end(&handle, way).await;
        assert_eq!(summary.errors.by_kind, [(FaultKind::SessionPanic, 1)].into());
        assert_all_refuse(&endpoints);
    }
}
