//! A running service gets another plan, and what stays does not notice.

use std::io::{Read, Write};
use std::time::Duration;

use ipcow::config::{Config, load_str};
use ipcow::service::{ListOptions, OperationError, Service, ServiceHandle, SuspendOptions};
use ipcow::spec::{Selector, Spec};

use crate::common::{
    Block, DEADLINE, connect, echo_tcp, echo_udp, eventually, eventually_async, read_to_fin,
    refused, udp_client,
};

/// A configuration of one group.
fn config(spec: &str, keys: &str) -> Config {
    let text = format!("[[listen]]\nname = \"lab\"\nspec = \"{spec}\"\n{keys}");
    load_str("test", &text).expect("a legal configuration").config
}

async fn start(config: &Config) -> ServiceHandle {
    let service = Service::builder().config(config.clone()).build().expect("a plan");
    let handle = service.start().expect("threads");
    handle.wait_ready().await.expect("it runs");
    handle
}

fn selector(text: &str) -> Selector {
    Selector::parse(text).expect("a legal selector")
}

fn spec(text: &str) -> Spec {
    Spec::parse(text).expect("a legal spec")
}

async fn count(handle: &ServiceHandle, text: &str) -> u64 {
    let options = ListOptions::default().page(0, 0);
    handle.list(&selector(text), options).await.expect("it runs").matched
}

/// Waits until so many endpoints listen.
async fn listening(handle: &ServiceHandle, expected: u64) {
    let there = || async { count(handle, "state:listening").await == expected };
    assert!(eventually_async(DEADLINE, there).await, "{:?}", handle.status().await);
}

#[tokio::test]
async fn what_is_added_is_served_and_what_is_removed_is_gone() {
    let block = Block::new();
    // Two chunks, whatever the machine has.
    let keys = "[threads]\nworkers = 2";
    let handle = start(&config(&format!("both://{}:18000-18001", block.ip(0)), keys)).await;
    let more = spec(&format!("both://{}:18001-18003", block.ip(0)));
    let diff = handle.add(&more, None).await.expect("a plan");
    assert_eq!((diff.opened, diff.untouched, diff.closed, diff.reopened), (4, 4, 0, 0));
    listening(&handle, 8).await;
    echo_tcp(&mut connect(block.at(18_003)), b"new");
    echo_udp(&udp_client(block.at(18_002)), b"new");
    assert_eq!(handle.add(&more, None).await.expect("a plan").opened, 0);
    assert_eq!((count(&handle, "group:added").await, count(&handle, "chunk:1").await), (4, 2));
    let mut kept = connect(block.at(18_000));
    let removed = handle.remove(&selector("*://*:18002-18003")).await.expect("they are there");
    assert_eq!((removed.changed, removed.closing), (4, 0));
    assert!(eventually(DEADLINE, || refused(block.at(18_003))));
    assert_eq!((count(&handle, "*").await, count(&handle, "group:added").await), (4, 0));
    let chunks: Vec<_> = handle.chunks(99, 0).await.expect("it runs");
    assert!(chunks.iter().all(|chunk| chunk.endpoints > 0), "{chunks:?}");
    echo_tcp(&mut kept, b"undisturbed");
    assert_eq!(handle.add(&more, Some("lab")).await.expect("a plan").opened, 4);
    listening(&handle, 8).await;
    assert_eq!(count(&handle, "group:lab").await, 8);
    let numbers = handle.chunks(99, 0).await.expect("it runs").into_iter().map(|chunk| chunk.id);
    assert!(numbers.max() > chunks.iter().map(|chunk| chunk.id).max());
}

#[tokio::test]
async fn a_reload_opens_what_is_new_drains_what_is_gone_and_touches_nothing_else() {
    let block = Block::new();
    let ip = block.ip(0);
    let keys = "[shutdown]\nquiet_ms = 100";
    let handle = start(&config(&format!("tcp://{ip}:18000-18003"), keys)).await;
    let mut survivor = connect(block.at(18_002));
    let mut gone = connect(block.at(18_000));
    echo_tcp(&mut gone, b"before");
    let next = config(&format!("tcp://{ip}:18002-18005"), keys);
    let dry = handle.reload(&next, true).await.expect("a plan");
    assert_eq!((dry.opened, dry.closed, dry.untouched), (2, 2, 2));
    assert_eq!(dry.closed_endpoints, format!("{ip}:{{18000,18001}}"));
    echo_tcp(&mut connect(block.at(18_001)), b"nothing happened");
    assert_eq!(handle.reload(&next, false).await.expect("a plan"), dry);
    listening(&handle, 4).await;
    echo_tcp(&mut survivor, b"undisturbed");
    assert_eq!(read_to_fin(&mut gone), b"");
    assert!(eventually(DEADLINE, || refused(block.at(18_001))));
    echo_tcp(&mut connect(block.at(18_005)), b"new");
    let same = handle.reload(&next, false).await.expect("a plan");
    assert_eq!((same.opened, same.closed, same.untouched), (0, 0, 4));
}

