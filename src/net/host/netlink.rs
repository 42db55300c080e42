//! Questions to the kernel over netlink, and what it tells unasked (netlink(7)).
//!
//! Writes a dump request, subscribes to news, and cuts what comes into messages
//! and attributes, with every length checked. Never knows what a message means.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendto,
    setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;

/// Most bytes of answers that are read: a table of a million routes fits.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// The kernel answers a dump at once; longer than this means that it will not.
const ANSWER_TIMEOUT_SECS: i64 = 2;

// Dump requests of a kernel since 4.20 are filtered by what their header asks for.
nix::setsockopt_impl!(
    StrictCheck,
    libc::SOL_NETLINK,
    libc::NETLINK_GET_STRICT_CHK,
    bool,
    nix::sys::socket::sockopt::SetBool
);

/// Asks to restrict a dump to what its header names (netlink(7)).
#[derive(Debug, Clone, Copy)]
struct StrictCheck;

/// Sends a dump request of type `kind` with `body`, and hands each answer's
/// type and body to `each`.
///
/// # Errors
/// What the kernel answered, `InvalidData` for a message that contradicts its
/// own lengths, `TimedOut` after 2 s, `OutOfMemory` past 256 MiB of answers.
/// `each` may have seen a part of the answers by then.
pub(crate) fn dump(
    protocol: SockProtocol,
    kind: u16,
    body: &[u8],
    mut each: impl FnMut(u16, &[u8]),
) -> io::Result<()> {
    let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
    setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::seconds(ANSWER_TIMEOUT_SECS))?;
    // An older kernel answers with everything: the reader filters anyway.
    let _ = setsockopt(&fd, StrictCheck, &true);
    sendto(fd.as_raw_fd(), &request(kind, body), &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    // The kernel fills up to 32 KiB a datagram when the reader offers that much.
    let mut buffer = vec![0; 64 << 10];
    let mut seen = 0;
    loop {
        let length = match recv(fd.as_raw_fd(), &mut buffer, MsgFlags::MSG_TRUNC) {
            Ok(length) => length,
            Err(nix::errno::Errno::EINTR) => continue,
            Err(nix::errno::Errno::EAGAIN) => return Err(io::ErrorKind::TimedOut.into()),
            Err(errno) => return Err(errno.into()),
        };
        seen += length;
        if seen > MAX_ANSWER_BYTES {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let datagram = buffer.get(..length).ok_or_else(|| broken("a truncated datagram"))?;
        if datagram.is_empty() || messages(datagram, &mut each)? == Answer::Done {
            return Ok(());
        }
    }
}

/// A non-blocking socket that hears the news of `groups`, a set of bits such as
/// `RTMGRP_LINK` (rtnetlink(7)), of the calling thread's network namespace.
///
/// # Errors
/// What socket(2) and bind(2) say, where a sandbox forbids them.
pub(crate) fn subscribe(protocol: SockProtocol, groups: u32) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(fd)
}

/// Takes one datagram of news; its whole length, also where `buffer` is shorter.
///
/// # Errors
/// What recv(2) says: EAGAIN when there is none, ENOBUFS once after some were lost.
pub(crate) fn receive(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(recv(fd.as_raw_fd(), buffer, MsgFlags::MSG_TRUNC)?)
}

/// Hands type and body of each message of a datagram of news to `each`.
///
/// # Errors
/// `InvalidData` for a message that contradicts its own length.
pub(crate) fn news(datagram: &[u8], mut each: impl FnMut(u16, &[u8])) -> io::Result<()> {
    messages(datagram, &mut each).map(drop)
}

/// Whether more datagrams follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    More,
    Done,
}

