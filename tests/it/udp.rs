//! What a UDP endpoint does with datagrams (interface §7; faults 33, 35, 39 and 40).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use nix::errno::Errno;

use crate::common::{
    Block, Ipcow, Namespace, Need, Running, Spoofer, counts, echo_udp, needs, random_bytes,
    udp_client,
};

fn serving(spec: &str) -> (Running, SocketAddr) {
    let mut server = Ipcow::serve([spec]).start();
    let at = server.ready().udp();
    (server, at)
}

#[test]
fn a_datagram_of_any_length_comes_back_once_and_identical() {
    let (server, at) = serving("udp://127.0.0.1:0");
    let client = udp_client(at);
    let lengths = [0, 1, 1_472, 1_473, 8_000, 65_507];
    for length in lengths {
        echo_udp(&client, &random_bytes(length, 33));
    }
    let too_long = client.send(&vec![0; 65_508]).expect_err("UDP over IPv4 ends at 65,507");
    assert_eq!(too_long.raw_os_error(), Some(Errno::EMSGSIZE as i32));
    let summary = server.terminate().expect_code(0).summary();
    let total = lengths.iter().sum::<usize>() as u64;
    assert_eq!(counts(&summary, "datagrams", ["received", "replied"]), [6, 6], "{summary}");
    assert_eq!(counts(&summary, "bytes", ["udp_in", "udp_out"]), [total, total], "{summary}");
}

#[test]
fn a_terminator_means_nothing_in_a_datagram() {
    let (_server, at) = serving("udp://127.0.0.1:0");
    echo_udp(&udp_client(at), b"abc!!quit!!def");
}

#[test]
fn a_wildcard_endpoint_answers_from_the_address_that_was_dialled() {
    let (_server, at) = serving("udp://0.0.0.0:0");
    // A connected client hears only the address that it spoke to.
    for last in [1, 2, 77] {
        let dialled = (Ipv4Addr::new(127, 0, 0, last), at.port()).into();
        echo_udp(&udp_client(dialled), b"from which address?");
    }
}

#[test]
fn an_ipv6_wildcard_endpoint_answers_from_the_address_that_was_dialled() {
    if !needs(&[Need::Root, Need::Tool("ip")]) {
        return;
    }
    let namespace = Namespace::new();
    let addresses = ["fd00:1c0::1", "fd00:1c0::2", "::1"];
    for address in &addresses[..2] {
        namespace.ip(&format!("addr add {address}/128 dev lo nodad"));
    }
    namespace.enter(|| {
        let mut server = Ipcow::serve(["udp://[::]:8000"]).start();
        assert_eq!(server.ready().endpoints("listening"), 1);
        for address in addresses {
            let ip: Ipv6Addr = address.parse().expect("an address");
            echo_udp(&udp_client((ip, 8_000).into()), b"from which address?");
        }
    });
}

#[test]
fn a_client_that_closes_before_the_reply_harms_nobody() {
    let (server, at) = serving("udp://127.0.0.1:0");
    for _ in 0..200 {
        // Dropped at once: the reply meets a closed port, and ICMP comes back.
        udp_client(at).send(b"gone").expect("a datagram leaves");
    }
    let patient = udp_client(at);
    for _ in 0..20 {
        echo_udp(&patient, b"still here");
    }
    server.terminate().expect_code(0);
}

#[test]
fn a_refused_source_port_gets_no_reply_and_is_counted() {
    if !needs(&[Need::Root]) {
        return;
    }
    let block = Block::new();
    let (server, at) = serving("udp://127.0.0.1:0");
    for port in [7, 19, 53, 123, 1_023, 2_049] {
        let refused = UdpSocket::bind((block.ip(0), port)).expect("root may bind low ports");
        refused.connect(at).expect("a route");
        refused.send(b"loop?").expect("a datagram leaves");
        // The same listener answers in order: once this came back, no reply follows.
        echo_udp(&udp_client(at), b"barrier");
        refused.set_nonblocking(true).expect("legal");
        assert!(refused.recv(&mut [0; 16]).is_err(), "port {port} was answered");
    }
    let allowed = UdpSocket::bind((block.ip(0), 1_024)).expect("a fresh address");
    allowed.connect(at).expect("a route");
    allowed.set_read_timeout(Some(Duration::from_secs(30))).expect("legal");
    echo_udp(&allowed, b"1024 is fine");
    let summary = server.terminate().expect_code(0).summary();
    assert_eq!(summary["datagrams"]["dropped"]["source_port"], 6, "{summary}");
    assert_eq!(counts(&summary, "datagrams", ["received", "replied"]), [13, 7], "{summary}");
}

#[test]
fn two_endpoints_of_one_plan_never_answer_each_other() {
    if !needs(&[Need::Root]) {
        return;
    }
    let block = Block::new();
    let (one, two) = (block.ip(0), block.ip(1));
    let mut server = Ipcow::serve([format!("udp://{one},{two}:18000")]).start();
    assert_eq!(server.ready().endpoints("listening"), 2);
    Spoofer::new().send((two, 18_000), (one, 18_000), b"ping");
    // Sent after the spoofed one, answered after it was judged.
    echo_udp(&udp_client((one, 18_000).into()), b"barrier");
    echo_udp(&udp_client((two, 18_000).into()), b"barrier");
    let summary = server.terminate().expect_code(0).summary();
    assert_eq!(counts(&summary, "datagrams", ["received", "replied"]), [3, 2], "{summary}");
}
