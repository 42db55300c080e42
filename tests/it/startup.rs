//! A service that is used, or told to stop (fault 53), before it has opened everything.

use std::net::TcpListener;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::common::{
    Block, DEADLINE, Ipcow, Need, assert_free, connect, echo_tcp, eventually, needs, refused,
};

/// One second is the promise; the rest is for a machine that is busy.
const SOON: Duration = Duration::from_secs(10);

#[test]
fn term_while_a_big_plan_opens_ends_soon_and_leaves_no_port() {
    if !needs(&[Need::Descriptors(9_000)]) {
        return;
    }
    let block = Block::new();
    // Eight addresses × 1,000 ports; the signal comes when the first of them answers.
    let mut server = Ipcow::serve([format!("tcp://{}:18000-18999", block.cidr())]).start();
    assert!(eventually(DEADLINE, || !server.is_alive() || !refused(block.at(18_000))));
    server.signal(Signal::SIGTERM);
    let done = server.finish_within(SOON).expect_code(0);
    assert_eq!(done.summary()["endpoints"]["total"], 8_000, "{done:#?}");
    for port in (18_000..19_000).step_by(111) {
        assert!(refused((block.ip(7), port).into()), "port {port}");
    }
}

#[test]
fn the_descriptor_table_is_grown_before_the_first_thread() {
    if !needs(&[Need::Tool("strace"), Need::Descriptors(5_000)]) {
        return;
    }
    let (folder, block) = (tempfile::tempdir().expect("a folder"), Block::new());
    let trace = folder.path().join("trace");
    let mut server = Ipcow::serve([format!("tcp://{}:18000-18009", block.ip(0))])
        .traced(&trace, &["trace=fcntl,clone,clone3"])
        .start();
    assert_eq!(server.ready().endpoints("listening"), 10);
    server.terminate().expect_code(0);
    let calls = std::fs::read_to_string(&trace).expect("strace writes its file");
    let first = |call: &str| calls.lines().position(|line| line.contains(call));
    // Ten endpoints, 4,096 sessions, and 512 for the program.
    let (grown, thread) = (first("F_DUPFD_CLOEXEC, 4617)"), first("clone"));
    assert!(grown.is_some() && grown < thread, "{calls}");
}

/// Round trips of one client that end while the same thread still opens the rest.
fn echoes_before_the_last_endpoint_listens() -> usize {
    let block = Block::new();
    let (first, last) = (block.at(18_000), (block.ip(7), 18_999).into());
    let mut server = Ipcow::serve([format!("tcp://{}:18000-18999", block.cidr())])
        .set("threads.workers=1")
        .start();
    while refused(first) {
        assert!(server.is_alive());
    }
    let mut client = connect(first);
    let mut echoes = 0;
    loop {
        echo_tcp(&mut client, b"do you have a moment?");
        if !refused(last) {
            break;
        }
        echoes += 1;
    }
    drop(client);
    assert_eq!(server.ready().endpoints("listening"), 8_000);
    server.terminate().expect_code(0);
    echoes
}

#[test]
fn a_client_is_answered_again_and_again_while_thousands_of_endpoints_still_open() {
    if !needs(&[Need::Descriptors(9_000)]) {
        return;
    }
    // A client that the machine does not run meanwhile proves nothing: it may try again.
    let most =
        (0..5).map(|_| echoes_before_the_last_endpoint_listens()).find(|echoes| *echoes >= 5);
    assert!(most.is_some(), "the thread was busy until all was open");
}

#[test]
fn term_at_any_moment_of_the_start_ends_by_itself() {
    // The handler may not be there yet: then the signal itself ends the process.
    for moment in 0..8 {
        let block = Block::new();
        let server = Ipcow::serve([format!("tcp://{}:18000-18499", block.ip(0))]).start();
        std::thread::park_timeout(Duration::from_millis(moment * 7));
        server.signal(Signal::SIGTERM);
        let done = server.finish_within(SOON);
        assert!(done.code == Some(0) || done.signal == Some(15), "{done:#?}");
        assert_free((18_000..18_500).step_by(100).map(|port| block.at(port)));
    }
}