/// Hands each message of a datagram to `each`, until the one that ends the dump.
fn messages(mut datagram: &[u8], each: &mut impl FnMut(u16, &[u8])) -> io::Result<Answer> {
    while datagram.len() >= HEADER {
        let length = read_u32(datagram, 0).unwrap_or(0) as usize;
        let kind = read_u16(datagram, 4).unwrap_or(0);
        let Some(body) = datagram.get(HEADER..length) else {
            return Err(broken("a message that is longer than its datagram"));
        };
        match i32::from(kind) {
            libc::NLMSG_DONE => return Ok(Answer::Done),
            libc::NLMSG_ERROR => {
                let code = read_u32(body, 0).map_or(0, u32::cast_signed);
                return match code {
                    0 => Ok(Answer::Done),
                    code => Err(io::Error::from_raw_os_error(code.saturating_neg())),
                };
            }
            libc::NLMSG_NOOP => {}
            _ => each(kind, body),
        }
        datagram = datagram.get(aligned(length)..).unwrap_or_default();
    }
    Ok(Answer::More)
}

/// The attributes of a message, as type and value; ends at the first whose
/// length is impossible.
pub(crate) fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(read_u16(rest, 0)?);
        // The two high bits are flags (nested, network byte order).
        let kind = read_u16(rest, 2)? & 0x3fff;
        let value = rest.get(4..length)?;
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The number in host byte order at `at`, if the message is that long.
pub(crate) fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_ne_bytes(*bytes))
}

fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk::<2>()?;
    Some(u16::from_ne_bytes(*bytes))
}

/// Messages and attributes begin on multiples of four.
const fn aligned(length: usize) -> usize {
    (length + 3) & !3
}

fn request(kind: u16, body: &[u8]) -> Vec<u8> {
    // Both flags are small constants (netlink(7)).
    const FLAGS: u16 = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    let length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&FLAGS.to_ne_bytes());
    // Sequence number and port id: one question a socket needs neither.
    bytes.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend_from_slice(body);
    bytes
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("netlink answered with {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = request(kind, body);
        bytes.resize(aligned(bytes.len()), 0);
        bytes
    }

    fn collect(datagram: &[u8]) -> (io::Result<Answer>, Vec<(u16, Vec<u8>)>) {
        let mut seen = Vec::new();
        let answer = messages(datagram, &mut |kind, body: &[u8]| seen.push((kind, body.to_vec())));
        (answer, seen)
    }

    #[test]
    fn a_datagram_is_cut_into_its_messages_until_the_dump_is_done() {
        let datagram = [message(24, b"abc"), message(24, b"defg"), message(3, &[0; 4])].concat();
        let (answer, seen) = collect(&datagram);
        assert_eq!(answer.expect("no error"), Answer::Done);
        assert_eq!(seen, [(24, b"abc".to_vec()), (24, b"defg".to_vec())]);
    }

    #[test]
    fn an_error_message_is_the_errno_it_carries() {
        let body = (-libc::EPERM).to_ne_bytes();
        let (answer, _) = collect(&message(2, &body));
        assert_eq!(answer.expect_err("refused").raw_os_error(), Some(libc::EPERM));
    }

    #[test]
    fn impossible_lengths_end_the_reading_and_never_panic() {
        for length in [0_u32, 1, 15, 17, 4096, u32::MAX] {
            let mut datagram = message(24, &[]);
            datagram[..4].copy_from_slice(&length.to_ne_bytes());
            assert!(collect(&datagram).0.is_err(), "{length}");
        }
        for length in [0_u16, 1, 3, 9, u16::MAX] {
            let mut attribute = [0_u8; 8];
            attribute[..2].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(attributes(&attribute).count(), 0, "{length}");
        }
    }

    #[test]
    fn attributes_are_read_in_order_with_their_padding_skipped() {
        let bytes = [[5, 0, 1, 0, 9, 0, 0, 0], [8, 0, 2, 0x80, 1, 2, 3, 4]].concat();
        let seen: Vec<_> = attributes(&bytes).collect();
        assert_eq!(seen, [(1, &[9][..]), (2, &[1, 2, 3, 4][..])]);
    }
}
