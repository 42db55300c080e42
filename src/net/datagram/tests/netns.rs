//! UDP echo in a network namespace of the test's own; needs root and ip(8).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, unshare};

use super::Server;
use crate::plan::reach::{LocalRoutes, Reach};
use crate::spec::Address;
use crate::supervision::DropReason;

/// Runs `test` on a thread with an empty network, or says why it cannot.
fn in_own_network(setup: &'static [&'static str], test: fn()) {
    let thread = std::thread::spawn(move || {
        if let Err(errno) = unshare(CloneFlags::CLONE_NEWNET) {
            eprintln!("skipped: no network namespace ({errno}); run as root");
            return;
        }
        for line in setup {
            match Command::new("ip").args(line.split(' ')).status() {
                Ok(status) if status.success() => {}
                outcome => {
                    eprintln!("skipped: ip {line} failed ({outcome:?})");
                    return;
                }
            }
        }
        wait_for_addresses(setup);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        runtime.expect("a runtime").block_on(async { test() });
    });
    thread.join().expect("the test");
}

/// Waits until each address of `setup` has its route: the kernel makes that of an
/// IPv6 one some time after `ip` has returned, `nodad` or not.
fn wait_for_addresses(setup: &[&str]) {
    let prefixes = setup.iter().filter_map(|line| line.strip_prefix("addr add "));
    for text in prefixes.filter_map(|rest| rest.split('/').next()) {
        let ip: Ipv6Addr = match text.parse() {
            Ok(IpAddr::V6(ip)) if !ip.is_unicast_link_local() => ip,
            _ => continue,
        };
        let end = Instant::now() + Duration::from_secs(20);
        while LocalRoutes::read().expect("a table").classify(&Address::new(ip.into()))
            != Reach::Local
        {
            assert!(Instant::now() < end, "{ip} never came");
            std::thread::yield_now();
        }
    }
}

/// Dials `to` from `from`; where the answer came from.
fn answered_from(server: &mut Server, from: SocketAddr, to: SocketAddr) -> SocketAddr {
    let client = UdpSocket::bind(from).expect("a socket");
    client.set_read_timeout(Some(Duration::from_secs(2))).expect("an option");
    client.send_to(b"hello", to).expect("a datagram");
    assert_eq!(server.serve(), 1);
    let (length, source) = client.recv_from(&mut [0; 10]).expect("an answer");
    assert_eq!(length, 5);
    source
}

#[test]
fn a_wildcard_answers_from_each_address_of_the_machine() {
    let setup = &[
        "link set lo up",
        "link add veth0 type veth peer name veth1",
        "addr add 10.1.1.1/24 dev veth0",
        "addr add 10.1.1.2/24 dev veth0",
        "addr add fd00::1/64 dev veth0 nodad",
        "addr add fd00::2/64 dev veth0 nodad",
        "link set veth0 up",
        "link set veth1 up",
    ];
    in_own_network(setup, || {
        let mut four = Server::on(Ipv4Addr::UNSPECIFIED);
        let mut six = Server::on(Ipv6Addr::UNSPECIFIED);
        // The client dials from one address of the machine to another.
        for (dialled, own) in [
            ("10.1.1.1", "10.1.1.2"),
            ("10.1.1.2", "10.1.1.1"),
            ("127.0.0.9", "127.0.0.1"),
            ("fd00::1", "fd00::2"),
            ("fd00::2", "fd00::1"),
            ("::1", "::1"),
        ] {
            let [dialled, own]: [IpAddr; 2] =
                [dialled, own].map(|ip| ip.parse().expect("an address"));
            let server = if dialled.is_ipv4() { &mut four } else { &mut six };
            let dialled = SocketAddr::new(dialled, server.address().port());
            assert_eq!(answered_from(server, SocketAddr::new(own, 0), dialled), dialled);
        }
    });
}

