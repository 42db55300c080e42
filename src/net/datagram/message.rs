//! recvmsg(2) and sendmsg(2) with the addresses that the kernel tells.
//!
//! Turns control messages into plain values and back. Never decides whether a
//! datagram is answered.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, RecvMsg, SockaddrStorage, recvmsg, sendmsg,
};

use crate::net::bind::Bound;

/// Room for the control messages of one datagram: packet info of IPv6 takes 40
/// bytes, the count of losses 24. Aligned as `cmsghdr` must be.
#[derive(Debug)]
#[repr(align(8))]
pub(super) struct ControlBuffer([u8; 128]);

impl Default for ControlBuffer {
    fn default() -> Self {
        Self([0; 128])
    }
}

/// One datagram, beside its payload.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    /// Bytes it had, more than the buffer's where it did not fit.
    pub(super) length: usize,
    /// Where it came from.
    pub(super) source: SocketAddr,
    /// Where it was sent to: the answer leaves from there.
    pub(super) dialled: SocketAddr,
    /// It was sent to a subnet's broadcast address.
    pub(super) to_broadcast: bool,
    /// What the kernel dropped on this socket in all, where it says so.
    pub(super) kernel_drops: Option<u32>,
    sender: Sender,
}

/// How the answer is made to leave from the address that was dialled.
#[derive(Debug, Clone, Copy)]
enum Sender {
    /// The socket is bound to that address alone.
    Bound,
    /// A wildcard socket names it (`IP_PKTINFO`, ip(7)).
    V4(libc::in_pktinfo),
    /// A wildcard socket names it (`IPV6_PKTINFO`, ipv6(7)).
    V6(libc::in6_pktinfo),
}

/// Receives one datagram into `scratch`.
///
/// # Errors
/// What recvmsg(2) says; EAGAIN where nothing has arrived.
pub(super) fn receive(
    bound: &Bound,
    scratch: &mut [u8],
    control: &mut ControlBuffer,
) -> io::Result<Arrival> {
    let mut slices = [IoSliceMut::new(scratch)];
    // MSG_TRUNC: say the true length of what does not fit.
    let flags = MsgFlags::MSG_TRUNC | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg(bound.as_raw_fd(), &mut slices, Some(&mut control.0), flags)?;
    Ok(read(bound.local_addr(), &message))
}

/// Reads what the kernel said about a datagram.
fn read(local: SocketAddr, message: &RecvMsg<'_, '_, SockaddrStorage>) -> Arrival {
    let source = message.address.as_ref().and_then(socket_addr);
    let mut arrival = Arrival {
        length: message.bytes,
        // A source that cannot be named cannot be answered: the guard refuses it.
        source: source.unwrap_or(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0)),
        dialled: local,
        to_broadcast: false,
        kernel_drops: None,
        sender: Sender::Bound,
    };
    for said in message.cmsgs().into_iter().flatten() {
        match said {
            ControlMessageOwned::RxqOvfl(total) => arrival.kernel_drops = Some(total),
            ControlMessageOwned::Ipv4PacketInfo(info) => arrival.arrived_at_v4(info),
            ControlMessageOwned::Ipv6PacketInfo(info) => arrival.arrived_at_v6(info),
            _ => {}
        }
    }
    arrival
}

impl Arrival {
    fn arrived_at_v4(&mut self, info: libc::in_pktinfo) {
        let [header, own] =
            [info.ipi_addr, info.ipi_spec_dst].map(|ip| Ipv4Addr::from(u32::from_be(ip.s_addr)));
        self.dialled.set_ip(header.into());
        // The kernel proposes another address to answer from than the header
        // has only where nobody owns the header's: a group or a broadcast.
        self.to_broadcast = header != own && !header.is_multicast();
        let ipi_spec_dst = info.ipi_addr;
        // The route decides about the interface.
        self.sender = Sender::V4(libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst, ..info });
    }

    fn arrived_at_v6(&mut self, mut info: libc::in6_pktinfo) {
        let dialled = Ipv6Addr::from(info.ipi6_addr.s6_addr);
        self.dialled.set_ip(dialled.into());
        // A link-local address means nothing without its link; for any other
        // the route decides about the interface.
        if !dialled.is_unicast_link_local() {
            info.ipi6_ifindex = 0;
        }
        self.sender = Sender::V6(info);
    }
}

/// Sends `payload` back to where `arrival` came from.
///
/// # Errors
/// What sendmsg(2) says, EAGAIN where there is no room, or what an earlier
/// answer met (an ICMP message).
pub(super) fn send(bound: &Bound, payload: &[u8], arrival: &Arrival) -> Result<usize, Errno> {
    let slices = [IoSlice::new(payload)];
    let to = SockaddrStorage::from(arrival.source);
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let send = |control: &[ControlMessage<'_>]| {
        sendmsg(bound.as_raw_fd(), &slices, control, flags, Some(&to))
    };
    match &arrival.sender {
        Sender::Bound => send(&[]),
        Sender::V4(info) => send(&[ControlMessage::Ipv4PacketInfo(info)]),
        Sender::V6(info) => send(&[ControlMessage::Ipv6PacketInfo(info)]),
    }
}

fn socket_addr(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|address| SocketAddr::from(*address));
    v4.or_else(|| storage.as_sockaddr_in6().map(|address| SocketAddr::from(*address)))
}
