//! Binding on loopback, with the kernel as the judge.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, TcpStream, UdpSocket};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use socket2::SockRef;

use super::*;

const OPTIONS: BindOptions = BindOptions { freebind: false, backlog: 8, receive_buffer: None };

fn endpoint(protocol: Protocol, ip: impl Into<IpAddr>, number: u16) -> Endpoint {
    let port = if number == 0 { Port::Ephemeral(0) } else { Port::Number(number) };
    Endpoint { protocol, address: Address::new(ip.into()), port }
}

fn ephemeral(protocol: Protocol) -> Bound {
    ephemeral_on([127, 0, 0, 1], protocol)
}

/// On an address of the test's own, where no other test takes a port it gave up.
fn ephemeral_on(ip: [u8; 4], protocol: Protocol) -> Bound {
    bind(&endpoint(protocol, ip, 0), &OPTIONS).expect("a free port")
}

fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

#[test]
fn a_bound_stream_refuses_clients_until_it_listens() {
    let bound = ephemeral_on([127, 8, 0, 1], Protocol::Tcp);
    assert!(TcpStream::connect(bound.local_addr()).is_err());
    listen(&bound, OPTIONS.backlog).expect("to listen");
    TcpStream::connect(bound.local_addr()).expect("a connection");
}

#[test]
fn of_urgent_data_that_came_before_the_accept_no_byte_is_lost() {
    let bound = ephemeral_on([127, 8, 0, 33], Protocol::Tcp);
    listen(&bound, OPTIONS.backlog).expect("to listen");
    let client = TcpStream::connect(bound.local_addr()).expect("a connection");
    for urgent in [b"a", b"b"] {
        assert_eq!(SockRef::from(&client).send_out_of_band(urgent).expect("a write"), 1);
    }
    (&client).write_all(b"cd").expect("a write");
    // So that a byte too few is an end, and nobody waits for it.
    client.shutdown(Shutdown::Write).expect("its end");
    let (mut accepted, _) = bound.socket().accept().expect("it waits");
    let mut read = Vec::new();
    accepted.read_to_end(&mut read).expect("all of it");
    assert_eq!(read, b"abcd");
}

