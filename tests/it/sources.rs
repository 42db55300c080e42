//! Whom the endpoints serve: `allow_from` and `deny_from`, TCP and UDP.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use crate::common::{
    Block, DEADLINE, Ipcow, Need, Running, connect_from, counts, echo_tcp, echo_udp, needs,
    read_to_fin,
};

/// A UDP socket of that address and port that hears only `to`.
fn udp_from(from: (Ipv4Addr, u16), to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(from).expect("a loopback address");
    socket.set_read_timeout(Some(DEADLINE)).expect("legal");
    socket.connect(to).expect("a route to loopback");
    socket
}

/// A server on the first address of the block, TCP and UDP port 18000, with these lists.
fn serving(block: &Block, allow: &[String], deny: &[String]) -> (Running, SocketAddr) {
    let at = block.at(18_000);
    let mut server = Ipcow::serve([format!("both://{at}")])
        .set(&format!("listen_defaults.allow_from={allow:?}"))
        .set(&format!("listen_defaults.deny_from={deny:?}"))
        .start();
    assert_eq!(server.ready().endpoints("listening"), 2);
    (server, at)
}

#[test]
fn a_denied_client_is_accepted_and_gets_fin_even_when_it_has_spoken() {
    let block = Block::new();
    let (server, at) = serving(&block, &[format!("{}", block.ip(1))], &[]);
    echo_tcp(&mut connect_from(block.ip(1), at), b"let in");
    for speaks in [false, true] {
        let mut denied = connect_from(block.ip(2), at);
        if speaks {
            // It may be closed already: what counts is how the reader sees it end.
            let _ = denied.write_all(b"let me in");
        }
        assert_eq!(read_to_fin(&mut denied), b"");
    }
    let summary = server.terminate().expect_code(0).summary();
    let counted = counts(&summary, "sessions", ["accepted", "closed", "failed", "refused"]);
    assert_eq!(counted, [1, 1, 0, 2], "{summary}");
    let by_reason = serde_json::json!({"source": 2});
    assert_eq!(summary["sessions"]["refused_by_reason"], by_reason, "{summary}");
}

#[test]
fn the_longest_block_decides_and_of_two_equal_ones_the_denial() {
    let block = Block::new();
    let allow = [block.cidr(), format!("{}/32", block.ip(5)), format!("{}/32", block.ip(6))];
    let deny = [format!("{}/30", block.ip(4)), format!("{}", block.ip(6))];
    let (_server, at) = serving(&block, &allow, &deny);
    for (from, served) in [(1, true), (3, true), (4, false), (5, true), (6, false), (7, false)] {
        let mut client = connect_from(block.ip(from), at);
        if served {
            echo_tcp(&mut client, b"let in");
        } else {
            assert_eq!(read_to_fin(&mut client), b"", "from address {from}");
        }
    }
}

#[test]
fn a_denied_datagram_gets_no_answer_and_is_counted_by_its_reason() {
    let block = Block::new();
    let (server, at) = serving(&block, &[], &[format!("{}", block.ip(2))]);
    let denied = udp_from((block.ip(2), 0), at);
    let admitted = udp_from((block.ip(1), 0), at);
    for _ in 0..3 {
        denied.send(b"let me in").expect("a datagram leaves");
        // The same listener answers in order: once this came back, no reply follows.
        echo_udp(&admitted, b"barrier");
    }
    denied.set_nonblocking(true).expect("legal");
    assert!(denied.recv(&mut [0; 16]).is_err(), "a denied source was answered");
    let summary = server.terminate().expect_code(0).summary();
    assert_eq!(counts(&summary, "datagrams", ["received", "replied"]), [6, 3], "{summary}");
    assert_eq!(summary["datagrams"]["dropped"], serde_json::json!({"source": 3}), "{summary}");
}

#[test]
fn a_discarding_endpoint_counts_denied_datagrams_too() {
    let block = Block::new();
    let at = block.at(18_000);
    let mut server = Ipcow::serve([format!("udp://{at}")])
        .set("listen_defaults.mode=discard")
        .set(&format!("listen_defaults.deny_from={}", block.ip(2)))
        .start();
    server.ready();
    for (from, times) in [(1, 2), (2, 3)] {
        let client = udp_from((block.ip(from), 0), at);
        (0..times).for_each(|_| assert_eq!(client.send(b"sink").expect("it leaves"), 4));
    }
    // A drain takes what the queue holds.
    let summary = server.terminate().expect_code(0).summary();
    assert_eq!(counts(&summary, "datagrams", ["received", "replied"]), [5, 0], "{summary}");
    assert_eq!(summary["datagrams"]["dropped"], serde_json::json!({"source": 3}), "{summary}");
}

