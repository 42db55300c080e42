//! What a running service tells of itself: lists, errors, status.

use std::net::TcpListener;

use ipcow::config::load_str;
use ipcow::service::{ListOptions, Service, ServiceHandle};
use ipcow::spec::Selector;
use ipcow::supervision::{EndpointState, WorkerState};
use serde_json::{Value, json};

use crate::common::{
    Block, DEADLINE, connect, echo_tcp, echo_udp, eventually_async, read_to_fin, udp_client,
};

fn start(keys: &str, spec: &str) -> ServiceHandle {
    let mut config = load_str("embedder", &format!("# Keys.\n{keys}")).expect("legal keys").config;
    config.groups.clear();
    let builder = Service::builder().config(config).listen(spec).expect("a legal spec");
    builder.build().expect("a plan").start().expect("threads")
}

fn selector(text: &str) -> Selector {
    Selector::parse(text).expect("a legal selector")
}

async fn list(handle: &ServiceHandle, text: &str) -> Value {
    let listing = handle.list(&selector(text), ListOptions::default()).await.expect("it runs");
    serde_json::to_value(listing.endpoints).expect("JSON")
}

#[tokio::test]
async fn a_list_shows_what_each_endpoint_counted_and_who_was_there_last() {
    let block = Block::new();
    let handle = start("[chunks]\nsize = 2", &format!("both://{}:18000-18001", block.ip(0)));
    handle.wait_ready().await.expect("it runs");
    let mut client = connect(block.at(18_001));
    let peer = client.local_addr().expect("it is bound");
    echo_tcp(&mut client, b"five!");
    echo_udp(&udp_client(block.at(18_000)), b"seven!!");
    let shown = || async { list(&handle, "*://*:*").await };
    // The answer is on its way before it is counted.
    let counted = || async {
        let rows = shown().await;
        (&rows[1]["bytes"]["out"], &rows[2]["datagrams"]["replied"]) == (&json!(5), &json!(1))
    };
    assert!(eventually_async(DEADLINE, counted).await, "{}", shown().await);
    let rows = shown().await;
    let row = &rows[1];
    assert_eq!(row["endpoint"], format!("tcp://{}", block.at(18_001)));
    assert_eq!((&row["group"], &row["chunk"]), (&json!("builder"), &json!(1)));
    assert_eq!((&row["state"], &row["attempts"]), (&json!("listening"), &json!(1)));
    assert_eq!(
        (&row["restarts"], &row["errno"], &row["error"]),
        (&json!(0), &json!(null), &json!(null))
    );
    assert_eq!(row["sessions"], json!({"active": 1, "accepted": 1, "refused": 0}));
    assert_eq!(row["datagrams"], json!({"received": 0, "replied": 0, "dropped": 0}));
    assert_eq!(row["bytes"], json!({"in": 5, "out": 5}));
    assert_eq!(row["last_peer"], peer.to_string());
    assert!(row["last_seen"].as_str().is_some_and(|seen| seen.ends_with('Z')), "{row}");
    assert_eq!(row["workers"].as_array().map(Vec::len), Some(1));
    assert_eq!((&rows[0]["last_seen"], &rows[0]["last_peer"]), (&json!(null), &json!(null)));
    let datagrams = json!({"received": 1, "replied": 1, "dropped": 0});
    assert_eq!((&rows[2]["chunk"], &rows[2]["datagrams"]), (&json!(2), &datagrams));
    assert_eq!(rows[2]["bytes"], json!({"in": 7, "out": 7}));
    client.shutdown(std::net::Shutdown::Write).expect("still connected");
    read_to_fin(&mut client);
    let ended = || async { shown().await[1]["sessions"]["active"] == 0 };
    assert!(eventually_async(DEADLINE, ended).await);
}

#[tokio::test]
async fn a_list_is_cut_into_pages_and_says_how_many_there_are() {
    let block = Block::new();
    let handle = start("", &format!("tcp://{}:18000-18099", block.ip(0)));
    handle.wait_ready().await.expect("it runs");
    let options = ListOptions::default().page(3, 10);
    let page = handle.list(&selector("*:18050-18090"), options).await.expect("it runs");
    let ports: Vec<_> = page.endpoints.iter().map(|row| row.endpoint.port.number()).collect();
    assert_eq!((ports, page.matched), (vec![18_060, 18_061, 18_062], 41));
    let options = ListOptions::default().state(EndpointState::Quarantined);
    assert_eq!(handle.list(&Selector::all(), options).await.expect("it runs").matched, 0);
    handle.shutdown().await.expect("it drains");
    assert!(handle.list(&Selector::all(), options).await.is_err());
}

