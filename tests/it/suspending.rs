//! Endpoints of a running service are suspended, drained, resumed and retried.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use ipcow::config::load_str;
use ipcow::service::{
    Injection, ListOptions, OperationError, Service, ServiceHandle, Sessions, SuspendOptions,
};
use ipcow::spec::Selector;
use ipcow::supervision::EndpointState;

use crate::common::{
    Block, DEADLINE, connect, echo_tcp, echo_udp, eventually, eventually_async, read_to_fin,
    refused, udp_client,
};

async fn start(keys: &str, spec: &str) -> ServiceHandle {
    let mut config = load_str("embedder", &format!("# Keys.\n{keys}")).expect("legal keys").config;
    config.groups.clear();
    let builder = Service::builder().config(config).listen(spec).expect("a legal spec");
    let handle = builder.build().expect("a plan").start().expect("threads");
    handle.wait_ready().await.expect("it runs");
    handle
}

fn selector(text: &str) -> Selector {
    Selector::parse(text).expect("a legal selector")
}

async fn in_state(handle: &ServiceHandle, state: EndpointState) -> u64 {
    let options = ListOptions::default().state(state).page(0, 0);
    handle.list(&Selector::all(), options).await.expect("it runs").matched
}

/// Waits until so many endpoints are in this state.
async fn reach(handle: &ServiceHandle, state: EndpointState, count: u64) {
    let there = || async { in_state(handle, state).await == count };
    assert!(eventually_async(DEADLINE, there).await, "{:?}", handle.status().await);
}

/// What another test starts holds this process's sockets from its fork to its exec.
fn is_closed(at: SocketAddr) -> bool {
    eventually(DEADLINE, || refused(at))
}

#[tokio::test]
async fn a_suspended_endpoint_refuses_clients_and_its_sessions_and_siblings_do_not_notice() {
    let block = Block::new();
    let handle = start("", &format!("both://{}:18000-18003", block.ip(0))).await;
    let mut kept = connect(block.at(18_001));
    let mut sibling = connect(block.at(18_002));
    echo_tcp(&mut kept, b"before");
    let changed = handle.suspend(&selector("*://*:18001"), SuspendOptions::default()).await;
    let changed = changed.expect("it is there");
    assert_eq!((changed.matched, changed.changed, changed.closing), (2, 2, 0));
    assert!(is_closed(block.at(18_001)));
    echo_tcp(&mut kept, b"meanwhile");
    echo_tcp(&mut sibling, b"undisturbed");
    let status = handle.status().await.expect("it runs");
    assert_eq!((status.endpoints.listening, status.endpoints.suspended), (6, 2));
    assert_eq!((status.chunks.completed, status.chunks.error), (status.chunks.total, 0));
    let again = handle.suspend(&selector("*:18001"), SuspendOptions::default()).await;
    assert_eq!(again.expect("it is there").changed, 0);
    let changed = handle.resume(&selector("state:suspended")).await.expect("they are there");
    assert_eq!(changed.changed, 2);
    reach(&handle, EndpointState::Listening, 8).await;
    echo_tcp(&mut connect(block.at(18_001)), b"after");
    echo_udp(&udp_client(block.at(18_001)), b"after");
    echo_tcp(&mut kept, b"still there");
    drop((kept, sibling));
    let totals = handle.shutdown().await.expect("it drains").totals;
    assert_eq!(totals.accepted, totals.closed, "{totals:?}");
}

#[tokio::test]
async fn sessions_of_a_suspended_endpoint_end_as_they_are_told() {
    let block = Block::new();
    let handle = start("", &format!("tcp://{}:18000-18001", block.ip(0))).await;
    let mut orderly = connect(block.at(18_000));
    echo_tcp(&mut orderly, b"one");
    let options = SuspendOptions::default().sessions(Sessions::Fin);
    handle.suspend(&selector("*:18000"), options).await.expect("it is there");
    assert_eq!(read_to_fin(&mut orderly), b"");
    let mut reset = connect(block.at(18_001));
    echo_tcp(&mut reset, b"two");
    let options = SuspendOptions::default().sessions(Sessions::Reset);
    handle.suspend(&selector("*:18001"), options).await.expect("it is there");
    let error = reset.read(&mut [0; 8]).expect_err("no FIN");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let totals = handle.shutdown().await.expect("it drains").totals;
    assert_eq!((totals.accepted, totals.closed, totals.forced), (2, 1, 1));
}

