//! What subscribers hear of a service: every transition, limit, drop and order, in
//! order, and none of it waits for them.

use std::net::{SocketAddr, TcpListener, UdpSocket};

use ipcow::config::load_str;
use ipcow::service::{
    Event, Events, Injection, Occurrence, Service, ServiceHandle, SuspendOptions,
};
use ipcow::spec::{Endpoint, Selector, Spec};
use ipcow::supervision::{
    ChunkState, DropReason, EndpointBatch, EndpointState, FaultKind, Limit, Order, Refusal,
    Replanning, WorkerId,
};

use crate::common::{
    Block, DEADLINE, connect, echo_tcp, eventually, raise_own_descriptor_limit, read_to_fin,
    udp_client,
};

/// A service and everything that it tells, from the start on.
fn start(keys: &str, spec: &str) -> (ServiceHandle, Events) {
    let mut config = load_str("embedder", &format!("# Keys.\n{keys}")).expect("legal keys").config;
    config.groups.clear();
    let builder = Service::builder().config(config).listen(spec).expect("a legal spec");
    let handle = builder.build().expect("a plan").start().expect("threads");
    let events = handle.events();
    (handle, events)
}

fn selector(text: &str) -> Selector {
    Selector::parse(text).expect("a legal selector")
}

/// The first event of that kind from here on.
async fn until<T>(events: &mut Events, wanted: impl Fn(&Event) -> Option<T>) -> T {
    let found = async {
        loop {
            let next = events.next().await.expect("the service runs").event;
            if let Some(found) = wanted(&next) {
                return found;
            }
        }
    };
    tokio::time::timeout(DEADLINE, found).await.expect("the event comes")
}

async fn until_is(events: &mut Events, wanted: impl Fn(&Event) -> bool) {
    until(events, |event| wanted(event).then_some(())).await;
}

/// Ends the service, and says what was told until then.
async fn told(handle: ServiceHandle, mut events: Events) -> Vec<Occurrence> {
    handle.shutdown().await.expect("it drains");
    let mut told = Vec::new();
    while let Some(next) = events.next().await {
        told.push(next);
    }
    assert_eq!(events.lost(), 0);
    told
}

fn went(event: &Event, from: EndpointState, to: EndpointState) -> Option<&EndpointBatch> {
    match event {
        Event::EndpointsChanged(change) if (change.from, change.to) == (from, to) => {
            Some(&change.endpoints)
        }
        _ => None,
    }
}

#[tokio::test]
async fn thousands_of_endpoints_that_open_are_a_few_events_and_each_is_named_once() {
    const PORTS: u16 = 5_000;
    raise_own_descriptor_limit();
    let block = Block::new();
    let spec = format!("tcp://{}:18000-{}", block.ip(0), 18_000 + PORTS - 1);
    let (handle, mut events) = start("[threads]\nworkers = 2", &spec);
    let mut opened: Vec<Endpoint> = Vec::new();
    let (mut batches, mut chunks) = (0, Vec::new());
    loop {
        let next = events.next().await.expect("it runs").event;
        if let Some(batch) = went(&next, EndpointState::Pending, EndpointState::Listening) {
            batches += 1;
            opened.extend(batch.iter());
        }
        match next {
            Event::ChunksChanged(change) => chunks.push((change.to, change.chunks.len())),
            Event::Ready(ready) => {
                assert_eq!(ready.endpoints.listening, u64::from(PORTS));
                break;
            }
            _ => {}
        }
    }
    opened.sort_unstable();
    opened.dedup();
    assert_eq!(opened.len(), usize::from(PORTS));
    assert!(batches <= 6, "{batches} events for two chunks");
    let completed = chunks.iter().filter(|(to, _)| *to == ChunkState::Completed);
    assert_eq!(completed.map(|(_, count)| count).sum::<usize>(), 2, "{chunks:?}");
    assert!(chunks.iter().any(|(to, _)| matches!(to, ChunkState::Processing { .. })));
    let rest = told(handle, events).await;
    let names: Vec<_> = rest.iter().map(|next| next.event.name()).collect();
    assert_eq!(names, ["draining", "stopped"]);
    assert!(rest[0].id < rest[1].id && rest[0].at <= rest[1].at);
}

