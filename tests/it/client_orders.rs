//! `ipcow suspend`, `resume`, `drain`, `retry`, `set` and `shutdown` against a running service:
//! what is named changes, and nothing else notices (interface §4).

use std::time::Duration;

use crate::common::{
    Block, DEADLINE, Ipcow, Served, connect, counts, echo_tcp, eventually, read_to_fin, refused,
};

fn four(block: Block) -> (Served, String) {
    let spec = format!("tcp://{}:18000-18003", block.ip(0));
    let (served, ready) = Served::start(Ipcow::serve([&spec]));
    assert_eq!(ready.state(), "ready");
    (served, format!("{}:18001", block.ip(0)))
}

#[test]
fn a_suspended_endpoint_refuses_until_it_is_resumed_and_others_do_not_notice() {
    let block = Block::new();
    let (served, one) = four(block);
    let mut kept = connect(block.at(18_001));
    let mut sibling = connect(block.at(18_002));
    echo_tcp(&mut kept, b"before");
    let done = served.ask(["suspend", &one]).expect_code(0);
    assert_eq!(done.stdout, "suspended: 1 endpoint");
    assert!(eventually(DEADLINE, || refused(block.at(18_001))));
    echo_tcp(&mut kept, b"sessions are kept");
    echo_tcp(&mut sibling, b"undisturbed");
    assert_eq!(served.endpoints(["state:suspended"]), [format!("tcp://{one}")]);
    // Suspended is intended: nothing is degraded.
    served.ask(["status"]).expect_code(0);
    let again = served.json(["suspend", &one]);
    assert_eq!((&again["matched"], &again["closing"]), (&1.into(), &0.into()));
    let done = served.ask(["resume", "*"]).expect_code(0);
    assert_eq!(done.stdout, "resumed: 1 of 4 endpoints; the others need no change");
    served.reach("listening", 4);
    echo_tcp(&mut connect(block.at(18_001)), b"open again");
    echo_tcp(&mut kept, b"still there");
}

#[test]
fn sessions_end_with_fin_or_reset_where_that_is_ordered() {
    let block = Block::new();
    let (served, one) = four(block);
    let mut fin = connect(block.at(18_001));
    echo_tcp(&mut fin, b"one");
    served.ask(["suspend", &one, "--sessions", "fin"]).expect_code(0);
    assert_eq!(read_to_fin(&mut fin), b"");
    let mut reset = connect(block.at(18_002));
    echo_tcp(&mut reset, b"two");
    let two = format!("{}:18002", block.ip(0));
    served.ask(["suspend", &two, "--sessions", "reset"]).expect_code(0);
    let error = std::io::Read::read(&mut reset, &mut [0; 8]).expect_err("a reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn a_drained_endpoint_ends_its_quiet_sessions_and_is_suspended() {
    let block = Block::new();
    let (served, one) = four(block);
    let mut client = connect(block.at(18_001));
    echo_tcp(&mut client, b"quiet from now on");
    let done = served.ask(["drain", &one]).expect_code(0);
    assert_eq!(done.stdout, "draining: 1 endpoint");
    assert_eq!(read_to_fin(&mut client), b"");
    served.reach("suspended", 1);
}

#[test]
fn a_retry_opens_what_was_given_up_once_its_cause_is_gone() {
    let block = Block::new();
    let taken = std::net::TcpListener::bind(block.at(18_001)).expect("a fresh address");
    let spec = format!("tcp://{}:18000-18003", block.ip(0));
    let (mut served, _) = Served::start(Ipcow::serve([&spec]).without_retries());
    served.ask(["status"]).expect_code(1);
    drop(taken);
    served.ask(["retry", "state:quarantined"]).expect_code(0);
    served.process.event("recovered");
    served.ask(["status"]).expect_code(0);
    // Nothing is left that the selector names.
    served.ask(["retry", "state:quarantined"]).expect_refusal(1, &["state:quarantined"]);
}

#[test]
fn a_shutdown_drains_and_the_service_ends_with_0() {
    let block = Block::new();
    let (served, _) = four(block);
    let mut client = connect(block.at(18_000));
    echo_tcp(&mut client, b"served to the end");
    let done = served.ask(["shutdown"]).expect_code(0);
    assert!(done.stdout.starts_with("draining"), "{done:#?}");
    assert_eq!(read_to_fin(&mut client), b"");
    let summary = served.process.finish().expect_code(0).summary();
    assert_eq!(counts(&summary, "sessions", ["accepted", "closed", "forced"]), [1, 1, 0]);
}

#[test]
fn a_session_that_a_shutdown_cuts_off_makes_the_service_end_with_5() {
    let spec = "tcp://127.0.0.1:0";
    let command =
        Ipcow::serve([spec]).set("shutdown.drain_timeout_secs=1").set("shutdown.quiet_ms=0");
    let (served, ready) = Served::start(command);
    let mut client = connect(ready.tcp());
    echo_tcp(&mut client, b"never quiet");
    served.ask(["shutdown"]).expect_code(0);
    // While it drains it says so, and changes nothing any more.
    let done = served.ask(["status"]);
    if done.code != Some(3) {
        let done = done.expect_code(1);
        assert!(done.stdout.starts_with("DRAINING"), "{done:#?}");
    }
    served.process.finish_within(Duration::from_secs(30)).expect_code(5);
}