#[test]
fn a_named_source_may_send_from_a_refused_port_and_an_unnamed_one_may_not() {
    if !needs(&[Need::Root]) {
        return;
    }
    let block = Block::new();
    let (server, at) = serving(&block, &[format!("{}", block.ip(1))], &[]);
    echo_udp(&udp_from((block.ip(1), 53), at), b"named");
    drop(server);
    // Without a list nobody is named, and the port decides.
    let block = Block::new();
    let (server, at) = serving(&block, &[], &[]);
    udp_from((block.ip(1), 53), at).send(b"loop?").expect("a datagram leaves");
    echo_udp(&udp_from((block.ip(1), 1_024), at), b"barrier");
    let summary = server.terminate().expect_code(0).summary();
    assert_eq!(summary["datagrams"]["dropped"]["source_port"], 1, "{summary}");
}

#[test]
fn groups_have_lists_of_their_own() {
    let (block, folder) = (Block::new(), tempfile::tempdir().expect("a directory"));
    let file = folder.path().join("groups.toml");
    let (host, client) = (block.ip(0), block.ip(1));
    let text = format!(
        "[listen_defaults]\nallow_from = [\"{client}\"]\n\
         [[listen]]\nname = \"inside\"\nspec = \"tcp://{host}:18000\"\n\
         [[listen]]\nname = \"open\"\nspec = \"tcp://{host}:18001\"\nallow_from = []\n\
         [[listen]]\nname = \"shut\"\nspec = \"tcp://{host}:18002\"\ndeny_from = [\"{client}\"]\n",
    );
    std::fs::write(&file, text).expect("a file");
    let mut server = Ipcow::new(["serve", "--json"]).arg_file(&file).start();
    assert_eq!(server.ready().endpoints("listening"), 3);
    for (port, from, served) in [
        (18_000, 1, true),
        (18_000, 2, false),
        (18_001, 1, true),
        (18_001, 2, true),
        (18_002, 1, false),
    ] {
        let mut client = connect_from(block.ip(from), block.at(port));
        if served {
            echo_tcp(&mut client, b"let in");
        } else {
            assert_eq!(read_to_fin(&mut client), b"", "port {port} from address {from}");
        }
    }
}

#[test]
fn a_flood_of_denied_clients_writes_one_line_and_leaves_nothing_behind() {
    const CLIENTS: u64 = 2_000;
    let block = Block::new();
    let (server, at) = serving(&block, &[], &[format!("{}", block.ip(2))]);
    let mut witness = connect_from(block.ip(1), at);
    echo_tcp(&mut witness, b"before");
    let baseline = server.sockets();
    let datagrams = udp_from((block.ip(2), 0), at);
    for _ in 0..CLIENTS {
        datagrams.send(b"let me in").expect("a datagram leaves");
        assert_eq!(read_to_fin(&mut connect_from(block.ip(2), at)), b"");
    }
    echo_tcp(&mut witness, b"after");
    assert_eq!(server.sockets(), baseline);
    drop(witness);
    let done = server.terminate().expect_code(0);
    let summary = done.summary();
    assert_eq!(counts(&summary, "sessions", ["accepted", "refused"]), [1, CLIENTS], "{summary}");
    // A busy server may let its queue overflow: that is counted too.
    let reasons = summary["datagrams"]["dropped"].as_object().expect("counts by reason");
    let dropped: u64 = reasons.values().filter_map(serde_json::Value::as_u64).sum();
    assert_eq!(dropped, CLIENTS, "{summary}");
    let peer = IpAddr::from(block.ip(2)).to_string();
    let lines = |text: &str| done.stderr.lines().filter(|line| line.contains(text)).count();
    // One for the connections, one for each reason to drop a datagram.
    let expected = (1, 1 + reasons.len());
    assert_eq!((lines(&peer), lines("only counted")), expected, "{}", done.stderr);
}