#[tokio::test]
async fn a_port_that_is_taken_fails_is_quarantined_recovers_and_says_each_once() {
    let block = Block::new();
    let taken = TcpListener::bind(block.at(18_000)).expect("a fresh address");
    let keys = "[retry]\nmax_attempts = 2\ninitial_backoff_ms = 1\nquarantine_probe_secs = 1\n\
                [coverage]\nmin_bound = 0";
    let (handle, mut events) = start(keys, &format!("tcp://{}:18000", block.ip(0)));
    let failed = until(&mut events, |event| match event {
        Event::EndpointsFailed(failures) => Some(failures.clone()),
        _ => None,
    });
    let failed = failed.await;
    assert_eq!((failed.fault.kind, failed.endpoints.len()), (FaultKind::BindInUse, 1));
    let endpoint = failed.endpoints.iter().next().expect("one");
    let quarantined =
        |event: &Event| went(event, EndpointState::Retrying, EndpointState::Quarantined).is_some();
    until_is(&mut events, quarantined).await;
    drop(taken);
    until_is(&mut events, |event| event.recovers(&endpoint)).await;
    let told = told(handle, events).await;
    assert!(told.iter().all(|next| !next.event.recovers(&endpoint)), "{told:?}");
}

#[tokio::test]
async fn what_an_operator_orders_is_told_with_what_follows_from_it() {
    let block = Block::new();
    let (handle, events) = start("", &format!("tcp://{}:18000-18003", block.ip(0)));
    handle.wait_ready().await.expect("it runs");
    handle.suspend(&selector("tcp://*:18001"), SuspendOptions::default()).await.expect("there");
    handle.resume(&selector("tcp://*:18001")).await.expect("it is suspended");
    let spec = Spec::parse(&format!("tcp://{}:18010", block.ip(1))).expect("a spec");
    handle.add(&spec, None).await.expect("it is free");
    assert!(eventually(DEADLINE, || handle.snapshot().endpoints.listening == 5));
    handle.mark();
    handle.remove(&selector("tcp://*:18010")).await.expect("it is there");
    let told = told(handle, events).await;
    let story: Vec<&str> = told.iter().map(|next| next.event.name()).collect();
    let place = |wanted: &dyn Fn(&Event) -> bool| {
        let found = told.iter().position(|next| wanted(&next.event));
        found.unwrap_or_else(|| panic!("not told: {story:?}"))
    };
    let went = |from, to| place(&|event| went(event, from, to).is_some_and(|it| it.len() == 1));
    use EndpointState::{Closed, Listening, Pending, Suspended};
    let ordered = |order| {
        place(&|event| match event {
            Event::OrderDone { order: done, matched: 1, changed: 1, .. } => *done == order,
            _ => false,
        })
    };
    let added = place(&|event| match event {
        Event::Replanned { operation: Replanning::Add, diff } => diff.opened == 1,
        _ => false,
    });
    let marked = place(&|event| *event == Event::Marked { run: 1 });
    let steps = [
        went(Listening, Suspended),
        ordered(Order::Suspend),
        went(Suspended, Pending),
        ordered(Order::Resume),
        added,
        marked,
        went(Listening, Closed),
        ordered(Order::Remove),
    ];
    assert!(steps.is_sorted(), "{steps:?} in {story:?}");
}

#[tokio::test]
async fn crashes_restarts_and_a_worker_that_hangs_and_answers_again_are_told() {
    let keys = "[threads]\nworkers = 2\n[retry]\ninitial_backoff_ms = 1\nmax_backoff_ms = 1";
    let (handle, mut events) = start(keys, "127.0.0.1:0x2");
    let ready = handle.wait_ready().await.expect("it runs");
    let endpoint = ready.bound[0];
    handle.inject(Injection::PanicListener(endpoint));
    let crashed = |event: &Event| matches!(event, Event::ListenerCrashed { .. });
    until_is(&mut events, |event| crashed(event) && event.concerns(&endpoint)).await;
    until_is(&mut events, |event| event.recovers(&endpoint)).await;
    let (worker, lost) = (WorkerId(1), WorkerId(2));
    handle.inject(Injection::PanicWorker(worker));
    until_is(&mut events, |event| matches!(event, Event::WorkerCrashed { chunk: None, .. })).await;
    until_is(&mut events, |event| *event == Event::WorkerRestarted { worker }).await;
    handle.inject(Injection::PanicSupervisor);
    until_is(&mut events, |event| matches!(event, Event::SupervisorCrashed { .. })).await;
    handle.inject(Injection::PanicErrorLog);
    until_is(&mut events, |event| matches!(event, Event::ErrorLogCrashed { .. })).await;
    handle.inject(Injection::EndThread(lost));
    until_is(&mut events, |event| matches!(event, Event::WorkerLost { .. })).await;
    until_is(&mut events, |event| *event == Event::WorkerRestarted { worker: lost }).await;
    let hangs = handle.hang(worker).await.expect("it has a thread");
    until_is(&mut events, |event| *event == Event::WorkerHung { worker }).await;
    drop(hangs);
    until_is(&mut events, |event| *event == Event::WorkerAnswers { worker }).await;
    let summary = handle.shutdown().await.expect("it drains");
    // What was told is what was counted.
    let counted = [FaultKind::ListenerPanic, FaultKind::SupervisorPanic, FaultKind::ErrorLogPanic];
    for kind in counted {
        assert_eq!(summary.errors.by_kind.get(&kind), Some(&1), "{summary:?}");
    }
}

