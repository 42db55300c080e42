//! Proof with any client: `ipcow mark`, `list --untouched` and `--touched-by` tell what
//! arrived here and what never did (interface §4).

use crate::common::{Block, Ipcow, Served, connect, connect_from, echo_tcp, echo_udp, udp_client};

#[test]
fn what_nobody_came_to_is_listed_with_how_many_there_are() {
    let block = Block::new();
    let spec = format!("both://{}:18000-18004", block.ip(0));
    let (served, _) = Served::start(Ipcow::serve([&spec]));
    echo_tcp(&mut connect(block.at(18_001)), b"one");
    echo_udp(&udp_client(block.at(18_002)), b"two");
    let done = served.ask(["list", "--untouched"]).expect_code(0);
    assert!(done.stderr.contains("nobody came to 8 of 10 endpoints"), "{done:#?}");
    let untouched = served.endpoints(["--untouched"]);
    assert!(!untouched.contains(&format!("tcp://{}", block.at(18_001))), "{untouched:?}");
    assert!(untouched.contains(&format!("udp://{}", block.at(18_001))), "{untouched:?}");
    let done = served.ask(["list", "tcp://*:*", "--untouched", "-o", "csv"]).expect_code(0);
    assert!(done.stderr.contains("4 of 5 endpoints"), "{done:#?}");
}

#[test]
fn a_mark_begins_a_new_run() {
    let block = Block::new();
    let spec = format!("tcp://{}:18000-18004", block.ip(0));
    let (served, _) = Served::start(Ipcow::serve([&spec]));
    for port in 18_000..18_005 {
        echo_tcp(&mut connect(block.at(port)), b"first run");
    }
    let done = served.ask(["list", "--untouched"]).expect_code(0);
    assert!(done.stderr.contains("nobody came to 0 of 5 endpoints"), "{done:#?}");
    let done = served.ask(["mark"]).expect_code(0);
    assert!(done.stdout.starts_with("run "), "{done:#?}");
    assert_eq!(served.endpoints(["--untouched"]).len(), 5);
    echo_tcp(&mut connect(block.at(18_003)), b"second run");
    let untouched = served.endpoints(["--untouched"]);
    assert_eq!(untouched.len(), 4);
    assert!(!untouched.contains(&format!("tcp://{}", block.at(18_003))), "{untouched:?}");
    let marked = served.json(["mark"]);
    assert!(marked["run"].is_u64() && marked["ts"].is_string(), "{marked}");
}

#[test]
fn who_came_from_a_network_is_found() {
    let block = Block::new();
    let spec = format!("tcp://{}:18000-18004", block.ip(0));
    let (served, _) = Served::start(Ipcow::serve([&spec]));
    echo_tcp(&mut connect_from(block.ip(1), block.at(18_001)), b"one");
    echo_tcp(&mut connect_from(block.ip(6), block.at(18_002)), b"six");
    let by = |network: String| served.endpoints(["--touched-by", &network]);
    assert_eq!(by(format!("{}/32", block.ip(1))), [format!("tcp://{}", block.at(18_001))]);
    assert_eq!(by(format!("{}/30", block.ip(4))), [format!("tcp://{}", block.at(18_002))]);
    assert_eq!(by(block.cidr()).len(), 2);
    let none = served.ask(["list", "--touched-by", "192.0.2.0/24"]).expect_code(0);
    assert!(none.stderr.contains("192.0.2.0/24 was the last to come to 0 of 5"), "{none:#?}");
}
