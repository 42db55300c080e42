//! How events look as JSON.

use std::net::Ipv4Addr;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::*;
use crate::spec::{Port, Protocol};
use crate::supervision::{ChunkState, EndpointState, Fault, Lease};

fn tcp(port: u16) -> Endpoint {
    let address = Ipv4Addr::LOCALHOST.into();
    Endpoint { protocol: Protocol::Tcp, address, port: Port::Number(port) }
}

fn batch(ports: std::ops::Range<u16>) -> EndpointBatch {
    ports.map(tcp).collect::<Vec<_>>().into()
}

fn shown(event: Event) -> Value {
    let at = SystemTime::UNIX_EPOCH;
    serde_json::to_value(Occurrence::new(7, at, event)).expect("strings and numbers")
}

#[test]
fn an_event_is_one_flat_object_with_its_name_time_and_number() {
    let event =
        Event::WorkerLost { worker: WorkerId(2), listeners: 5, outlook: Outlook::Restarting };
    let wanted = json!({"event": "worker_lost", "ts": "1970-01-01T00:00:00.000Z", "id": 7,
        "worker": 2, "listeners": 5, "outlook": "restarting"});
    assert_eq!(shown(event), wanted);
}

#[test]
fn a_thousand_endpoints_are_a_few_words_and_each_can_be_asked_for() {
    let fault = Fault::from_bind_errno(nix::errno::Errno::EADDRINUSE as i32);
    let states = (EndpointState::Retrying, EndpointState::Quarantined);
    let event =
        Event::EndpointsChanged(EndpointChange::new(states, Some(fault), batch(8000..9000)));
    assert!(event.concerns(&tcp(8999)) && !event.concerns(&tcp(9000)));
    let shown = shown(event);
    assert_eq!(shown["endpoints"], "127.0.0.1:8000-8999");
    let words = ["from", "to", "kind", "errno"].map(|key| shown[key].as_str().unwrap_or_default());
    assert_eq!(words, ["retrying", "quarantined", "bind_in_use", "EADDRINUSE"]);
    assert_eq!((&shown["count"], shown["error"].is_string()), (&json!(1000), true));
}

#[test]
fn chunks_are_numbers_and_runs_of_them() {
    let lease = Lease { chunk: ChunkId(4), worker: WorkerId(1), epoch: 9 };
    let chunks = [1, 2, 3, 7].map(ChunkId).to_vec();
    let change = ChunkChange::new(ChunkState::Idle, ChunkState::Ready, chunks);
    let shown_change = shown(Event::ChunksChanged(change));
    assert_eq!((&shown_change["chunks"], &shown_change["count"]), (&json!("1-3,7"), &json!(4)));
    let (from, to) = (ChunkState::Processing { lease }, ChunkState::Error { faults: 2 });
    let shown_change = shown(Event::ChunksChanged(ChunkChange::new(from, to, vec![ChunkId(4)])));
    let wanted = (&json!("processing"), &json!("error"), &json!(1), &json!(2));
    let [from, to, worker, missing] =
        ["from", "to", "worker", "missing"].map(|key| &shown_change[key]);
    assert_eq!((from, to, worker, missing), wanted);
}

#[test]
fn words_and_keys_stand_where_an_operator_looks_for_them() {
    let shown_limit = shown(Event::LimitReached { limit: Limit::Sessions });
    assert_eq!(shown_limit["limit"], Limit::Sessions.key());
    let reason = DropReason::SourcePort;
    let shown_drop = shown(Event::FirstDrop { reason, key: reason.key() });
    assert_eq!(shown_drop["reason"], "source_port");
    assert_eq!(shown_drop["key"], "udp.refuse_source_ports");
    let order = Order::Suspend;
    let select = "tcp://*:80".to_owned();
    let shown_order = shown(Event::OrderDone { order, select, matched: 3, changed: 2 });
    assert_eq!((&shown_order["order"], &shown_order["changed"]), (&json!("suspend"), &json!(2)));
    let diff = Box::new(PlanDiff::default());
    let shown_diff = shown(Event::Replanned { operation: Replanning::Reload, diff });
    assert_eq!((&shown_diff["operation"], &shown_diff["opened"]), (&json!("reload"), &json!(0)));
}