#[tokio::test]
async fn a_limit_is_told_when_it_is_reached_and_a_reason_the_first_time_alone() {
    let keys = "[limits]\nmax_sessions = 1\non_limit = \"close\"\n\
                [udp]\nrefuse_source_ports = [\"1-65535\"]";
    let (handle, mut events) = start(keys, "both://127.0.0.1:0");
    let at = handle.wait_ready().await.expect("it runs").bound[0].socket_addr();
    let mut client = connect(at);
    echo_tcp(&mut client, b"the only one");
    let mut refused: Vec<_> = (0..3).map(|_| connect(at)).collect();
    refused.iter_mut().for_each(|client| assert_eq!(read_to_fin(client), b""));
    let limit = Limit::Sessions;
    until_is(&mut events, |event| *event == Event::LimitReached { limit }).await;
    let datagrams: UdpSocket = udp_client(at);
    for _ in 0..3 {
        datagrams.send(b"to nobody").expect("it leaves");
    }
    let dropped = || handle.snapshot().totals.dropped[DropReason::SourcePort.index()];
    assert!(eventually(DEADLINE, || dropped() == 3));
    drop(client);
    let told = told(handle, events).await;
    let times = |name: &str| told.iter().filter(|next| next.event.name() == name).count();
    assert_eq!((times("first_drop"), times("limit_reached")), (1, 0));
    let drop = told.iter().find(|next| next.event.name() == "first_drop").expect("just counted");
    let Event::FirstDrop { reason, key } = drop.event else { panic!("{drop:?}") };
    assert_eq!((reason, key), (DropReason::SourcePort, Some("udp.refuse_source_ports")));
}

#[tokio::test]
async fn the_first_refusal_names_the_key_and_the_source() {
    let keys = "[limits]\nmax_sessions_per_source = 1";
    let (handle, mut events) = start(keys, "127.0.0.1:0");
    let at: SocketAddr = handle.wait_ready().await.expect("it runs").bound[0].socket_addr();
    let mut client = connect(at);
    echo_tcp(&mut client, b"the only one");
    for _ in 0..3 {
        assert_eq!(read_to_fin(&mut connect(at)), b"");
    }
    let (reason, source) = (Refusal::SourceLimit, at.ip());
    let first = Event::FirstRefusal { reason, key: reason.key(), source };
    until_is(&mut events, |event| *event == first).await;
    let limit = Limit::SessionsPerSource;
    until_is(&mut events, |event| *event == Event::LimitReached { limit }).await;
    drop(client);
    let told = told(handle, events).await;
    assert!(told.iter().all(|next| next.event.name() != "first_refusal"), "{told:?}");
}

#[tokio::test]
async fn a_stalled_reader_loses_with_a_count_and_holds_up_neither_service_nor_other_readers() {
    const ROUNDS: u64 = 600;
    let block = Block::new();
    let (handle, stalled) = start("", &format!("tcp://{}:18000", block.ip(0)));
    handle.wait_ready().await.expect("it runs");
    let mut prompt = handle.events_where(|event| matches!(event, Event::Marked { .. }));
    let all = selector("*");
    let mut client = connect(block.at(18_000));
    for round in 1..=ROUNDS {
        handle.suspend(&all, SuspendOptions::default()).await.expect("it runs");
        handle.resume(&all).await.expect("it runs");
        handle.mark();
        let next = prompt.next().await.expect("it runs");
        assert_eq!(next.event, Event::Marked { run: round });
    }
    echo_tcp(&mut client, b"undisturbed");
    // At least the orders and the marks: twice what a queue takes.
    assert!(stalled.lost() >= 3 * ROUNDS - 1_024, "{} lost", stalled.lost());
    assert_eq!((handle.snapshot().events_lost, prompt.lost()), (stalled.lost(), 0));
    drop(client);
    handle.shutdown().await.expect("it drains");
}
