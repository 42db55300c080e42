//! The sockets that hold ports on this machine (sock_diag(7), proc(5)).
//!
//! Asks the kernel for listeners only, and for sockets that are merely bound where
//! those matter too, so that a million connections cost nothing. Never says whether a plan minds them.

use std::io;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::libc;
use nix::sys::socket::SockProtocol;

use super::netlink;
use crate::plan::facts::BoundSocket;
use crate::spec::Protocol;

/// `SOCK_DIAG_BY_FAMILY` (sock_diag(7)).
const BY_FAMILY: u16 = 20;
/// Bytes of `struct inet_diag_req_v2` and `struct inet_diag_msg`.
const REQUEST: usize = 56;
const ANSWER: usize = 72;
/// `INET_DIAG_SKV6ONLY`: an attribute of listeners and unconnected sockets.
const V6ONLY: u16 = 11;
/// States of `enum tcp_state`, as they stand in messages and in `/proc/net/tcp`.
const CLOSE: u8 = 7;
const LISTEN: u8 = 10;
/// `TCP_BOUND_INACTIVE`, known since Linux 6.8: asks for sockets that are bound and
/// neither listen nor connect. They are told as CLOSE.
const BOUND_INACTIVE: u8 = 13;
/// A UDP socket holds its port in every state.
const ANY_STATE: u32 = u32::MAX;
/// Most sockets that are kept: as many as there are ports, on 16 addresses.
const MAX_SOCKETS: usize = 1 << 20;

/// The sockets of `protocol` that share their port with nobody, in the calling
/// thread's network namespace: TCP listeners, and any UDP socket.
///
/// # Errors
/// Where neither sock_diag nor `/proc/net` can be read.
pub(crate) fn exclusive(protocol: Protocol) -> io::Result<Vec<BoundSocket>> {
    read(protocol, 1 << LISTEN)
}

/// All sockets of `protocol` that hold a port there, TCP ones also where they do
/// not listen.
///
/// For that the kernel walks every TCP socket that has a port, in TIME_WAIT too:
/// 2 ms a family, and more than 10 ms for each 10,000.
///
/// # Errors
/// As [`exclusive`].
pub(crate) fn bound(protocol: Protocol) -> io::Result<Vec<BoundSocket>> {
    read(protocol, 1 << LISTEN | 1 << BOUND_INACTIVE)
}

/// The sockets in these TCP states, a bit each.
fn read(protocol: Protocol, tcp_states: u32) -> io::Result<Vec<BoundSocket>> {
    let states = match protocol {
        Protocol::Tcp => tcp_states,
        Protocol::Udp => ANY_STATE,
    };
    diagnosed(protocol, states).or_else(|_| listed(protocol, states))
}

/// Asks sock_diag; fails where the kernel lacks the module for it.
fn diagnosed(protocol: Protocol, states: u32) -> io::Result<Vec<BoundSocket>> {
    let number = match protocol {
        Protocol::Tcp => libc::IPPROTO_TCP,
        Protocol::Udp => libc::IPPROTO_UDP,
    };
    let mut sockets = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let mut body = [0_u8; REQUEST];
        body[0] = family as u8;
        body[1] = number as u8;
        body[4..8].copy_from_slice(&states.to_ne_bytes());
        netlink::dump(SockProtocol::NetlinkSockDiag, BY_FAMILY, &body, |kind, message| {
            if kind == BY_FAMILY && sockets.len() < MAX_SOCKETS {
                sockets.extend(parse_answer(protocol, states, message));
            }
        })?;
    }
    Ok(sockets)
}