#[test]
fn a_link_local_client_is_answered_on_its_own_link() {
    let setup = &[
        "link set lo up",
        "link add veth0 type veth peer name veth1",
        "link set veth0 addrgenmode none",
        "link set veth1 addrgenmode none",
        "addr add fe80::1/64 dev veth0 nodad",
        "addr add fe80::2/64 dev veth1 nodad",
        "addr add fd00::1/64 dev veth0 nodad",
        "addr add fd00:1::1/64 dev veth1 nodad",
        "link set veth0 up",
        "link set veth1 up",
    ];
    in_own_network(setup, || {
        let mut server = Server::on(Ipv6Addr::UNSPECIFIED);
        let port = server.address().port();
        for (interface, own, wider) in
            [("veth0", "fe80::1", "fd00::1"), ("veth1", "fe80::2", "fd00:1::1")]
        {
            let index = if_nametoindex(interface).expect("an interface");
            let own: Ipv6Addr = own.parse().expect("an address");
            let at = |port| SocketAddr::V6(SocketAddrV6::new(own, port, 0, index));
            let wider = SocketAddr::new(wider.parse().expect("an address"), 0);
            for client in [at(0), wider] {
                let source = answered_from(&mut server, client, at(port));
                assert_eq!((source.ip(), source.port()), (own.into(), port));
            }
        }
    });
}

#[test]
fn an_answer_that_cannot_be_sent_costs_no_other_of_its_batch() {
    let setup = &["link set lo up", "addr add 10.1.1.1/32 dev lo", "addr add 10.1.1.9/32 dev lo"];
    in_own_network(setup, || {
        let mut server = Server::on(Ipv4Addr::UNSPECIFIED);
        let to = SocketAddr::from(([10, 1, 1, 1], server.address().port()));
        let [stays, gone] = ["10.1.1.1:0", "10.1.1.9:0"].map(|own| {
            let client = UdpSocket::bind(own).expect("a socket");
            client.connect(to).expect("a peer");
            client.set_read_timeout(Some(Duration::from_secs(2))).expect("an option");
            client
        });
        for (number, client) in (0..).zip([&stays, &gone, &stays, &gone, &gone, &stays]) {
            client.send(&[number; 5]).expect("a datagram");
        }
        let status = Command::new("ip").args(["addr", "del", "10.1.1.9/32", "dev", "lo"]).status();
        assert!(status.expect("ip starts").success());
        assert_eq!(server.serve(), 6);
        for number in [0, 2, 5] {
            let mut answer = [0; 10];
            assert_eq!(stays.recv(&mut answer).expect("an answer"), 5);
            assert_eq!(answer[..5], [number; 5], "in the order in which they came");
        }
        let tally = server.tally;
        assert_eq!((tally.received, tally.replied), (6, 3), "{tally:?}");
        assert_eq!((tally.dropped(DropReason::Unreachable), tally.bytes_out), (3, 15), "{tally:?}");
    });
}

#[test]
fn datagrams_that_a_path_has_to_fragment_come_back_whole() {
    in_own_network(&["link set lo mtu 600", "link set lo up"], || {
        let mut server = Server::on(Ipv4Addr::LOCALHOST);
        let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        client.connect(server.address()).expect("a peer");
        client.set_read_timeout(Some(Duration::from_secs(2))).expect("an option");
        for number in 0..10 {
            client.send(&[number; 900]).expect("a datagram");
        }
        assert_eq!(server.serve(), 10);
        for number in 0..10 {
            let mut answer = [0xff; 1000];
            assert_eq!(client.recv(&mut answer).expect("an answer"), 900);
            assert_eq!(answer[..900], [number; 900]);
        }
        assert_eq!((server.tally.replied, server.tally.bytes_out), (10, 9_000));
    });
}

#[test]
fn a_subnet_broadcast_is_not_answered() {
    let setup = &[
        "link set lo up",
        "link add veth0 type veth peer name veth1",
        "addr add 10.1.1.1/24 brd 10.1.1.255 dev veth0",
        "link set veth0 up",
        "link set veth1 up",
    ];
    in_own_network(setup, || {
        let mut server = Server::on(Ipv4Addr::UNSPECIFIED);
        let client = UdpSocket::bind("10.1.1.1:0").expect("a socket");
        client.set_broadcast(true).expect("an option");
        client.connect(("10.1.1.255", server.address().port())).expect("a peer");
        server.expect_dropped(&client, b"hello", DropReason::Broadcast);
    });
}