#[tokio::test]
async fn errors_are_grouped_by_cause_and_name_who_holds_the_port() {
    let block = Block::new();
    let held: Vec<_> =
        (18_001..=18_003).map(|port| TcpListener::bind(block.at(port)).expect("free")).collect();
    let keys = "[retry]\nmax_attempts = 1\nquarantine_probe_secs = 600";
    let handle = start(keys, &format!("tcp://{}:18000-18003", block.ip(0)));
    assert!(!handle.wait_ready().await.expect("it runs").is_complete());
    let errors = serde_json::to_value(handle.errors().await.expect("it runs")).expect("JSON");
    let [group] = errors.as_array().expect("an array").as_slice() else { panic!("{errors}") };
    assert_eq!((&group["scope"], &group["kind"]), (&json!("chunk"), &json!("bind_in_use")));
    assert_eq!((&group["count"], &group["state"]), (&json!(3), &json!("quarantined")));
    assert_eq!(group["endpoints"], format!("{}:18001-18003", block.ip(0)));
    assert!(group["retry_in_ms"].as_u64().is_some_and(|ms| ms > 1_000), "{group}");
    let pid = format!("pid {}", std::process::id());
    assert!(group["fix"].as_str().is_some_and(|fix| fix.contains(&pid)), "{group}");
    drop(held);
}

#[tokio::test]
async fn the_status_counts_states_and_names_each_worker() {
    let block = Block::new();
    let keys = "[threads]\nworkers = 2\n[chunks]\nsize = 3";
    let handle = start(keys, &format!("tcp://{}:18000-18006", block.ip(0)));
    handle.wait_ready().await.expect("it runs");
    let status = handle.status().await.expect("it runs");
    assert!(status.ready && !status.draining);
    assert_eq!((status.endpoints.listening, status.chunks.completed), (7, 3));
    let workers: Vec<_> = status.workers.iter().map(|worker| worker.id.0).collect();
    assert_eq!(workers, [1, 2]);
    assert!(status.workers.iter().all(|worker| worker.epoch > 0 && !worker.hung));
    let known = [Some(WorkerState::Idle), Some(WorkerState::Done)];
    assert!(status.workers.iter().all(|worker| known.contains(&worker.state)), "{status:?}");
    let chunks = handle.chunks(2, 1).await.expect("it runs");
    let sizes: Vec<_> = chunks.iter().map(|chunk| (chunk.id.0, chunk.endpoints)).collect();
    assert_eq!(sizes, [(2, 3), (3, 1)]);
}

#[tokio::test]
async fn what_nobody_came_to_since_the_mark_is_listed_and_so_is_who_came() {
    let block = Block::new();
    let handle = start("", &format!("both://{}:18000-18002", block.ip(0)));
    handle.wait_ready().await.expect("it runs");
    let untouched = || async {
        let options = ListOptions::default().untouched();
        let listing = handle.list(&Selector::all(), options).await.expect("it runs");
        listing.endpoints.iter().map(|row| row.endpoint.to_string()).collect::<Vec<_>>()
    };
    let mut open = connect(block.at(18_000));
    echo_tcp(&mut open, b"before");
    // The answer is on its way before it is counted.
    let counted = || async { list(&handle, "*:18000").await[0]["bytes"]["out"] == 6 };
    assert!(eventually_async(DEADLINE, counted).await);
    handle.mark();
    assert_eq!(untouched().await.len(), 6);
    echo_tcp(&mut connect(block.at(18_001)), b"after");
    echo_udp(&udp_client(block.at(18_002)), b"after");
    let left = || async { untouched().await.len() == 4 };
    assert!(eventually_async(DEADLINE, left).await, "{:?}", untouched().await);
    echo_tcp(&mut open, b"bytes count too");
    let left = || async { untouched().await.len() == 3 };
    assert!(eventually_async(DEADLINE, left).await, "{:?}", untouched().await);
    let by = |network: [u8; 4]| ListOptions::default().touched_by(network.into(), 8);
    let listing = handle.list(&Selector::all(), by([127, 0, 0, 0])).await.expect("it runs");
    assert_eq!(listing.matched, 3);
    let listing = handle.list(&Selector::all(), by([10, 0, 0, 0])).await.expect("it runs");
    assert_eq!(listing.matched, 0);
}