#[test]
fn a_socket_lives_as_long_as_one_of_its_clones() {
    let bound = ephemeral_on([127, 8, 0, 2], Protocol::Tcp);
    listen(&bound, 8).expect("to listen");
    let (clone, address) = (bound.clone(), bound.local_addr());
    drop(bound);
    TcpStream::connect(address).expect("the clone listens on");
    drop(clone);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn an_occupied_port_is_said_with_its_errno() {
    for protocol in Protocol::ALL {
        let first = ephemeral(protocol);
        listen(&first, 8).expect("to listen");
        let again = endpoint(protocol, Ipv4Addr::LOCALHOST, first.local_addr().port());
        assert_eq!(errno(bind(&again, &OPTIONS)), Some(libc::EADDRINUSE), "{protocol}");
    }
}

#[test]
fn a_second_udp_socket_cannot_steal_traffic_even_if_it_asks_for_reuse() {
    let first = ephemeral(Protocol::Udp);
    let thief = Socket::new(Domain::IPV4, Type::DGRAM, None).expect("a socket");
    thief.set_reuse_address(true).expect("an option");
    assert_eq!(errno(thief.bind(&first.local_addr().into())), Some(libc::EADDRINUSE));
}

#[test]
fn an_address_of_no_interface_needs_freebind() {
    for (protocol, ip) in [
        (Protocol::Tcp, IpAddr::from([192, 0, 2, 1])),
        (Protocol::Udp, "2001:db8::1".parse().expect("an address")),
    ] {
        let absent = endpoint(protocol, ip, 0);
        assert_eq!(errno(bind(&absent, &OPTIONS)), Some(libc::EADDRNOTAVAIL), "{absent}");
        bind(&absent, &BindOptions { freebind: true, ..OPTIONS }).expect("freebind");
    }
}

#[test]
fn both_wildcards_go_side_by_side() {
    // A number that is free for v6 may be taken for v4 by somebody else: try several.
    for protocol in Protocol::ALL {
        let beside = |_| {
            let six = bind(&endpoint(protocol, Ipv6Addr::UNSPECIFIED, 0), &OPTIONS).expect("v6");
            let four = endpoint(protocol, Ipv4Addr::UNSPECIFIED, six.local_addr().port());
            bind(&four, &OPTIONS).is_ok()
        };
        assert!((0..20).any(beside), "v6-only leaves room for v4");
    }
}

#[test]
fn a_port_is_bound_again_through_time_wait() {
    let first = ephemeral_on([127, 8, 0, 3], Protocol::Tcp);
    listen(&first, 8).expect("to listen");
    let address = first.local_addr();
    let mut client = TcpStream::connect(address).expect("a connection");
    client.write_all(b"x").expect("a write");
    let (session, _) = first.socket().accept().expect("a session");
    // The side that closes first keeps the port in TIME_WAIT.
    session.shutdown(std::net::Shutdown::Write).expect("a FIN");
    drop((client, session, first));
    let again = bind(&endpoint(Protocol::Tcp, address.ip(), address.port()), &OPTIONS);
    listen(&again.expect("to bind"), 8).expect("to listen");
}

#[test]
fn ephemeral_ports_that_do_not_listen_yet_are_all_different() {
    let bound: Vec<_> = (0..600).map(|_| ephemeral_on([127, 8, 0, 4], Protocol::Tcp)).collect();
    let numbers: HashSet<_> = bound.iter().map(|bound| bound.local_addr().port()).collect();
    assert_eq!(numbers.len(), bound.len());
    for bound in &bound {
        listen(bound, 1).expect("to listen");
    }
}

#[test]
fn one_number_is_reserved_for_both_protocols() {
    let address = Address::new(Ipv4Addr::LOCALHOST.into());
    let (stream, datagram, number) = reserve_pair(address, &OPTIONS).expect("a pair");
    assert_eq!((stream.protocol(), datagram.protocol()), (Protocol::Tcp, Protocol::Udp));
    assert_eq!((stream.local_addr().port(), datagram.local_addr().port()), (number, number));
    assert_ne!(number, 0);
}

#[test]
fn a_pair_on_an_absent_address_fails_at_once_with_its_errno() {
    let address = Address::new(IpAddr::from([192, 0, 2, 1]));
    assert_eq!(errno(reserve_pair(address, &OPTIONS)), Some(libc::EADDRNOTAVAIL));
}

#[test]
fn sockets_never_block_and_are_not_inherited() {
    for protocol in Protocol::ALL {
        let bound = ephemeral(protocol);
        assert!(bound.socket().nonblocking().expect("a flag"));
        let flags = fcntl(&bound, FcntlArg::F_GETFD).expect("the flags");
        assert!(FdFlag::from_bits_truncate(flags).contains(FdFlag::FD_CLOEXEC));
    }
}

#[test]
fn the_receive_buffer_is_as_asked_for() {
    let options = BindOptions { receive_buffer: Some(32_768), ..OPTIONS };
    let bound = bind(&endpoint(Protocol::Udp, Ipv4Addr::LOCALHOST, 0), &options).expect("a socket");
    // The kernel doubles it for its own bookkeeping (socket(7)).
    assert_eq!(bound.socket().recv_buffer_size().expect("an option"), 65_536);
    UdpSocket::bind("127.0.0.1:0")
        .and_then(|client| client.send_to(b"x", bound.local_addr()))
        .expect("a datagram");
}

#[test]
fn an_address_is_claimed_before_others_join_it() {
    for (protocol, last) in [(Protocol::Tcp, 20), (Protocol::Udp, 21)] {
        let bound = ephemeral_on([127, 8, 0, last], protocol);
        listen_together(&bound, &OPTIONS, 3).expect("nobody is there");
        let port = bound.local_addr().port();
        assert_eq!(bound.members().len(), 2);
        assert!(bound.members().iter().all(|member| member.local_addr() == bound.local_addr()));
        let again = endpoint(protocol, [127, 8, 0, last], port);
        assert_eq!(errno(bind(&again, &OPTIONS)), Some(libc::EADDRINUSE), "{protocol}");
        // As after a crash: they stay as they are.
        listen_together(&bound, &OPTIONS, 3).expect("they listen");
        assert_eq!(bound.members().len(), 2);
    }
}

#[test]
fn two_that_claim_a_port_at_the_same_time_do_not_share_it() {
    let first = ephemeral_on([127, 8, 0, 22], Protocol::Tcp);
    let port = first.local_addr().port();
    // Both are bound, which SO_REUSEADDR allows until one of them listens.
    let second = bind(&endpoint(Protocol::Tcp, [127, 8, 0, 22], port), &OPTIONS).expect("bound");
    listen_together(&first, &OPTIONS, 2).expect("the first to listen");
    assert_eq!(errno(listen_together(&second, &OPTIONS, 2)), Some(libc::EADDRINUSE));
}
