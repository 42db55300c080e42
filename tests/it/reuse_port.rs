//! `reuse_port`: one socket a worker for each endpoint, none of them unserved for
//! long, and nobody else's among them.
//!
//! In process, through the library, with faults on demand; the program where another
//! process is concerned.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};

use ipcow::config::{Config, load_str};
use ipcow::service::{
    Event, Events, Injection, ListOptions, Service, ServiceHandle, SuspendOptions,
};
use ipcow::spec::{Endpoint, Port, Protocol, Selector};
use ipcow::supervision::{EndpointInfo, FaultKind, WorkerId};
use socket2::{Domain, Socket, Type};

use crate::common::{
    Block, DEADLINE, Ipcow, connect, echo_tcp, echo_udp, eventually, eventually_async, udp_client,
};

/// Nothing is ever quarantined, and what crashes returns soon.
const PATIENT: &str = "[supervision]\nmax_restarts = 1000\n[retry]\nmax_backoff_ms = 100\n";

fn config(spec: &str, workers: usize, reuse_port: bool) -> Config {
    let text = format!(
        "[[listen]]\nname = \"hot\"\nspec = \"{spec}\"\nreuse_port = {reuse_port}\n\
         {PATIENT}[threads]\nworkers = {workers}"
    );
    load_str("test", &text).expect("a legal configuration").config
}

/// A service of one endpoint for each protocol, on one number.
async fn hot(workers: usize) -> (ServiceHandle, SocketAddr) {
    let spec = format!("both://{}:0", Block::new().ip(0));
    let handle = start(&config(&spec, workers, true)).await;
    let ready = handle.wait_ready().await.expect("it runs");
    (handle, ready.bound[0].socket_addr())
}

async fn start(config: &Config) -> ServiceHandle {
    let service = Service::builder().config(config.clone()).build().expect("a plan");
    let handle = service.start().expect("threads");
    handle.wait_ready().await.expect("it runs");
    handle
}

/// How many sockets wait for clients there, as the kernel tells it.
fn sockets(protocol: Protocol, at: SocketAddr) -> usize {
    let IpAddr::V4(ip) = at.ip() else { panic!("an IPv4 address") };
    // As /proc writes it: the address in the machine's own order of bytes (proc(5)).
    let address = u32::from_ne_bytes(ip.octets());
    let (state, file) = match protocol {
        Protocol::Tcp => ("0A", "/proc/net/tcp"),
        Protocol::Udp => ("07", "/proc/net/udp"),
    };
    let begins = format!("{address:08X}:{:04X} ", at.port());
    let table = fs::read_to_string(file).expect("/proc");
    let fields = table.lines().filter_map(|line| line.split_once(": ")).map(|(_, rest)| rest);
    let unconnected = |rest: &&str| rest.split(' ').nth(2) == Some(state);
    fields.filter(|rest| rest.starts_with(&begins)).filter(unconnected).count()
}

/// Waits until that many sockets are there, for both protocols.
fn are_there(at: SocketAddr, count: usize) -> bool {
    let all = || Protocol::ALL.iter().all(|protocol| sockets(*protocol, at) == count);
    eventually(DEADLINE, all)
}

async fn endpoints(handle: &ServiceHandle) -> Vec<EndpointInfo> {
    let listing = handle.list(&Selector::all(), ListOptions::default()).await;
    listing.expect("it runs").endpoints
}

/// Waits until each endpoint is served by that many workers.
async fn served_by(handle: &ServiceHandle, workers: usize) {
    let there = || async {
        endpoints(handle).await.iter().all(|endpoint| endpoint.workers.len() == workers)
    };
    assert!(eventually_async(DEADLINE, there).await, "{:?}", handle.status().await);
}

/// Clients of as many sources that are all answered, whichever sockets they meet.
fn all_are_answered(at: SocketAddr) {
    let mut streams: Vec<_> = (0..48).map(|_| connect(at)).collect();
    let datagrams: Vec<_> = (0..48).map(|_| udp_client(at)).collect();
    streams.iter_mut().for_each(|client| echo_tcp(client, b"hello"));
    datagrams.iter().for_each(|client| echo_udp(client, b"hello"));
}

/// Waits until the worker's thread is known to have ended.
async fn lost(events: &mut Events, wanted: WorkerId) {
    let is_it =
        |event: &Event| matches!(event, Event::WorkerLost { worker, .. } if *worker == wanted);
    while !is_it(&events.next().await.expect("it runs").event) {}
}