/// The socket that a `struct inet_diag_msg` describes, if it holds a port.
fn parse_answer(protocol: Protocol, states: u32, message: &[u8]) -> Option<BoundSocket> {
    let (header, attributes) = message.split_first_chunk::<ANSWER>()?;
    let port = u16::from_be_bytes([header[4], header[5]]);
    let source = header.get(8..24)?.first_chunk::<16>()?;
    let ip = match i32::from(header[0]) {
        libc::AF_INET => IpAddr::from(*source.first_chunk::<4>()?),
        libc::AF_INET6 => IpAddr::from(*source),
        _ => return None,
    };
    let inode = u64::from(netlink::read_u32(header, 68)?);
    let v6only = netlink::attributes(attributes)
        .any(|(kind, value)| kind == V6ONLY && value.first().is_some_and(|on| *on != 0));
    holds(states, header[1]).then_some(())?;
    holding(protocol, ip, port, inode, v6only)
}

/// Reads `/proc/net/{tcp,udp}{,6}`, which every kernel has.
fn listed(protocol: Protocol, states: u32) -> io::Result<Vec<BoundSocket>> {
    let mut sockets = Vec::new();
    for (file, v6) in [(protocol.as_str().to_owned(), false), (format!("{protocol}6"), true)] {
        // Not /proc/net: that is the namespace of the first thread.
        let path = format!("/proc/thread-self/net/{file}");
        let lines = match std::fs::File::open(path) {
            Ok(file) => BufReader::new(file).lines(),
            Err(error) if v6 && error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for line in lines.skip(1) {
            if sockets.len() < MAX_SOCKETS {
                sockets.extend(parse_line(protocol, states, &line?));
            }
        }
    }
    guess_v6only(&mut sockets);
    Ok(sockets)
}

/// The socket that a line of `/proc/net` describes, if it holds a port.
///
/// The file does not say whether `[::]` takes IPv4 clients: assumed, the default.
fn parse_line(protocol: Protocol, states: u32, line: &str) -> Option<BoundSocket> {
    let mut fields = line.split_ascii_whitespace();
    let (address, port) = fields.nth(1)?.split_once(':')?;
    let state = u8::from_str_radix(fields.nth(1)?, 16).ok()?;
    let inode = fields.nth(5)?.parse().ok()?;
    let port = u16::from_str_radix(port, 16).ok()?;
    holds(states, state).then_some(())?;
    holding(protocol, parse_address(address)?, port, inode, false)
}

/// An address as `/proc/net` writes it: words of 32 bits in host byte order.
fn parse_address(text: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = text.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(word, 16).ok()?.to_ne_bytes())
    };
    match text.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
            Some(IpAddr::from(*words.first_chunk::<16>()?))
        }
        _ => None,
    }
}

/// Whether a socket in this state was asked for.
fn holds(states: u32, state: u8) -> bool {
    let asked = if state == CLOSE { BOUND_INACTIVE } else { state };
    1_u32.checked_shl(asked.into()).is_some_and(|bit| states & bit != 0)
}

fn holding(
    protocol: Protocol,
    ip: IpAddr,
    port: u16,
    inode: u64,
    v6only: bool,
) -> Option<BoundSocket> {
    if port == 0 {
        return None;
    }
    Some(BoundSocket {
        protocol,
        address: ip.to_canonical(),
        port,
        dual_stack: ip == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && !v6only,
        inode,
    })
}

