//! Datagrams whose source is a lie: a raw socket that writes its own headers.

use std::net::{Ipv4Addr, SocketAddrV4};

use socket2::{Domain, Protocol, Socket, Type};

/// Sends what it likes from whom it likes, within its namespace. Needs root.
pub(crate) struct Spoofer {
    socket: Socket,
}

impl Spoofer {
    /// In the network of the calling thread.
    pub(crate) fn new() -> Self {
        let raw = Some(Protocol::from(nix::libc::IPPROTO_RAW));
        let socket = Socket::new(Domain::IPV4, Type::RAW, raw).expect("root may");
        socket.set_broadcast(true).expect("legal");
        Self { socket }
    }

    /// One datagram. The kernel fills in the length and the checksum of the IP header.
    pub(crate) fn send(&self, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), payload: &[u8]) {
        let length = u16::try_from(8 + payload.len()).expect("a short payload");
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0];
        packet.extend(from.0.octets());
        packet.extend(to.0.octets());
        for field in [from.1, to.1, length, 0] {
            packet.extend(field.to_be_bytes());
        }
        packet.extend(payload);
        let to = SocketAddrV4::new(to.0, 0).into();
        let sent = self.socket.send_to(&packet, &to).expect("a raw socket sends anything");
        assert_eq!(sent, packet.len());
    }
}