#[tokio::test]
async fn each_worker_has_a_socket_of_each_endpoint_and_all_of_them_answer() {
    let (handle, at) = hot(3).await;
    assert!(are_there(at, 3));
    served_by(&handle, 3).await;
    all_are_answered(at);
    // A datagram is booked after its answer has left: for its endpoint, then in total.
    assert!(eventually(DEADLINE, || handle.snapshot().totals.replied == 48));
    let [tcp, udp] = &endpoints(&handle).await[..] else { panic!("two endpoints") };
    let rows = serde_json::to_value([tcp, udp]).expect("JSON");
    assert_eq!((&rows[0]["workers"], &rows[1]["workers"]), (&[1, 2, 3].into(), &[1, 2, 3].into()));
    let counted = (tcp.reading.came, udp.reading.done);
    assert_eq!(counted, (48, 48), "an endpoint counts what all of its sockets serve");
    let totals = handle.shutdown().await.expect("it drains").totals;
    assert_eq!((totals.accepted, totals.closed, totals.replied), (48, 48, 48));
    assert!(are_there(at, 0));
}

#[tokio::test]
async fn datagrams_are_spread_over_the_workers_by_their_source() {
    let (handle, at) = hot(2).await;
    served_by(&handle, 2).await;
    let clients: Vec<UdpSocket> = (0..64).map(|_| udp_client(at)).collect();
    let hangs = handle.hang(WorkerId(1)).await.expect("it has a thread");
    for client in &clients {
        client.set_nonblocking(true).expect("a socket");
        client.send(b"hello").expect("a datagram leaves");
    }
    let is_answered = |client: &&UdpSocket| client.peek(&mut [0; 5]).is_ok();
    let answered = || clients.iter().filter(is_answered);
    // Those that the other worker serves; of 64 sources neither gets none.
    assert!(eventually(DEADLINE, || answered().count() > 0));
    // A socket is a queue: with the next answer to one of them, all have theirs.
    let last = answered().next().expect("it was there");
    last.recv(&mut [0; 5]).expect("it was there");
    last.send(b"again").expect("a datagram leaves");
    assert!(eventually(DEADLINE, || is_answered(&last)));
    assert!(answered().count() < 64, "one worker answered all, and one hangs");
    drop(hangs);
    assert!(eventually(DEADLINE, || answered().count() == 64), "the others waited");
    handle.shutdown().await.expect("it drains");
}

#[tokio::test]
async fn a_listener_that_panics_is_replaced_and_its_clients_wait() {
    let (handle, at) = hot(3).await;
    for round in 1..=4 {
        served_by(&handle, 3).await;
        for protocol in Protocol::ALL {
            let address = at.ip().into();
            let port = Port::Number(at.port());
            handle.inject(Injection::PanicListener(Endpoint { protocol, address, port }));
        }
        all_are_answered(at);
        let crashed = || async { endpoints(&handle).await.iter().all(|it| it.restarts == round) };
        let crashed = eventually_async(DEADLINE, crashed).await;
        assert!(crashed, "round {round}: {:?}", endpoints(&handle).await);
    }
    served_by(&handle, 3).await;
    assert!(are_there(at, 3), "the sockets are the same");
    let summary = handle.shutdown().await.expect("it drains");
    assert_eq!(summary.errors.by_kind[&FaultKind::ListenerPanic], 8);
    assert_eq!(summary.totals.accepted, summary.totals.closed);
}

#[tokio::test]
async fn the_sockets_of_a_lost_thread_are_served_by_others_and_by_its_successor() {
    let (handle, at) = hot(3).await;
    let mut events = handle.events();
    for worker in [WorkerId(1), WorkerId(2), WorkerId(3)] {
        served_by(&handle, 3).await;
        handle.inject(Injection::EndThread(worker));
        let lost = lost(&mut events, worker);
        tokio::time::timeout(DEADLINE, lost).await.expect("it is noticed");
        all_are_answered(at);
    }
    served_by(&handle, 3).await;
    assert!(are_there(at, 3), "the sockets are the same");
    all_are_answered(at);
    handle.shutdown().await.expect("it drains");
}