#[tokio::test]
async fn a_suspension_with_an_end_is_resumed_by_the_service_itself() {
    let block = Block::new();
    let handle = start("", &format!("tcp://{}:18000-18001", block.ip(0))).await;
    let options = SuspendOptions::default().lasting(Duration::from_millis(300));
    handle.suspend(&selector("*:18000"), options).await.expect("it is there");
    let listing = handle.list(&selector("*:18000"), ListOptions::default()).await;
    let row = listing.expect("it runs").endpoints.remove(0);
    if row.state == EndpointState::Suspended {
        assert!(row.retry_in.is_some_and(|left| left <= Duration::from_millis(300)));
    }
    reach(&handle, EndpointState::Listening, 2).await;
    echo_tcp(&mut connect(block.at(18_000)), b"back");
}

#[tokio::test]
async fn a_drained_endpoint_ends_quiet_sessions_with_fin_and_is_suspended_then() {
    let block = Block::new();
    let keys = "[shutdown]\nquiet_ms = 100";
    let handle = start(keys, &format!("tcp://{}:18000-18001", block.ip(0))).await;
    let mut draining = connect(block.at(18_000));
    let mut other = connect(block.at(18_001));
    echo_tcp(&mut draining, b"one");
    echo_tcp(&mut other, b"two");
    handle.drain(&selector("*:18000")).await.expect("it is there");
    assert!(is_closed(block.at(18_000)));
    assert_eq!(read_to_fin(&mut draining), b"");
    reach(&handle, EndpointState::Suspended, 1).await;
    assert_eq!(in_state(&handle, EndpointState::Draining).await, 0);
    echo_tcp(&mut other, b"undisturbed");
}

#[tokio::test]
async fn a_drain_cuts_off_at_its_deadline_who_never_falls_quiet() {
    let block = Block::new();
    let keys = "[shutdown]\nquiet_ms = 60000\ndrain_timeout_secs = 1";
    let handle = start(keys, &format!("tcp://{}:18000-18001", block.ip(0))).await;
    let mut busy = connect(block.at(18_000));
    echo_tcp(&mut busy, b"one");
    handle.drain(&selector("*:18000")).await.expect("it is there");
    assert_eq!(in_state(&handle, EndpointState::Draining).await, 1);
    reach(&handle, EndpointState::Suspended, 1).await;
    let mut rest = Vec::new();
    let _end_or_reset = busy.read_to_end(&mut rest);
    assert!(rest.is_empty());
    assert_eq!(handle.snapshot().totals.forced, 1);
}

#[tokio::test]
async fn what_names_nothing_changes_nothing_and_says_so() {
    let handle = start("", &format!("tcp://{}:18000", Block::new().ip(0))).await;
    let refused = handle.suspend(&selector("*:9"), SuspendOptions::default()).await;
    assert!(matches!(refused, Err(OperationError::NothingMatches { .. })), "{refused:?}");
    let refused = handle.drain(&selector("group:lost")).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("group:lost")));
    handle.shutdown().await.expect("it drains");
    assert!(matches!(handle.resume(&Selector::all()).await, Err(OperationError::Ended)));
}

#[tokio::test]
async fn a_retry_brings_back_what_is_in_quarantine() {
    let block = Block::new();
    let held = TcpListener::bind(block.at(18_001)).expect("free");
    let keys = "[retry]\nmax_attempts = 1\nquarantine_probe_secs = 0";
    let handle = start(keys, &format!("tcp://{}:18000-18002", block.ip(0))).await;
    assert_eq!(in_state(&handle, EndpointState::Quarantined).await, 1);
    drop(held);
    let back = || async {
        handle.retry(&selector("state:quarantined")).await.ok();
        in_state(&handle, EndpointState::Listening).await == 3
    };
    // What another test starts holds the socket from its fork to its exec.
    assert!(eventually_async(DEADLINE, back).await);
    echo_tcp(&mut connect(block.at(18_001)), b"back");
}

#[tokio::test]
async fn orders_are_carried_out_whoever_dies_meanwhile() {
    let block = Block::new();
    let keys = "[threads]\nworkers = 2\n[supervision]\nmax_restarts = 1000";
    let handle = start(keys, &format!("tcp://{}:18000-18199", block.ip(0))).await;
    let half = selector("*:18000-18099");
    for round in 0..4_u32 {
        handle.inject(Injection::PanicAny);
        handle.inject(Injection::PanicSupervisor);
        let changed =
            handle.suspend(&half, SuspendOptions::default()).await.expect("they are there");
        assert_eq!(changed.matched, 100, "round {round}");
        reach(&handle, EndpointState::Suspended, 100).await;
        assert!(is_closed(block.at(18_000)) && is_closed(block.at(18_099)));
        handle.inject(Injection::PanicSupervisor);
        handle.resume(&half).await.expect("they are there");
        reach(&handle, EndpointState::Listening, 200).await;
        echo_tcp(&mut connect(block.at(18_099)), b"back");
    }
}
