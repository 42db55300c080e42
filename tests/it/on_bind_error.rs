//! `on_bind_error`: what one failed bind means for the rest of its chunk (fault 17).

use std::net::TcpListener;

use crate::common::{Block, Ipcow, connect, echo_tcp, refused};

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