/// A socket on `[::]` beside one on `0.0.0.0` of the same port takes IPv6 only:
/// the second bind would have failed otherwise.
fn guess_v6only(sockets: &mut [BoundSocket]) {
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let ports: std::collections::BTreeSet<u16> =
        sockets.iter().filter(|socket| socket.address == any).map(|socket| socket.port).collect();
    for socket in sockets {
        socket.dual_stack &= !ports.contains(&socket.port);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use socket2::{Domain, Socket, Type};

    use super::*;

    fn find(sockets: &[BoundSocket], ip: &str, port: u16) -> Option<BoundSocket> {
        let ip: IpAddr = ip.parse().expect("an address");
        sockets.iter().find(|socket| (socket.address, socket.port) == (ip, port)).copied()
    }

    fn both(protocol: Protocol) -> [Vec<BoundSocket>; 2] {
        let listening = 1 << LISTEN;
        let states = if protocol == Protocol::Udp { ANY_STATE } else { listening };
        [exclusive(protocol).expect("sockets"), listed(protocol, states).expect("/proc/net")]
    }

    #[test]
    fn a_listener_that_was_just_opened_is_found_and_gone_after_it_closed() {
        // An address of its own: other tests open ports at the same time.
        let listener = TcpListener::bind("127.83.0.1:0").expect("a listener");
        let port = listener.local_addr().expect("its address").port();
        for sockets in both(Protocol::Tcp) {
            let socket = find(&sockets, "127.83.0.1", port).expect("the listener");
            assert!(socket.inode != 0 && !socket.dual_stack);
        }
        drop(listener);
        for sockets in both(Protocol::Tcp) {
            assert_eq!(find(&sockets, "127.83.0.1", port), None);
        }
    }

    #[test]
    fn a_socket_that_is_bound_and_does_not_listen_is_told_only_where_all_are_asked_for() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any: std::net::SocketAddr = "127.83.0.2:0".parse().expect("an address");
        socket.bind(&any.into()).expect("a free port");
        let address = socket.local_addr().expect("its address").as_socket();
        let port = address.expect("an IP address").port();
        let listeners = exclusive(Protocol::Tcp).expect("sockets");
        assert_eq!(find(&listeners, "127.83.0.2", port), None);
        // Before Linux 6.8 nobody can tell.
        let all = diagnosed(Protocol::Tcp, 1 << BOUND_INACTIVE).expect("sock_diag");
        if !all.is_empty() {
            assert!(find(&all, "127.83.0.2", port).is_some());
            assert!(find(&bound(Protocol::Tcp).expect("sockets"), "127.83.0.2", port).is_some());
        }
    }

    #[test]
    fn a_bound_udp_socket_is_found() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let port = socket.local_addr().expect("its address").port();
        for sockets in both(Protocol::Udp) {
            assert!(find(&sockets, "127.0.0.1", port).is_some());
        }
    }

    #[test]
    fn an_established_connection_holds_no_port() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("its address");
        let client = std::net::TcpStream::connect(address).expect("a connection");
        let port = client.local_addr().expect("its address").port();
        for sockets in both(Protocol::Tcp) {
            assert_eq!(find(&sockets, "127.0.0.1", port), None);
        }
    }

    #[test]
    fn a_socket_on_both_families_is_told_from_an_ipv6_only_one() {
        for v6only in [false, true] {
            let socket = Socket::new(Domain::IPV6, Type::STREAM, None).expect("a socket");
            socket.set_only_v6(v6only).expect("the option");
            let any: std::net::SocketAddr = "[::]:0".parse().expect("an address");
            socket.bind(&any.into()).expect("a free port");
            socket.listen(1).expect("a listener");
            let address = socket.local_addr().expect("its address").as_socket();
            let port = address.expect("an IP address").port();
            let sockets = diagnosed(Protocol::Tcp, 1 << LISTEN).expect("sock_diag");
            let seen = find(&sockets, "::", port).expect("the listener");
            assert_eq!(seen.dual_stack, !v6only);
        }
    }

    #[test]
    fn a_line_of_proc_net_is_read_and_a_broken_one_skipped() {
        let line = "  0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 1061 1";
        let socket = parse_line(Protocol::Tcp, 1 << LISTEN, line).expect("a listener");
        if cfg!(target_endian = "little") {
            assert_eq!(socket.address.to_string(), "127.0.0.1");
        }
        assert_eq!((socket.port, socket.inode), (8000, 1061));
        for broken in
            ["", "0: x", "0: 0100007F:1F40", "0: 0100007F:zz 0:0 0A a b c 0 0 1", "a é:é b 0A"]
        {
            assert_eq!(parse_line(Protocol::Tcp, 1 << LISTEN, broken), None, "{broken:?}");
        }
    }

    #[test]
    fn a_truncated_answer_is_no_socket() {
        for length in 0..ANSWER {
            assert_eq!(parse_answer(Protocol::Tcp, u32::MAX, &vec![2; length]), None);
        }
    }
}
