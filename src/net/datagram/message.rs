//! What the kernel says beside a datagram, and what it is told beside an answer.
//!
//! Bytes to plain values and back, in the kernel's own layout: `sockaddr` of ip(7)
//! and ipv6(7), control messages of cmsg(3). Never moves a datagram, and never
//! decides whether one is answered.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use nix::libc;

use crate::net::sys::batch::{Answer, Batch, CONTROL};

/// One datagram, beside its payload.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    /// Its place in the batch.
    pub(super) place: usize,
    /// Bytes it had, more than there is room for where it did not fit.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sender {
    /// The socket is bound to that address alone.
    Bound,
    /// A wildcard socket names it (`IP_PKTINFO`, ip(7)).
    V4(Ipv4Addr),
    /// A wildcard socket names it, and the link where it has a meaning there only
    /// (`IPV6_PKTINFO`, ipv6(7)).
    V6(Ipv6Addr, u32),
}

impl Arrival {
    /// Reads what the kernel said about the datagram in `place` of a socket that is
    /// bound to `local`.
    pub(super) fn read(batch: &Batch, place: usize, local: SocketAddr) -> Self {
        // A source that cannot be named cannot be answered: the guard refuses it.
        let nobody = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        let mut arrival = Self {
            place,
            length: batch.length(place),
            source: socket_addr(batch.name(place)).unwrap_or(nobody),
            dialled: local,
            to_broadcast: false,
            kernel_drops: None,
            sender: Sender::Bound,
        };
        for (kind, data) in ControlMessages(batch.control(place)) {
            match kind {
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                    arrival.kernel_drops = field(data, 0).map(u32::from_ne_bytes);
                }
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => arrival.arrived_at_v4(data),
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => arrival.arrived_at_v6(data),
                _ => {}
            }
        }
        arrival
    }

    /// `in_pktinfo`: the interface, the address to answer from, the header's address.
    fn arrived_at_v4(&mut self, info: &[u8]) {
        let [own, header] = [field(info, 4), field(info, 8)].map(|ip: Option<[u8; 4]>| ip);
        let (Some(own), Some(header)) = (own, header) else { return };
        let (own, header) = (Ipv4Addr::from(own), Ipv4Addr::from(header));
        self.dialled.set_ip(header.into());
        // The kernel proposes another address to answer from than the header
        // has only where nobody owns the header's: a group or a broadcast.
        self.to_broadcast = header != own && !header.is_multicast();
        self.sender = Sender::V4(header);
    }

    /// `in6_pktinfo`: the header's address, the interface.
    fn arrived_at_v6(&mut self, info: &[u8]) {
        let (Some(header), Some(link)) = (field::<16>(info, 0), field(info, 16)) else { return };
        let dialled = Ipv6Addr::from(header);
        self.dialled.set_ip(dialled.into());
        // A link-local address means nothing without its link; for any other
        // the route decides about the interface.
        let link = if dialled.is_unicast_link_local() { u32::from_ne_bytes(link) } else { 0 };
        self.sender = Sender::V6(dialled, link);
    }

    /// True where both answers go the same way.
    pub(super) fn returns_like(&self, other: &Self) -> bool {
        self.source == other.source && self.dialled == other.dialled && self.sender == other.sender
    }

    /// The same bytes, back to where they came from; `first` is the number of the answer's
    /// first datagram in the list of places.
    pub(super) fn answer(&self, first: usize) -> Answer {
        let mut answer = Answer { first, count: 1, control: [0; CONTROL], told: 0 };
        match self.sender {
            Sender::Bound => {}
            Sender::V4(from) => {
                // The interface stays 0: the route decides about it.
                let mut info = [0; 12];
                info[4..8].copy_from_slice(&from.octets());
                tell(&mut answer, (libc::IPPROTO_IP, libc::IP_PKTINFO), &info);
            }
            Sender::V6(from, link) => {
                let mut info = [0; 20];
                info[..16].copy_from_slice(&from.octets());
                info[16..].copy_from_slice(&link.to_ne_bytes());
                tell(&mut answer, (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO), &info);
            }
        }
        answer
    }
}

/// Has the kernel cut a piece into datagrams of `length` bytes; the last may be shorter.
pub(super) fn cut(answer: &mut Answer, length: u16) {
    tell(answer, CUT, &length.to_ne_bytes());
}