#[test]
fn term_in_a_retry_back_off_does_not_wait_for_it() {
    let block = Block::new();
    let _taken = TcpListener::bind(block.at(18_000)).expect("a fresh address");
    let server = Ipcow::serve([format!("tcp://{}:18000-18001", block.ip(0))])
        .set("threads.workers=1")
        .set("retry.initial_backoff_ms=600000")
        .set("retry.max_backoff_ms=600000")
        .set("coverage.wait_secs=600")
        .start();
    // Opened in order by the one worker: once the sibling answers, the first has
    // failed.
    assert!(eventually(DEADLINE, || !refused(block.at(18_001))));
    server.signal(Signal::SIGTERM);
    let done = server.finish_within(SOON).expect_code(0);
    assert!(done.events("ready").is_empty(), "{done:#?}");
    let summary = done.summary();
    assert_eq!(summary["endpoints"]["retrying"], 1, "{summary}");
    assert_eq!(summary["endpoints"]["listening"], 1, "{summary}");
    assert!(refused(block.at(18_001)));
}

#[test]
fn ready_comes_after_wait_secs_although_an_endpoint_is_undecided() {
    let block = Block::new();
    let _taken = TcpListener::bind(block.at(18_000)).expect("a fresh address");
    let mut server = Ipcow::serve([format!("tcp://{}:18000-18001", block.ip(0))])
        .set("retry.initial_backoff_ms=600000")
        .set("retry.max_backoff_ms=600000")
        .set("coverage.wait_secs=1")
        .start();
    let ready = server.ready();
    assert_eq!((ready.state(), ready.endpoints("listening")), ("degraded", 1));
    assert_eq!(ready.endpoints("retrying"), 1);
    let failure = ready.failure(&format!("tcp://{}", block.at(18_000)));
    assert_eq!((&failure["state"], &failure["errno"]), (&"retrying".into(), &"EADDRINUSE".into()));
    echo_tcp(&mut connect(block.at(18_001)), b"the other serves");
}

#[test]
fn attempts_are_spaced_by_the_back_off() {
    let block = Block::new();
    let _taken = TcpListener::bind(block.at(18_000)).expect("a fresh address");
    let mut server = Ipcow::serve([format!("tcp://{}:18000-18001", block.ip(0))])
        .set("retry.max_attempts=4")
        .set("retry.initial_backoff_ms=200")
        .set("retry.jitter=0.0")
        .start();
    // Three pauses: 200, 400 and 800 ms.
    let elapsed = server.ready().0["elapsed_ms"].as_u64().expect("a number");
    assert!((1_400..20_000).contains(&elapsed), "{elapsed} ms");
}

#[test]
fn halves_of_pairs_beyond_the_descriptors_take_none() {
    if !needs(&[Need::Tool("prlimit")]) {
        return;
    }
    let mut server = Ipcow::serve(["both://127.0.0.1:0x200", "--workers", "2"])
        .under(["prlimit", "--nofile=256:256"])
        .start();
    let ready = server.ready();
    assert_eq!((ready.endpoints("retrying"), ready.endpoints("pending")), (0, 0));
    let bound = ready.bound();
    assert_eq!(ready.endpoints("listening"), bound.len() as u64);
    assert!(bound.iter().all(|one| !one.udp), "their other halves are tcp");
    echo_tcp(&mut connect(bound[0].at), b"there is room for a session");
    let summary = server.terminate().expect_code(0).summary();
    assert_eq!(summary["errors"]["by_kind"]["bind_resource"], serde_json::Value::Null);
}

#[test]
fn a_process_that_may_open_next_to_nothing_says_so_and_never_panics() {
    if !needs(&[Need::Tool("prlimit")]) {
        return;
    }
    for limit in 4..=12 {
        let limits = format!("--nofile={limit}:{limit}");
        let done = Ipcow::serve(["tcp://127.0.0.1:0"]).under(["prlimit", limits.as_str()]).run();
        done.expect_refusal(69, &["RLIMIT_NOFILE"]);
    }
    // A soft limit alone is no obstacle: it is raised first.
    let mut server = Ipcow::serve(["tcp://127.0.0.1:0"]).under(["prlimit", "--nofile=6:"]).start();
    assert_eq!(server.ready().state(), "ready");
    server.terminate().expect_code(0);
}
