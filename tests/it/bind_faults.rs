//! Endpoints that cannot be bound at first (faults 7, 9 to 11, 13 and 16).

use std::net::{TcpListener, UdpSocket};

use crate::common::{
    Block, DEADLINE, Ipcow, Namespace, Need, assert_free, connect, counts, echo_tcp, echo_udp,
    needs, refused, udp_client,
};

#[test]
fn below_full_coverage_it_exits_69_and_releases_every_port() {
    let block = Block::new();
    let taken = TcpListener::bind(block.at(18_007)).expect("a fresh address");
    let done = Ipcow::serve([format!("tcp://{}:18000-18019", block.ip(0))])
        .without_retries()
        .set("coverage.min_bound=100%")
        .run()
        .expect_refusal(69, &["18007", "min_bound"]);
    assert!(done.events("ready").is_empty(), "{done:#?}");
    drop(taken);
    assert_free((18_000..18_020).map(|port| block.at(port)));
}

#[test]
fn one_taken_port_of_a_thousand_leaves_999_serving() {
    let block = Block::new();
    let _taken = TcpListener::bind(block.at(18_500)).expect("a fresh address");
    let mut server =
        Ipcow::serve([format!("tcp://{}:18000-18999", block.ip(0))]).without_retries().start();
    let ready = server.ready();
    assert_eq!(ready.state(), "degraded");
    assert_eq!(ready.endpoints("listening"), 999);
    assert_eq!(ready.endpoints("quarantined"), 1);
    assert_eq!(ready.failures().len(), 1);
    let failure = ready.failure(&format!("tcp://{}", block.at(18_500)));
    assert_eq!(failure["errno"], "EADDRINUSE", "{failure}");
    assert_eq!(failure["state"], "quarantined", "{failure}");
    assert!(failure["error"].as_str().is_some_and(|text| !text.is_empty()), "{failure}");
    for port in [18_000, 18_499, 18_501, 18_999] {
        echo_tcp(&mut connect(block.at(port)), b"a sibling serves");
    }
    let done = server.terminate().expect_code(0);
    assert_eq!(done.summary()["errors"]["by_kind"]["bind_in_use"], 1, "{done:#?}");
}

#[test]
fn a_port_that_is_freed_is_served_without_a_restart() {
    let block = Block::new();
    let (port, at) = (18_001, block.at(18_001));
    let taken = TcpListener::bind(at).expect("a fresh address");
    let taken_udp = UdpSocket::bind(at).expect("a fresh address");
    let mut server = Ipcow::serve([format!("both://{}:18000-18002", block.ip(0))])
        .set("retry.max_attempts=2")
        .set("retry.initial_backoff_ms=10")
        .set("retry.quarantine_probe_secs=1")
        .start();
    let ready = server.ready();
    assert_eq!((ready.state(), ready.endpoints("listening")), ("degraded", 4));
    drop((taken, taken_udp));
    let mut recovered: Vec<String> = (0..2)
        .map(|_| server.event("recovered")["endpoint"].as_str().expect("a spec").to_owned())
        .collect();
    recovered.sort();
    let ip = block.ip(0);
    assert_eq!(recovered, [format!("tcp://{ip}:{port}"), format!("udp://{ip}:{port}")]);
    echo_tcp(&mut connect(at), b"served at last");
    echo_udp(&udp_client(at), b"served at last");
    let summary = server.terminate().expect_code(0).summary();
    assert_eq!(summary["endpoints"]["listening"], 6, "{summary}");
    assert_eq!(summary["chunks"]["error"], 0, "{summary}");
}

#[test]
fn a_port_that_is_freed_between_two_attempts_makes_the_start_complete() {
    let block = Block::new();
    let taken = TcpListener::bind(block.at(18_000)).expect("a fresh address");
    let mut server = Ipcow::serve([format!("tcp://{}:18000-18001", block.ip(0))])
        .set("retry.max_attempts=1000")
        .set("retry.initial_backoff_ms=50")
        .set("retry.max_backoff_ms=50")
        .start();
    // Its sibling serves while the taken one is retried; `ready` is not printed yet.
    assert!(crate::common::eventually(DEADLINE, || !refused(block.at(18_001))));
    drop(taken);
    let ready = server.ready();
    assert_eq!((ready.state(), ready.endpoints("listening")), ("ready", 2));
}