#[tokio::test]
async fn a_session_echoes_through_everything_that_happens_to_others() {
    let block = Block::new();
    let ip = block.ip(0);
    let base = config(&format!("tcp://{ip}:18000-18009"), "");
    let handle = start(&base).await;
    let mut session = connect(block.at(18_000));
    let mut said = 0_u64;
    let mut speak = |session: &mut std::net::TcpStream| {
        for _ in 0..50 {
            let word = said.to_be_bytes();
            session.write_all(&word).expect("it reads");
            let mut back = [0; 8];
            session.read_exact(&mut back).expect("it echoes");
            assert_eq!(back, word);
            said += 1;
        }
    };
    for round in 0..3_u16 {
        let others = selector("*:18001-18009");
        handle.suspend(&others, SuspendOptions::default()).await.expect("they are there");
        speak(&mut session);
        let port = 18_020 + round;
        handle.add(&spec(&format!("{ip}:{port}")), None).await.expect("a plan");
        let fewer = config(&format!("tcp://{ip}:18000-1800{round}"), "");
        handle.reload(&fewer, false).await.expect("a plan");
        speak(&mut session);
        handle.remove(&selector(&format!("*:{port}"))).await.expect("it is there");
        handle.reload(&base, false).await.expect("a plan");
        handle.resume(&others).await.expect("they are there");
        listening(&handle, 10).await;
        speak(&mut session);
    }
    drop(session);
    let totals = handle.shutdown().await.expect("it drains").totals;
    assert_eq!((totals.accepted, totals.closed, totals.tcp_in), (1, 1, said * 8));
}

#[tokio::test]
async fn what_was_added_or_suspended_survives_a_reload() {
    let block = Block::new();
    let ip = block.ip(0);
    let base = config(&format!("tcp://{ip}:18000-18001,0"), "");
    let handle = start(&base).await;
    handle.add(&spec(&format!("{ip}:18005,0")), None).await.expect("a plan");
    listening(&handle, 5).await;
    let numbers = || async {
        let listing = handle.list(&selector("*:0"), ListOptions::default()).await;
        let rows = listing.expect("it runs").endpoints;
        rows.iter().map(|row| row.endpoint.port.number()).collect::<Vec<_>>()
    };
    let before = numbers().await;
    assert_eq!(before.len(), 2);
    handle.suspend(&selector("*:18001"), SuspendOptions::default()).await.expect("it is there");
    let diff = handle.reload(&base, false).await.expect("a plan");
    assert_eq!((diff.opened, diff.closed, diff.untouched), (0, 0, 5));
    assert_eq!((count(&handle, "state:suspended").await, numbers().await), (1, before));
    echo_tcp(&mut connect(block.at(18_005)), b"still added");
}

#[tokio::test]
async fn a_faulty_plan_changes_nothing_and_says_why() {
    let block = Block::new();
    let ip = block.ip(0);
    let handle = start(&config(&format!("tcp://{ip}:18000"), "")).await;
    let clash = handle.add(&spec("tcp://*:18000"), None).await;
    assert!(matches!(&clash, Err(OperationError::Plan(_))), "{clash:?}");
    let unknown = handle.add(&spec("tcp://if:no-such-one:80"), None).await;
    assert!(matches!(&unknown, Err(OperationError::Plan(_))), "{unknown:?}");
    let lost = handle.add(&spec(&format!("{ip}:18001")), Some("lost")).await;
    assert!(lost.is_err_and(|error| error.to_string().contains("lab")));
    let many = handle.add(&spec("127.64.0.0/12:18001"), None).await;
    assert!(many.is_err_and(|error| error.to_string().contains("limits.max_endpoints")));
    let some = handle.add(&spec("127.64.0.0/18:18001-18010"), None).await;
    assert!(matches!(&some, Err(OperationError::FdLimit { .. })), "{some:?}");
    let empty = config("tcp://127.0.0.1:18000,!18000-18001", "");
    assert!(handle.reload(&empty, false).await.is_err());
    assert_eq!((count(&handle, "*").await, count(&handle, "state:listening").await), (1, 1));
    let other = config(&format!("tcp://{ip}:18000"), "[threads]\nfactor = 7.0");
    let diff = handle.reload(&other, false).await.expect("a plan");
    assert_eq!((diff.untouched, diff.needs_restart), (1, vec!["threads"]));
}

#[tokio::test]
async fn new_settings_are_served_from_the_same_socket_and_old_sessions_go_on() {
    let block = Block::new();
    let at = format!("tcp://{}:18000", block.ip(0));
    let handle = start(&config(&at, "")).await;
    let mut old = connect(block.at(18_000));
    echo_tcp(&mut old, b"before");
    let discard = config(&format!("{at}\"\nmode = \"discard"), "");
    assert_eq!(handle.reload(&discard, false).await.expect("a plan").reopened, 1);
    // Nobody is refused meanwhile: the socket stays.
    let mut new = connect(block.at(18_000));
    listening(&handle, 1).await;
    echo_tcp(&mut old, b"after");
    let silent = || {
        let mut client = connect(block.at(18_000));
        client.set_read_timeout(Some(Duration::from_millis(200))).expect("a legal timeout");
        client.write_all(b"hush").expect("it reads");
        client.read(&mut [0; 8]).is_err()
    };
    assert!(eventually(DEADLINE, silent));
    new.write_all(b"x").expect("it was taken");
    assert_eq!(handle.status().await.expect("it runs").endpoints.total, 1);
}
