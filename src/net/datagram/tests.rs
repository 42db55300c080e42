//! UDP echo on loopback, with plain sockets of the standard library as clients.

mod netns;

use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use super::*;
use crate::config;
use crate::net::bind::{self, BindOptions};
use crate::spec::{Address, Endpoint, Port, Protocol};

const OPTIONS: BindOptions = BindOptions { freebind: false, backlog: 1, receive_buffer: None };

fn bound_on(ip: IpAddr, options: &BindOptions) -> Bound {
    let (protocol, address) = (Protocol::Udp, Address::new(ip));
    let endpoint = Endpoint { protocol, address, port: Port::Ephemeral(0) };
    bind::bind(&endpoint, options).expect("a free port")
}

fn rules(refused: &[(u16, u16)]) -> DatagramRules {
    let refuse_source_ports = refused.to_vec();
    let limits = limits(&config::Udp { refuse_source_ports, ..config::Udp::default() });
    let guard = SourceGuard::new(Arc::clone(&limits.refused), Box::new(|_| false));
    let sources = SourceRules::new(&[], &[]);
    DatagramRules { mode: Mode::Echo, own: None, sources, guard, limits }
}

fn limits(udp: &config::Udp) -> Arc<DatagramLimits> {
    Arc::new(DatagramLimits::new(udp, Instant::now()))
}

/// A client that waits no longer than two seconds for an answer.
fn client(ip: IpAddr, server: SocketAddr) -> UdpSocket {
    let client = UdpSocket::bind((ip, 0)).expect("a socket");
    client.connect(server).expect("a peer");
    client.set_read_timeout(Some(Duration::from_secs(2))).expect("an option");
    client
}

/// A server that is driven by hand: loopback delivers before send(2) returns.
struct Server {
    socket: DatagramSocket,
    rules: DatagramRules,
    tally: UdpTally,
    pool: DatagramPool,
}

impl Server {
    fn new(bound: Bound, rules: DatagramRules) -> Self {
        let socket = DatagramSocket::new(bound).expect("a registration");
        Self { socket, rules, tally: UdpTally::default(), pool: DatagramPool::default() }
    }

    fn on(ip: impl Into<IpAddr>) -> Self {
        Self::new(bound_on(ip.into(), &OPTIONS), rules(&[]))
    }

    fn address(&self) -> SocketAddr {
        self.socket.bound().local_addr()
    }

    fn serve(&mut self) -> usize {
        let (pool, tally) = (&mut self.pool, &mut self.tally);
        self.socket.try_drain(pool, &self.rules, tally, 100_000).expect("no failure")
    }

    /// Serves one datagram of this client, and expects this reason against it.
    fn expect_dropped(&mut self, client: &UdpSocket, payload: &[u8], reason: DropReason) {
        client.send(payload).expect("a datagram");
        assert_eq!(self.serve(), 1, "{reason}");
        assert_eq!((self.tally.dropped(reason), self.tally.replied), (1, 0), "{:?}", self.tally);
        client.set_nonblocking(true).expect("an option");
        assert!(client.recv(&mut [0; 10]).is_err(), "{reason}: nothing came back");
    }
}

#[tokio::test]
async fn every_length_comes_back_unchanged_and_the_empty_one_too() {
    let ips = [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()];
    for ip in ips.into_iter().chain([Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]) {
        let mut server = Server::on(ip);
        let loopback = if ip.is_ipv4() { ips[0] } else { ips[1] };
        let client = client(loopback, SocketAddr::new(loopback, server.address().port()));
        for length in [0, 1, 1472, 65_507] {
            let payload: Vec<u8> = (0..length).map(|number| (number % 251) as u8).collect();
            client.send(&payload).expect("a datagram");
            assert_eq!(server.serve(), 1);
            let mut answer = vec![0xff; 65_536];
            let answered = client.recv(&mut answer).expect("an answer");
            assert!(answer[..answered] == payload[..], "{length} bytes on {ip}");
        }
        let bytes = 1 + 1472 + 65_507;
        let expected = UdpTally {
            received: 4,
            replied: 4,
            bytes_in: bytes,
            bytes_out: bytes,
            last_source: Some(client.local_addr().expect("it is bound")),
            ..UdpTally::default()
        };
        assert_eq!(server.tally, expected);
    }
}

