//! Clients: plain sockets that know nothing of IPCow.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};

use socket2::{Domain, Socket, Type};

use super::DEADLINE;

/// A connection whose reads and writes end at the deadline.
pub(crate) fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&to, DEADLINE);
    ready(stream.unwrap_or_else(|error| panic!("connect to {to}: {error}")))
}

/// The same from an address of one's choice, which must be of this machine.
pub(crate) fn connect_from(from: impl Into<IpAddr>, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::new(from.into(), 0).into()).expect("an own address");
    let connected = socket.connect_timeout(&to.into(), DEADLINE);
    connected.unwrap_or_else(|error| panic!("connect to {to}: {error}"));
    ready(socket.into())
}

fn ready(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(DEADLINE)).expect("a legal timeout");
    stream.set_write_timeout(Some(DEADLINE)).expect("a legal timeout");
    stream.set_nodelay(true).expect("a TCP socket");
    stream
}

/// True once nobody listens there: the connection is refused.
pub(crate) fn refused(to: SocketAddr) -> bool {
    match TcpStream::connect_timeout(&to, DEADLINE) {
        Err(error) => error.kind() == ErrorKind::ConnectionRefused,
        Ok(_) => false,
    }
}

/// Sends `bytes` and takes the same number back.
pub(crate) fn echo_tcp(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).expect("the server reads");
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back).expect("the server echoes");
    assert!(back == bytes, "what came back is what was sent");
}

/// Sends `bytes` from a thread of its own, half-closes, and reads to the end.
pub(crate) fn echo_all_tcp(mut stream: TcpStream, bytes: &[u8]) -> Vec<u8> {
    std::thread::scope(|scope| {
        let mut writer = stream.try_clone().expect("a socket can be shared");
        scope.spawn(move || {
            writer.write_all(bytes).expect("the server reads");
            writer.shutdown(std::net::Shutdown::Write).expect("still connected");
        });
        read_to_fin(&mut stream)
    })
}

/// Everything up to the peer's FIN; a reset or a timeout fails the test.
pub(crate) fn read_to_fin(stream: &mut TcpStream) -> Vec<u8> {
    let mut back = Vec::new();
    if let Err(error) = stream.read_to_end(&mut back) {
        panic!("after {} bytes: {error}, not FIN", back.len());
    }
    back
}

/// A UDP socket that hears only `to`.
pub(crate) fn udp_client(to: SocketAddr) -> UdpSocket {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).expect("an ephemeral port is free");
    socket.set_read_timeout(Some(DEADLINE)).expect("a legal timeout");
    socket.connect(to).expect("a route to loopback");
    socket
}

/// Sends one datagram and takes one back.
pub(crate) fn echo_udp(socket: &UdpSocket, bytes: &[u8]) {
    assert_eq!(socket.send(bytes).expect("a datagram leaves whole"), bytes.len());
    let mut back = vec![0; 65_536];
    let length = socket.recv(&mut back).expect("one datagram comes back");
    assert!(&back[..length] == bytes, "{length} bytes came back, not the {} sent", bytes.len());
}

/// Bytes without a pattern, the same for the same seed (xorshift64*).
pub(crate) fn random_bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    };
    let mut bytes: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| next().to_le_bytes()).collect();
    bytes.truncate(length);
    bytes
}
