//! Hears that addresses came or went (rtnetlink(7)): no listening socket does.
//!
//! Says only *that* something changed; [`LocalRoutes::read`] then says what is
//! true. Never reads a route, never judges an endpoint.
//!
//! [`LocalRoutes::read`]: crate::plan::reach::LocalRoutes::read

use std::future::{pending, poll_fn};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::libc;
use nix::sys::socket::SockProtocol;
use tokio::time::{Instant, sleep_until};

use super::netlink;
use crate::net::sys::Watched;

/// The news that tell of a change of the table `local`.
///
/// Address news alone would come too early: the kernel tells of an address first
/// and makes its route afterwards, an IPv6 one only once no neighbour claims it.
/// Link news are for what takes routes away without a word.
const GROUPS: u32 = (libc::RTMGRP_LINK
    | libc::RTMGRP_IPV4_IFADDR
    | libc::RTMGRP_IPV4_ROUTE
    | libc::RTMGRP_IPV6_IFADDR
    | libc::RTMGRP_IPV6_ROUTE) as u32;

/// From the first news to the report, so that a burst is one change and a router
/// whose tables never rest wakes this at most fifty times a second.
const SETTLE: Duration = Duration::from_millis(20);

/// From a report to its repetition: the kernel tells of some removals before it
/// does them, so that a quick reader may still find what is about to go.
const CONFIRM: Duration = Duration::from_secs(1);

/// Datagrams that are taken before the thread's other tasks have their turn.
const DATAGRAMS_A_TURN: usize = 512;

/// Longer news than this count as a change, unread.
const LONGEST_DATAGRAM: usize = 8 << 10;

/// A subscription to changes of the addresses of one network namespace.
///
/// Costs one descriptor, 8 KiB, and nothing while nothing changes. A change costs
/// one wake-up and half a microsecond a message (20 µs for one address, 100 µs for
/// a hundred), and the dump that its reader then asks for 12 to 21 µs (1 to 100
/// addresses, Linux 6.18, release build); the dump again for the confirmation.
#[derive(Debug)]
pub(crate) struct AddressWatch {
    socket: Watched<OwnedFd>,
    buffer: Box<[u8]>,
    /// News came; when they are read.
    due: Option<Instant>,
    /// A change was reported; when it is reported once more.
    confirm: Option<Instant>,
}

impl AddressWatch {
    /// Subscribes, for the namespace of the calling thread.
    ///
    /// What changes from now on is reported: open first, read the table then. Must
    /// be called inside a tokio runtime with I/O and time.
    ///
    /// # Errors
    /// What socket(2), bind(2) and epoll_ctl(2) say: EMFILE, ENOBUFS, or EPERM and
    /// EAFNOSUPPORT in a sandbox. Without a watch, only slow probes find changes.
    pub(crate) fn open() -> io::Result<Self> {
        Self::on(netlink::subscribe(SockProtocol::NetlinkRoute, GROUPS)?)
    }

    fn on(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            socket: Watched::owned(fd)?,
            buffer: vec![0; LONGEST_DATAGRAM].into(),
            due: None,
            confirm: None,
        })
    }

    /// Waits until addresses may have changed since the last call returned.
    ///
    /// A burst is one change; each is reported within about 20 ms, and once more a
    /// second later. Lost news count as a change. May say so where nothing
    /// changed, so that readers compare. Cancel-safe: a change that a dropped call
    /// had noticed is reported by the next one.
    ///
    /// # Errors
    /// What recv(2) says, or that the runtime is shutting down (no errno). The
    /// watch is of no more use then: open another and read the table again.
    pub(crate) async fn changed(&mut self) -> io::Result<()> {
        loop {
            if let Some(due) = self.due {
                sleep_until(due).await;
                self.due = None;
                if self.drain()? {
                    self.confirm = Some(Instant::now() + CONFIRM);
                    return Ok(());
                }
            }
            let confirm = self.confirm;
            tokio::select! {
                ready = poll_fn(|cx| self.socket.poll_ready(cx)) => {
                    ready?;
                    self.due = Some(Instant::now() + SETTLE);
                }
                () = until(confirm) => {
                    self.confirm = None;
                    return Ok(());
                }
            }
        }
    }

    /// Takes the news that are there, up to a bound; true if one tells of a change.
    fn drain(&mut self) -> io::Result<bool> {
        let mut changed = false;
        for _ in 0..DATAGRAMS_A_TURN {
            let buffer = &mut self.buffer;
            match self.socket.try_io(|fd| netlink::receive(fd, buffer)) {
                Ok(length) => changed |= self.buffer.get(..length).is_none_or(tells_of_change),
                Err(error) => match error.raw_os_error() {
                    // The kernel had more to tell than the socket holds.
                    Some(libc::ENOBUFS) => changed = true,
                    Some(libc::EINTR) => {}
                    _ if error.kind() == io::ErrorKind::WouldBlock => break,
                    _ => return Err(error),
                },
            }
        }
        Ok(changed)
    }
}

/// Waits until then; for ever without a time.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

/// Whether a datagram may tell of a change of the table `local`. What cannot be
/// read may tell of anything.
fn tells_of_change(datagram: &[u8]) -> bool {
    let mut changed = false;
    let read = netlink::news(datagram, |kind, body| changed |= matters(kind, body));
    changed || read.is_err()
}

/// Whether one message may: a host with a full table of the Internet's routes, or
/// with a container born each second, has other news all the time.
fn matters(kind: u16, body: &[u8]) -> bool {
    match kind {
        libc::RTM_NEWADDR | libc::RTM_DELADDR | libc::RTM_DELLINK => true,
        // `rtm_table` of struct rtmsg.
        libc::RTM_NEWROUTE | libc::RTM_DELROUTE => {
            body.get(4).is_none_or(|table| *table == libc::RT_TABLE_LOCAL)
        }
        // `ifi_change` of struct ifinfomsg: the flags that are not what they were.
        libc::RTM_NEWLINK => netlink::read_u32(body, 12)
            .is_none_or(|change| change & libc::IFF_UP.cast_unsigned() != 0),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