/// Sends datagrams of these lengths, each from the client with that number, and
/// expects each client's own ones back, in their order and unchanged.
fn expect_echoes(server: &mut Server, clients: &[UdpSocket], sent: &[(usize, usize)]) {
    let payload = |number: usize, length| vec![number as u8; length];
    let before = server.tally;
    for (number, (client, length)) in sent.iter().enumerate() {
        clients[*client].send(&payload(number, *length)).expect("a datagram");
    }
    assert_eq!(server.serve(), sent.len());
    for (number, (client, length)) in sent.iter().enumerate() {
        let mut answer = vec![0xff; 2048];
        let answered = clients[*client].recv(&mut answer).expect("an answer");
        assert_eq!(answer[..answered], payload(number, *length), "{number} of {sent:?}");
    }
    let bytes = sent.iter().map(|(_, length)| *length as u64).sum::<u64>();
    let expected = (before.replied + sent.len() as u64, before.bytes_out + bytes);
    assert_eq!((server.tally.replied, server.tally.bytes_out), expected);
}

#[tokio::test]
async fn a_batch_of_any_lengths_and_clients_comes_back_datagram_for_datagram() {
    use proptest::strategy::{Strategy, ValueTree};
    use proptest::test_runner::TestRunner;

    let lengths = proptest::sample::select(&[0_usize, 1, 5, 5, 5, 9, 1471, 1472, 1473][..]);
    let sent = proptest::collection::vec((0_usize..2, lengths), 1..70);
    let mut runner = TestRunner::default();
    for ip in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
        let unspecified: IpAddr =
            if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        for bound_to in [ip, unspecified] {
            let mut server = Server::on(bound_to);
            let to = SocketAddr::new(ip, server.address().port());
            let clients = [client(ip, to), client(ip, to)];
            // A run of one source, which leaves in one piece.
            let run: Vec<_> = (0..70).map(|number| (0, if number == 63 { 3 } else { 7 })).collect();
            expect_echoes(&mut server, &clients, &run);
            for _ in 0..25 {
                let tree = sent.new_tree(&mut runner).expect("a list");
                expect_echoes(&mut server, &clients, &tree.current());
            }
        }
    }
}

#[tokio::test]
async fn a_wildcard_answers_from_the_address_that_was_dialled() {
    let mut server = Server::on(Ipv4Addr::UNSPECIFIED);
    for dialled in [[127, 0, 0, 2], [127, 7, 7, 7], [127, 0, 0, 1]] {
        let dialled = SocketAddr::from((dialled, server.address().port()));
        let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        client.set_read_timeout(Some(Duration::from_secs(2))).expect("an option");
        client.send_to(b"hello", dialled).expect("a datagram");
        server.serve();
        let (_, source) = client.recv_from(&mut [0; 10]).expect("an answer");
        assert_eq!(source, dialled);
    }
}

#[tokio::test]
async fn a_datagram_to_a_broadcast_address_is_not_answered() {
    let mut server = Server::on(Ipv4Addr::UNSPECIFIED);
    let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    client.set_broadcast(true).expect("an option");
    client.connect(("127.255.255.255", server.address().port())).expect("a peer");
    server.expect_dropped(&client, b"hello", DropReason::Broadcast);
}

#[tokio::test]
async fn a_refused_source_port_gets_no_answer_and_is_counted() {
    let local = IpAddr::from(Ipv4Addr::LOCALHOST);
    let bound = bound_on(local, &OPTIONS);
    let client = client(local, bound.local_addr());
    let port = client.local_addr().expect("its address").port();
    let mut server = Server::new(bound, rules(&[(port, port)]));
    server.expect_dropped(&client, b"hello", DropReason::SourcePort);
    assert_eq!((server.tally.received, server.tally.bytes_in, server.tally.bytes_out), (1, 5, 0));
}

#[tokio::test]
async fn two_listeners_never_answer_each_other() {
    let (first, mut second) = (Server::on(Ipv4Addr::LOCALHOST), Server::on(Ipv4Addr::LOCALHOST));
    let own = first.address();
    let refused = Arc::clone(&second.rules.limits.refused);
    second.rules.guard = SourceGuard::new(refused, Box::new(move |source| source == own));
    let forged = first.socket.bound().socket();
    forged.send_to(b"ping", &second.address().into()).expect("a datagram");
    forged.send_to(b"self", &first.address().into()).expect("a datagram");
    let mut servers = [first, second];
    for _ in 0..10 {
        for server in &mut servers {
            server.serve();
        }
    }
    for server in servers {
        let tally = server.tally;
        assert_eq!((tally.received, tally.replied), (1, 0), "{tally:?}");
        assert_eq!(tally.dropped(DropReason::OwnEndpoint), 1);
    }
}

