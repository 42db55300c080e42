//! The whole job at its real size: 13,986 endpoints, a client that is not ours, three
//! taken ports that are served once freed, a drain, and totals that agree.

use std::fmt::Write;
use std::net::{TcpListener, UdpSocket};

use crate::common::{Block, Ipcow, Need, needs};
use crate::foreign_clients::python;

#[test]
fn thirteen_thousand_endpoints_echo_recover_drain_and_add_up() {
    if !needs(&[Need::Tool("python3"), Need::Descriptors(15_000)]) {
        return;
    }
    let block = Block::new();
    let taken = [18_000, 18_499].map(|port| TcpListener::bind((block.ip(1), port)).expect("free"));
    let taken_udp = UdpSocket::bind((block.ip(7), 18_999)).expect("free");
    let spec = format!("both://{},!{}:18000-18999,!18500", block.cidr(), block.ip(3));
    let mut server = Ipcow::serve([spec])
        .set("retry.max_attempts=2")
        .set("retry.initial_backoff_ms=10")
        .set("retry.quarantine_probe_secs=1")
        .start();
    let ready = server.ready();
    assert_eq!((ready.state(), ready.endpoints("total")), ("degraded", 13_986));
    assert_eq!(ready.endpoints("listening"), 13_983);
    assert_eq!(ready.failures().len(), 3);
    drop((taken, taken_udp));
    for _ in 0..3 {
        server.event("recovered");
    }

    let mut lines = String::new();
    for protocol in ["tcp", "udp"] {
        for addresses in [(0, 2), (4, 7)] {
            for ports in ["18000-18499", "18501-18999"] {
                let (first, last) = (block.ip(addresses.0), block.ip(addresses.1));
                writeln!(lines, "{protocol} {first}-{last} {ports}").expect("a string grows");
            }
        }
    }
    let counted = python(&lines);
    assert_eq!(counted["failed"], serde_json::json!([]));
    assert_eq!((&counted["tcp"], &counted["udp"]), (&6_993.into(), &6_993.into()));

    let summary = server.terminate().expect_code(0).summary();
    assert_eq!(summary["endpoints"]["listening"], 13_986, "{summary}");
    assert_eq!(summary["chunks"]["error"], 0, "{summary}");
    for key in ["accepted", "closed"] {
        assert_eq!(summary["sessions"][key], counted["tcp"], "{key}: {summary}");
    }
    for key in ["received", "replied"] {
        assert_eq!(summary["datagrams"][key], counted["udp"], "{key}: {summary}");
    }
    for (key, client) in [("tcp_in", "tcp_bytes"), ("tcp_out", "tcp_bytes")] {
        assert_eq!(summary["bytes"][key], counted[client], "{key}: {summary}");
    }
    for (key, client) in [("udp_in", "udp_bytes"), ("udp_out", "udp_bytes")] {
        assert_eq!(summary["bytes"][key], counted[client], "{key}: {summary}");
    }
}