/// The datagrams of a piece that [`cut`] made, each for itself.
pub(super) fn apart(piece: &Answer) -> Vec<Answer> {
    let told = piece.told.saturating_sub(space(size_of::<u16>()));
    let alone = |first: usize| Answer { first, count: 1, control: piece.control, told };
    (piece.first..piece.first + piece.count).map(alone).collect()
}

/// `SOL_UDP` and `UDP_SEGMENT` of udp(7).
const CUT: Kind = (libc::SOL_UDP, libc::UDP_SEGMENT);

/// Level and type of a control message.
type Kind = (i32, i32);

/// `cmsg_len`, a `size_t`, before level and type.
const LENGTH: usize = size_of::<usize>();
/// `CMSG_LEN(0)`: data begins where a `size_t` may.
const HEAD: usize = (LENGTH + 2 * size_of::<i32>()).next_multiple_of(LENGTH);

/// Appends one control message.
fn tell(answer: &mut Answer, (level, kind): Kind, data: &[u8]) {
    let mut message = [0; CONTROL];
    message[..LENGTH].copy_from_slice(&(HEAD + data.len()).to_ne_bytes());
    message[LENGTH..LENGTH + 4].copy_from_slice(&level.to_ne_bytes());
    message[LENGTH + 4..LENGTH + 8].copy_from_slice(&kind.to_ne_bytes());
    message[HEAD..HEAD + data.len()].copy_from_slice(data);
    let space = space(data.len());
    answer.control[answer.told..answer.told + space].copy_from_slice(&message[..space]);
    answer.told += space;
}

/// Bytes that a control message with so much data takes: `CMSG_SPACE`.
const fn space(data: usize) -> usize {
    (HEAD + data).next_multiple_of(LENGTH)
}

/// The control messages in these bytes; ends at the first that is not whole.
struct ControlMessages<'bytes>(&'bytes [u8]);

impl<'bytes> Iterator for ControlMessages<'bytes> {
    type Item = (Kind, &'bytes [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from_ne_bytes(field(self.0, 0)?);
        let level = i32::from_ne_bytes(field(self.0, LENGTH)?);
        let kind = i32::from_ne_bytes(field(self.0, LENGTH + 4)?);
        let data = self.0.get(HEAD..length)?;
        self.0 = self.0.get(length.next_multiple_of(LENGTH)..).unwrap_or_default();
        Some(((level, kind), data))
    }
}

/// What a `sockaddr_in` or `sockaddr_in6` names.
fn socket_addr(name: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(field(name, 0)?);
    let port = u16::from_be_bytes(field(name, 2)?);
    match i32::from(family) {
        libc::AF_INET => Some((field::<4>(name, 4)?, port).into()),
        libc::AF_INET6 => {
            let (flow, link) = (field(name, 4)?, field(name, 24)?);
            let [flow, link] = [flow, link].map(u32::from_ne_bytes);
            Some(SocketAddrV6::new(field::<16>(name, 8)?.into(), port, flow, link).into())
        }
        _ => None,
    }
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_read_back() {
        let mut answer = Answer { first: 0, count: 1, control: [0; CONTROL], told: 0 };
        tell(&mut answer, (1, 40), &7_u32.to_ne_bytes());
        tell(&mut answer, (libc::IPPROTO_IP, libc::IP_PKTINFO), &[9; 12]);
        let told = &answer.control[..answer.told];
        let read: Vec<_> = ControlMessages(told).collect();
        assert_eq!(read, [((1, 40), &7_u32.to_ne_bytes()[..]), ((0, 8), &[9; 12][..])]);
        for cut in 0..answer.told {
            assert!(ControlMessages(&told[..cut]).count() < 3, "{cut} bytes end it");
        }
    }

    #[test]
    fn lengths_that_lie_end_the_list() {
        for length in [0, 1, HEAD - 1, CONTROL + 1, usize::MAX - 8, usize::MAX] {
            let mut control = [0xff; CONTROL];
            control[..LENGTH].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(ControlMessages(&control).count(), 0, "{length}");
        }
    }

    #[test]
    fn a_source_of_another_family_or_cut_short_is_nobody() {
        let mut name = [0; 28];
        assert_eq!(socket_addr(&name), None);
        name[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
        name[2..4].copy_from_slice(&7_u16.to_be_bytes());
        assert_eq!(socket_addr(&name), "[::]:7".parse().ok());
        assert_eq!(socket_addr(&name[..27]), None);
        assert_eq!(socket_addr(&[]), None);
    }
}