#[tokio::test]
async fn a_datagram_over_the_limit_is_dropped_whole() {
    let local = IpAddr::from(Ipv4Addr::LOCALHOST);
    let mut server = Server::on(local);
    // Also where the limit comes while the socket serves.
    server.rules.limits.follow(&config::Udp { max_datagram_bytes: 100, ..config::Udp::default() });
    let sender = client(local, server.address());
    sender.send(&[7; 100]).expect("a datagram");
    server.serve();
    assert_eq!(sender.recv(&mut [0; 200]).expect("an answer"), 100);
    server.tally = UdpTally::default();
    server.expect_dropped(&sender, &[7; 101], DropReason::Oversize);
    assert_eq!(server.tally.bytes_in, 101);
}

#[tokio::test]
async fn a_datagram_longer_than_the_buffer_is_not_answered_in_part() {
    let local = IpAddr::from(Ipv4Addr::LOCALHOST);
    let mut server = Server::on(local);
    server.pool.batch = Batch::new(50);
    let client = client(local, server.address());
    server.expect_dropped(&client, &[7; 60], DropReason::Oversize);
    assert_eq!(server.tally.bytes_in, 60, "its true length counts");
}

#[tokio::test]
async fn discard_counts_and_answers_nothing() {
    let local = IpAddr::from(Ipv4Addr::LOCALHOST);
    let mut server = Server::on(local);
    server.rules.mode = Mode::Discard;
    let client = client(local, server.address());
    client.send(b"hello").expect("a datagram");
    assert_eq!(server.serve(), 1);
    let last_source = Some(client.local_addr().expect("it is bound"));
    let expected = UdpTally { received: 1, bytes_in: 5, last_source, ..UdpTally::default() };
    assert_eq!(server.tally, expected);
}

#[tokio::test]
async fn a_client_that_is_gone_before_its_answer_costs_nobody_else_theirs() {
    let local = IpAddr::from(Ipv4Addr::LOCALHOST);
    let mut server = Server::on(local);
    for _ in 0..50 {
        let gone = client(local, server.address());
        // Before the other goes: its port might be given to this one.
        let stays = client(local, server.address());
        gone.send(b"bye").expect("a datagram");
        drop(gone);
        stays.send(b"hello").expect("a datagram");
        assert_eq!(server.serve(), 2);
        assert_eq!(stays.recv(&mut [0; 10]).expect("an answer"), 5);
    }
    assert_eq!(server.tally.received, 100);
}

#[tokio::test]
async fn what_the_kernel_drops_is_counted_once_also_by_a_listener_that_takes_over() {
    let local = IpAddr::from(Ipv4Addr::LOCALHOST);
    let bound = bound_on(local, &BindOptions { receive_buffer: Some(8192), ..OPTIONS });
    let client = client(local, bound.local_addr());
    let mut total = UdpTally::default();
    for _ in 0..3 {
        let sent = (0..500).filter(|_| client.send(&[1; 200]).is_ok()).count() as u64;
        let mut server = Server::new(bound.clone(), rules(&[]));
        server.serve();
        let lost = server.tally.dropped(DropReason::ReceiveBuffer);
        assert!(lost > 0, "{:?}", server.tally);
        assert_eq!(server.tally.received + lost, sent);
        total += server.tally;
    }
    assert_eq!(total.received + total.dropped(DropReason::ReceiveBuffer), 1500);
}

#[tokio::test]
async fn a_socket_yields_after_sixty_four_datagrams_and_is_woken_for_the_rest() {
    let local = IpAddr::from(Ipv4Addr::LOCALHOST);
    let mut server = Server::on(local);
    let client = client(local, server.address());
    for _ in 0..100 {
        client.send(b"x").expect("a datagram");
    }
    let Server { socket, rules, tally, pool } = &mut server;
    let mut counts = Vec::new();
    let all = poll_fn(|cx| {
        assert!(socket.poll_serve(cx, pool, rules, tally).is_pending());
        if tally.received > 0 {
            counts.push(tally.received);
        }
        if tally.received == 100 { Poll::Ready(()) } else { Poll::Pending }
    });
    tokio::time::timeout(Duration::from_secs(5), all).await.expect("it is woken");
    assert_eq!(counts, [64, 100]);
    for _ in 0..100 {
        client.recv(&mut [0; 2]).expect("an answer");
    }
}

#[test]
fn what_an_earlier_peer_answered_never_ends_a_socket() {
    let says = |errno: Errno| is_about_a_peer(&errno.into());
    assert!(says(Errno::ECONNREFUSED) && says(Errno::EHOSTUNREACH) && says(Errno::EPROTO));
    assert!(!says(Errno::EBADF) && !says(Errno::ENOMEM) && !says(Errno::EAGAIN));
}
