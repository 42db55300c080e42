//! The objects that `serve --json` prints, key by key (interface §4.1), and the ways in
//! which `serve` ends by itself.

use std::collections::BTreeSet;
use std::net::TcpListener;

use serde_json::Value;

use crate::common::{
    Block, Ipcow, NO_SPECS, Need, connect, counts, echo_tcp, echo_udp, needs, refused, udp_client,
};

fn keys(object: &Value) -> BTreeSet<&str> {
    object.as_object().expect("an object").keys().map(String::as_str).collect()
}

const STATES: [&str; 7] =
    ["total", "pending", "listening", "retrying", "quarantined", "draining", "suspended"];

/// Every key must be there; more may come with later versions.
fn assert_has<const N: usize>(object: &Value, named: [&str; N]) {
    let present = keys(object);
    let missing: Vec<_> = named.iter().filter(|key| !present.contains(*key)).collect();
    assert!(missing.is_empty(), "{missing:?} are missing in {object}");
}

fn assert_stamped(event: &Value) {
    let stamp = event["ts"].as_str().expect("RFC 3339");
    let parsed = humantime::parse_rfc3339_weak(stamp);
    assert!(parsed.is_ok() && stamp.contains('T'), "{stamp}");
    assert_eq!(event["instance"], "default");
}

#[test]
fn ready_has_every_key_of_the_contract() {
    let block = Block::new();
    let _taken = TcpListener::bind(block.at(18_000)).expect("a fresh address");
    let specs = [format!("tcp://{}:18000,0", block.ip(0)), "--workers".into(), "2".into()];
    let mut server = Ipcow::serve(specs).without_retries().start();
    let ready = server.ready();
    let event = &ready.0;
    assert_stamped(event);
    assert_has(
        event,
        ["event", "state", "endpoints", "chunks", "workers", "elapsed_ms", "bound", "failures"],
    );
    assert_has(event, ["control", "admin"]);
    assert_has(&event["endpoints"], STATES);
    assert_has(&event["chunks"], ["total", "completed", "error"]);
    assert_has(&event["failures"][0], ["endpoint", "state", "errno", "error"]);
    assert_eq!(event["state"], "degraded");
    assert_eq!(event["workers"], 2);
    assert_eq!(event["admin"], Value::Null);
    let states = STATES[1..].iter().map(|state| ready.endpoints(state)).sum::<u64>();
    assert_eq!((states, ready.endpoints("total")), (2, 2));
    assert_eq!(counts(event, "chunks", ["total", "completed", "error"]), [2, 1, 1]);
}

#[test]
fn summary_has_every_key_of_the_contract() {
    let mut server = Ipcow::serve(["both://127.0.0.1:0"]).start();
    let ready = server.ready();
    echo_tcp(&mut connect(ready.tcp()), b"five!");
    echo_udp(&udp_client(ready.udp()), b"seven!!");
    let done = server.terminate().expect_code(0);
    assert_eq!((done.events("ready").len(), done.events("summary").len()), (1, 1));
    let summary = done.summary();
    assert_stamped(&summary);
    assert_has(&summary, ["uptime_ms", "endpoints", "chunks", "sessions", "datagrams", "bytes"]);
    assert_has(&summary, ["errors", "restarts"]);
    assert_has(&summary["endpoints"], STATES);
    assert_has(&summary["chunks"], ["total", "completed", "error"]);
    assert_has(&summary["sessions"], ["accepted", "closed", "failed", "forced", "refused", "peak"]);
    assert_has(&summary["datagrams"], ["received", "replied", "dropped"]);
    assert_has(&summary["errors"], ["logged", "dropped", "by_kind"]);
    assert_has(&summary["restarts"], ["listeners", "workers"]);
    let bytes = serde_json::json!({"tcp_in": 5, "tcp_out": 5, "udp_in": 7, "udp_out": 7});
    assert_eq!(summary["bytes"], bytes);
    assert_eq!(summary["sessions"]["peak"], 1);
    assert_eq!(summary["errors"]["logged"], 0);
}

#[test]
fn the_instance_is_named_in_every_event() {
    let named = Ipcow::serve(["tcp://127.0.0.1:0", "--name", "left", "--for", "1s"]);
    let done = named.run().expect_code(0);
    for line in done.stdout.lines() {
        assert!(line.contains("\"instance\":\"left\""), "{line}");
    }
}

