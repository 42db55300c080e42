//! `ipcow events` against a running service: what it remembers, what it tells as it happens, and
//! how the command ends with it (interface §4).

use nix::sys::signal::Signal;

use crate::common::{Block, DEADLINE, Ipcow, Running, Served, connect, echo_tcp, eventually};

#[test]
fn a_suspension_for_a_time_ends_by_itself_though_the_command_is_long_gone() {
    let block = Block::new();
    let spec = format!("tcp://{}:18000-18003", block.ip(0));
    let (served, _) = Served::start(Ipcow::serve([&spec]));
    let one = format!("{}:18001", block.ip(0));
    let mut events = served.events();
    served.ask(["suspend", &one, "--for", "700ms"]).expect_code(0);
    let changed = |events: &mut Running, to: &str| loop {
        let event = events.event("endpoints_changed");
        if event["to"] == to && event["endpoints"].as_str().is_some_and(|it| it.contains("18001")) {
            return event;
        }
    };
    changed(&mut events, "suspended");
    // Whoever follows hears of the end: nothing of the operator runs any more.
    let back = changed(&mut events, "listening");
    assert_ne!(back["from"], "listening", "{back}");
    echo_tcp(&mut connect(block.at(18_001)), b"by itself");
}

#[test]
fn events_are_remembered_and_followed_until_the_service_ends() {
    let (served, _) = Served::start(Ipcow::serve(["127.0.0.1:0"]));
    let mut follower = served.events();
    served.ask(["suspend", "*"]).expect_code(0);
    assert_eq!(follower.event("order_done")["order"], "suspend");
    let past = served.ask(["events"]).expect_code(0);
    assert!(past.stdout.contains("listening → suspended"), "{past:#?}");
    let past = served.ask(["events", "--json"]).expect_code(0);
    assert!(!past.events("order_done").is_empty(), "{past:#?}");
    served.ask(["shutdown"]).expect_code(0);
    assert_eq!(follower.event("draining")["event"], "draining");
    served.process.finish().expect_code(0);
    follower.finish().expect_code(0);
}

#[test]
fn a_service_that_is_killed_ends_its_followers_with_a_reason() {
    let (served, _) = Served::start(Ipcow::serve(["127.0.0.1:0"]));
    let mut follower = served.events();
    follower.event("ready");
    served.process.signal(Signal::SIGKILL);
    let done = follower.finish().expect_code(1);
    assert!(done.stderr.contains("the connection ended"), "{done:#?}");
    assert!(eventually(DEADLINE, || served.ask(["status"]).code == Some(3)));
    served.ask(["list"]).expect_refusal(1, &["refused"]);
}