#[test]
fn a_second_instance_is_refused_and_steals_nothing() {
    let block = Block::new();
    let specs = [format!("both://{}:18000-18009", block.ip(0))];
    let mut first = Ipcow::serve(&specs).start();
    assert_eq!(first.ready().endpoints("listening"), 20);
    std::thread::scope(|scope| {
        let clients = scope.spawn(|| {
            let mut stream = connect(block.at(18_000));
            let datagrams = udp_client(block.at(18_009));
            for _ in 0..5_000 {
                echo_tcp(&mut stream, b"not one is lost");
                echo_udp(&datagrams, b"not one is lost");
            }
        });
        for _ in 0..3 {
            let second = Ipcow::serve(&specs).without_retries().run();
            second.expect_refusal(69, &["18000", "18009", "in use"]);
        }
        clients.join().expect("all 10,000 echoes came back");
    });
    let summary = first.terminate().expect_code(0).summary();
    assert_eq!(counts(&summary, "datagrams", ["received", "replied"]), [5_000, 5_000]);
}

#[test]
fn a_low_port_as_nobody_is_not_retried_and_the_capability_is_named() {
    if !needs(&[Need::Root]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    // A fresh namespace has the kernel's own bound for low ports.
    Namespace::new().enter(|| {
        let mut server = Ipcow::serve(["tcp://127.0.0.1:7,18000"])
            .set("retry.initial_backoff_ms=600000")
            .set("retry.max_backoff_ms=600000")
            .set("coverage.wait_secs=600")
            .by_nobody_in(folder.path())
            .start();
        // Ten minutes would pass before a retry: `ready` comes because there is none.
        let ready = server.ready();
        assert_eq!((ready.state(), ready.endpoints("listening")), ("degraded", 1));
        let failure = ready.failure("tcp://127.0.0.1:7");
        assert_eq!(failure["errno"], "EACCES", "{failure}");
        assert_eq!(failure["state"], "quarantined", "{failure}");
        let done = server.terminate().expect_code(0);
        let said = format!("{failure} {}", done.stderr);
        assert!(said.contains("CAP_NET_BIND_SERVICE"), "{said}");
    });
}

/// `ipcow serve` of 1,000 endpoints under these limits of descriptors.
fn thousand_with(limit: &str, block: Block) -> Ipcow {
    Ipcow::serve([format!("tcp://{}:18000-18999", block.ip(0))]).under(["prlimit", limit])
}

#[test]
fn with_too_few_descriptors_what_fits_is_served_and_the_rest_is_named() {
    if !needs(&[Need::Tool("prlimit")]) {
        return;
    }
    let block = Block::new();
    let mut server = thousand_with("--nofile=256:256", block).start();
    let ready = server.ready();
    let (listening, held) = (ready.endpoints("listening"), ready.endpoints("quarantined"));
    assert_eq!((ready.state(), listening + held), ("degraded", 1_000));
    assert!((1..192).contains(&listening), "{ready:?}");
    // Room for sessions was kept.
    echo_tcp(&mut connect(block.at(18_000)), b"served");
    let done = server.terminate().expect_code(0);
    let said = format!("{}\n{}", done.stdout, done.stderr);
    assert!(said.contains("fd_limit"), "{said}");
    let named = |line: &&str| line.contains("256") && line.contains("nofile");
    let line = done.stderr.lines().find(|line| named(&&*line.to_lowercase()));
    assert!(line.is_some(), "no line names have and fix: {done:#?}");
}

#[test]
fn with_too_few_descriptors_full_coverage_exits_69_before_the_first_bind() {
    if !needs(&[Need::Tool("prlimit")]) {
        return;
    }
    let block = Block::new();
    let strict = thousand_with("--nofile=256:256", block).set("coverage.min_bound=100%");
    strict.run().expect_refusal(69, &["256", "min_bound"]);
}

#[test]
fn the_soft_limit_of_descriptors_is_raised_to_the_hard_one_first() {
    if !needs(&[Need::Tool("prlimit"), Need::Descriptors(4_096)]) {
        return;
    }
    let mut server = thousand_with("--nofile=256:4096", Block::new()).start();
    let ready = server.ready();
    assert_eq!((ready.state(), ready.endpoints("listening")), ("ready", 1_000));
    server.terminate().expect_code(0);
}