#[test]
fn port_0_is_printed_as_the_number_that_the_kernel_chose() {
    let mut server = Ipcow::serve(["tcp://127.0.0.1:0x4", "udp://127.0.0.1:0x3"]).start();
    let bound = server.ready().bound();
    let distinct: BTreeSet<_> = bound.iter().map(|one| (one.udp, one.at)).collect();
    assert_eq!((bound.len(), distinct.len()), (7, 7), "{bound:?}");
    for one in bound {
        if one.udp {
            echo_udp(&udp_client(one.at), b"here");
        } else {
            echo_tcp(&mut connect(one.at), b"here");
        }
    }
}

#[test]
fn both_on_port_0_gets_one_number_for_both() {
    let mut server = Ipcow::serve(["both://127.0.0.1:0x8"]).start();
    let bound = server.ready().bound();
    let ports = |udp: bool| -> BTreeSet<u16> {
        bound.iter().filter(|one| one.udp == udp).map(|one| one.at.port()).collect()
    };
    assert_eq!(ports(false).len(), 8, "{bound:?}");
    assert_eq!(ports(false), ports(true));
}

#[test]
fn ports_that_were_named_are_not_listed_as_bound() {
    let mut server = Ipcow::serve([format!("tcp://{}:18000", Block::new().ip(0))]).start();
    let ready = server.ready();
    let list = ready.0.get("bound").and_then(Value::as_array).map_or(0, Vec::len);
    assert_eq!(list, 0, "{ready:?}");
}

#[test]
fn for_ends_by_itself_with_0_and_a_summary() {
    let done = Ipcow::serve(["tcp://127.0.0.1:0", "--for", "1s"]).run().expect_code(0);
    let uptime = done.summary()["uptime_ms"].as_u64().expect("a number");
    assert!((900..30_000).contains(&uptime), "{uptime} ms");
}

#[test]
fn once_opens_all_prints_the_summary_and_ends_with_0() {
    let block = Block::new();
    let done = Ipcow::serve([format!("both://{}:18000-18019", block.ip(0)), "--once".into()])
        .run()
        .expect_code(0);
    assert_eq!(done.summary()["endpoints"]["listening"], 40);
    assert_eq!(done.summary()["chunks"]["error"], 0);
    assert!(refused(block.at(18_000)));
}

#[test]
fn once_below_min_bound_ends_with_69() {
    let block = Block::new();
    let _taken = TcpListener::bind(block.at(18_000)).expect("a fresh address");
    Ipcow::serve([format!("tcp://{}:18000-18001", block.ip(0)), "--once".into()])
        .without_retries()
        .set("coverage.min_bound=2")
        .run()
        .expect_refusal(69, &["18000"]);
}

#[test]
fn min_bound_0_never_exits_for_it() {
    let block = Block::new();
    let _taken = TcpListener::bind(block.at(18_000)).expect("a fresh address");
    let command = Ipcow::serve([format!("tcp://{}:18000", block.ip(0))]).without_retries();
    command.clone().run().expect_refusal(69, &["18000"]);
    let mut server = command.set("coverage.min_bound=0").start();
    let ready = server.ready();
    assert_eq!((ready.state(), ready.endpoints("listening")), ("degraded", 0));
    server.terminate().expect_code(0);
}

#[test]
fn at_most_256_ports_are_listed_and_100_failures() {
    if !needs(&[Need::Descriptors(4_096)]) {
        return;
    }
    let block = Block::new();
    let _taken: Vec<_> = (18_000..18_150)
        .map(|port| TcpListener::bind(block.at(port)).expect("a fresh address"))
        .collect();
    let specs = [format!("tcp://{}:18000-18149", block.ip(0)), "tcp://127.0.0.1:0x300".into()];
    let ready = Ipcow::serve(specs).without_retries().start().ready();
    assert_eq!((ready.endpoints("listening"), ready.endpoints("quarantined")), (300, 150));
    assert_eq!((ready.bound().len(), ready.failures().len()), (256, 100));
}

#[test]
fn without_arguments_only_loopback_is_served() {
    let plan = Ipcow::plan(NO_SPECS).run().json();
    let group = &plan["groups"][0];
    assert_eq!((&group["name"], &group["endpoints"]), (&"lab".into(), &20.into()), "{plan}");
    assert_eq!((&plan["endpoints"]["tcp"], &plan["endpoints"]["udp"]), (&10.into(), &10.into()));
}
