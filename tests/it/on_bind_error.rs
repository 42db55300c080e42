//! `on_bind_error`: what one failed bind means for the rest of its chunk (fault 17).

use std::net::TcpListener;

use crate::common::{Block, Ipcow, Need, connect, counts, echo_tcp, needs, refused};

/// 100 endpoints in two chunks of 50, one port of the first chunk taken.
fn serve(block: Block, policy: &str) -> Ipcow {
    Ipcow::serve([format!("tcp://{}:18000-18099", block.ip(0))])
        .set(&format!("listen_defaults.on_bind_error={policy}"))
        .set("chunks.size=50")
        .set("retry.max_attempts=1")
        .set("retry.quarantine_probe_secs=1")
}

#[test]
fn keep_leaves_exactly_one_hole() {
    let block = Block::new();
    let taken = TcpListener::bind(block.at(18_025)).expect("a fresh address");
    let mut server = serve(block, "keep").start();
    let ready = server.ready();
    assert_eq!((ready.state(), ready.endpoints("listening")), ("degraded", 99));
    assert_eq!(ready.0["chunks"]["total"], 2);
    assert_eq!(ready.0["chunks"]["completed"], 1);
    assert_eq!(ready.0["chunks"]["error"], 1);
    for port in (18_000..18_100).filter(|port| *port != 18_025) {
        assert!(!refused(block.at(port)), "port {port}");
    }
    drop(taken);
    server.event("recovered");
    echo_tcp(&mut connect(block.at(18_025)), b"the hole is filled");
}

#[test]
fn rollback_leaves_all_of_the_chunk_or_nothing() {
    let block = Block::new();
    let taken = TcpListener::bind(block.at(18_025)).expect("a fresh address");
    let mut server = serve(block, "rollback").start();
    let ready = server.ready();
    assert_eq!((ready.state(), ready.endpoints("listening")), ("degraded", 50));
    assert_eq!(ready.endpoints("quarantined"), 50);
    assert_eq!(ready.failure(&format!("tcp://{}", block.at(18_025)))["errno"], "EADDRINUSE");
    // The taken port answers for its holder, which never accepts.
    for port in (18_000..18_050).filter(|port| *port != 18_025) {
        assert!(refused(block.at(port)), "port {port} listens in a chunk that rolled back");
    }
    for port in 18_050..18_100 {
        assert!(!refused(block.at(port)), "port {port} of the other chunk");
    }
    drop(taken);
    for _ in 0..50 {
        server.event("recovered");
    }
    for port in [18_000, 18_025, 18_049] {
        echo_tcp(&mut connect(block.at(port)), b"all of it");
    }
    let summary = server.terminate().expect_code(0).summary();
    assert_eq!(summary["endpoints"]["listening"], 100, "{summary}");
}

#[test]
fn a_rollback_of_the_only_chunk_exits_69() {
    let block = Block::new();
    let _taken = TcpListener::bind(block.at(18_025)).expect("a fresh address");
    serve(block, "rollback").set("chunks.size=100").run().expect_refusal(69, &["18025"]);
}

#[test]
fn a_rollback_leaves_no_socket_of_a_pair_behind() {
    let block = Block::new();
    let _taken = TcpListener::bind(block.at(18_025)).expect("a fresh address");
    let sockets = |specs: &[String]| {
        let mut server = Ipcow::serve(specs)
            .set("listen_defaults.on_bind_error=rollback")
            .set("chunks.size=100")
            .set("coverage.min_bound=0")
            .without_retries()
            .start();
        let ready = server.ready();
        assert_eq!(ready.endpoints("listening"), 0);
        assert_eq!(ready.0.get("bound"), None, "nothing is bound");
        server.sockets()
    };
    let taken = format!("tcp://{}", block.at(18_025));
    let pairs = format!("both://{}:0x10", block.ip(0));
    assert_eq!(sockets(&[taken.clone(), pairs]), sockets(&[taken]));
}

#[test]
fn a_chunk_that_may_roll_back_binds_all_before_it_listens() {
    if !needs(&[Need::Tool("strace")]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("trace");
    let mut server = serve(Block::new(), "rollback")
        .set("chunks.size=100")
        .traced(&file, &["trace=bind,listen"])
        .start();
    assert_eq!(server.ready().endpoints("listening"), 100);
    let trace = std::fs::read_to_string(file).expect("a trace");
    let calls: Vec<_> =
        trace.lines().filter(|line| line.contains("htons") || line.contains("listen(")).collect();
    let first = calls.iter().position(|line| line.contains("listen(")).expect("it listens");
    assert_eq!(first, 100, "binds before the first listen");
}

#[test]
fn a_rollback_is_whole_also_when_the_event_loop_takes_no_more_sockets() {
    if !needs(&[Need::Tool("strace")]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = serve(Block::new(), "rollback")
        .args(["--workers", "1"])
        .set("retry.initial_backoff_ms=10")
        .traced(
            &folder.path().join("trace"),
            &["trace=epoll_ctl", "inject=epoll_ctl:error=ENOMEM:when=40"],
        )
        .start();
    assert_eq!(server.ready().endpoints("listening"), 100);
    let summary = server.terminate().expect_code(0).summary();
    let by_kind = counts(&summary["errors"], "by_kind", ["bind_resource", "bind_rolled_back"]);
    assert_eq!(by_kind, [1, 49], "{summary}");
}

#[test]
fn a_chunk_that_may_roll_back_and_has_descriptors_for_a_part_of_it_opens_nothing() {
    if !needs(&[Need::Tool("prlimit")]) {
        return;
    }
    let block = Block::new();
    let served = |policy: &str| {
        let mut server = serve(block, policy)
            .under(["prlimit", "--nofile=200:200"])
            .args(["--workers", "1"])
            .start();
        let ready = server.ready();
        let counts = (ready.endpoints("listening"), ready.endpoints("quarantined"));
        server.terminate().expect_code(0);
        counts
    };
    let (fits, left_out) = served("keep");
    assert!((51..100).contains(&fits), "the second chunk fits in part: {fits}");
    assert_eq!(fits + left_out, 100);
    assert_eq!(served("rollback"), (50, 50));
}