#[tokio::test]
async fn a_supervisor_s_successor_knows_who_serves_what() {
    let (handle, at) = hot(3).await;
    let mut events = handle.events();
    for _ in 0..5 {
        handle.inject(Injection::PanicSupervisor);
        handle.inject(Injection::EndThread(WorkerId(2)));
        let lost = lost(&mut events, WorkerId(2));
        tokio::time::timeout(DEADLINE, lost).await.expect("it is noticed");
        handle.inject(Injection::PanicSupervisor);
        served_by(&handle, 3).await;
        all_are_answered(at);
    }
    assert!(are_there(at, 3));
    handle.shutdown().await.expect("it drains");
}

#[tokio::test]
async fn suspending_closes_every_socket_and_resuming_opens_as_many_on_the_same_number() {
    let (handle, at) = hot(3).await;
    let mut waiting: Vec<_> = (0..24).map(|_| connect(at)).collect();
    waiting.iter_mut().for_each(|client| client.write_all(b"hello").expect("a socket buffer"));
    let changed = handle.suspend(&Selector::all(), SuspendOptions::default()).await;
    let changed = changed.expect("they are there");
    assert_eq!((changed.changed, changed.closing), (2, 0));
    assert!(are_there(at, 0));
    for client in &mut waiting {
        let mut back = [0; 5];
        client.read_exact(&mut back).expect("each backlog is served before it closes");
    }
    handle.resume(&Selector::all()).await.expect("they are there");
    served_by(&handle, 3).await;
    assert!(are_there(at, 3));
    all_are_answered(at);
    handle.shutdown().await.expect("it drains");
}

#[tokio::test]
async fn a_new_configuration_turns_it_on_and_off() {
    let block = Block::new();
    let (spec, at) = (format!("both://{}:18000", block.ip(0)), block.at(18_000));
    let handle = start(&config(&spec, 2, false)).await;
    let mut session = connect(at);
    for (reuse_port, count) in [(true, 2), (false, 1), (true, 2)] {
        let diff = handle.reload(&config(&spec, 2, reuse_port), false).await.expect("a plan");
        assert_eq!((diff.reopened, diff.opened, diff.closed), (2, 0, 0));
        assert!(are_there(at, count), "reuse_port = {reuse_port}");
        served_by(&handle, count).await;
        all_are_answered(at);
    }
    echo_tcp(&mut session, b"undisturbed");
    drop(session);
    handle.shutdown().await.expect("it drains");
}

#[test]
fn a_second_instance_does_not_join_and_the_first_loses_nothing() {
    let block = Block::new();
    let serve = || {
        Ipcow::serve([format!("both://{}:18000-18001", block.ip(0))])
            .set("listen_defaults.reuse_port=true")
            .set("threads.workers=2")
            .without_retries()
    };
    let mut first = serve().start();
    first.ready();
    let mut session = connect(block.at(18_000));
    let summary = serve().run().expect_code(69).summary();
    assert_eq!(summary["errors"]["by_kind"]["bind_in_use"], 4);
    for _ in 0..32 {
        echo_udp(&udp_client(block.at(18_001)), b"mine");
    }
    echo_tcp(&mut session, b"undisturbed");
    assert_eq!(sockets(Protocol::Udp, block.at(18_001)), 2);
}

#[test]
fn an_address_that_others_share_already_is_in_use() {
    let block = Block::new();
    let share = |kind| {
        let socket = Socket::new(Domain::IPV4, kind, None).expect("a socket");
        socket.set_reuse_port(true).expect("a known option");
        socket.bind(&block.at(18_000).into()).expect("a free port");
        socket
    };
    let (stream, _datagrams) = (share(Type::STREAM), share(Type::DGRAM));
    stream.listen(8).expect("to listen");
    let mut serve = Ipcow::serve([format!("both://{}:18000-18001", block.ip(0))])
        .set("listen_defaults.reuse_port=true")
        .set("threads.workers=2")
        .without_retries()
        .start();
    let ready = serve.ready();
    assert_eq!(ready.endpoints("quarantined"), 2);
    all_are_answered(block.at(18_001));
}

#[test]
fn a_plan_counts_the_descriptors_of_every_socket() {
    let needed = |reuse_port: bool| {
        let plan = Ipcow::plan([format!("both://{}:18000-18009", Block::new().ip(0))])
            .set("threads.workers=3")
            .set(&format!("listen_defaults.reuse_port={reuse_port}"));
        plan.run().expect_code(0).json()["limits"]["fds_needed"].as_u64().expect("a number")
    };
    assert_eq!(needed(true), needed(false) + 2 * 20);
}
