//! UDP echo: one datagram out for one in, from the address that was dialled.
//!
//! Moves datagrams in batches, through memory that the caller lends. Never waits
//! for room to answer: what cannot be sent now is dropped and counted.

mod message;
mod own;
mod replies;
mod tap;

use std::io;
use std::net::SocketAddr;
use std::ops::AddAssign;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use nix::errno::Errno;

use super::bind::Bound;
use super::datagram_limits::DatagramLimits;
use super::source_guard::SourceGuard;
use super::source_rules::{SourceRules, Standing};
use super::sys::batch::{BATCH, Batch};
use super::sys::{self, Watched};
use crate::config::Mode;
use crate::supervision::DropReason;
use message::Arrival;
use own::Outbox;
use replies::Replies;
pub(crate) use tap::{Seen, Tap};

pub(crate) use own::OwnDatagrams;
pub use own::{Answers, Datagram, DatagramHandler, amplifying};

/// Datagrams after which a socket lets its neighbours run: a batch.
const DATAGRAMS_A_POLL: usize = BATCH;

/// Room for one datagram; the longest of 65,507 bytes fits (RFC 768).
const ROOM: usize = 64 * 1024;

/// Where datagrams are while they are answered. One a thread, for all its sockets:
/// 4 MiB of addresses, of which the kernel backs what was ever used.
pub(crate) struct DatagramPool {
    batch: Batch,
    replies: Replies,
    /// What was received since somebody took it.
    pub(crate) tap: Tap,
    /// Made for the first answer of an embedder's own.
    outbox: Option<Outbox>,
}

impl Default for DatagramPool {
    fn default() -> Self {
        let tap = Tap::default();
        Self { batch: Batch::new(ROOM), replies: Replies::default(), tap, outbox: None }
    }
}

/// What a listener does with datagrams; shared by those of a group.
#[derive(Debug)]
pub(crate) struct DatagramRules {
    /// Echo or discard.
    pub(crate) mode: Mode,
    /// Whom its group serves.
    pub(crate) sources: SourceRules,
    /// Whom it never answers.
    pub(crate) guard: SourceGuard,
    /// Who answers instead of `mode`, if somebody does.
    pub(crate) own: Option<OwnDatagrams>,
    /// What it answers no more; shared by all groups.
    pub(crate) limits: Arc<DatagramLimits>,
}

/// What a UDP socket did; it is added to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct UdpTally {
    /// Datagrams that the kernel delivered.
    pub(crate) received: u64,
    /// Datagrams that were answered.
    pub(crate) replied: u64,
    /// Payload bytes of `received`, also of what was dropped.
    pub(crate) bytes_in: u64,
    /// Payload bytes of `replied`.
    pub(crate) bytes_out: u64,
    /// Who sent the last of `received`.
    pub(crate) last_source: Option<SocketAddr>,
    /// Unanswered ones, by [`DropReason::index`]. Those of
    /// [`DropReason::ReceiveBuffer`] are not among `received`.
    pub(crate) dropped: [u64; DropReason::ALL.len()],
}

impl UdpTally {
    /// Datagrams dropped for that reason.
    pub(crate) fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason.index()]
    }

    fn drop_one(&mut self, reason: DropReason) {
        self.dropped[reason.index()] += 1;
    }
}

impl AddAssign for UdpTally {
    fn add_assign(&mut self, other: Self) {
        self.received += other.received;
        self.replied += other.replied;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.last_source = other.last_source.or(self.last_source);
        for (sum, more) in self.dropped.iter_mut().zip(other.dropped) {
            *sum += more;
        }
    }
}

/// A bound UDP socket, registered with the runtime of this thread.
#[derive(Debug)]
pub(crate) struct DatagramSocket {
    socket: Watched,
}

impl DatagramSocket {
    /// Registers a bound socket.
    ///
    /// # Errors
    /// What epoll_ctl(2) says: EEXIST while another listener of this thread
    /// still holds the socket, ENOSPC and ENOMEM.
    pub(crate) fn new(bound: Bound) -> io::Result<Self> {
        Ok(Self { socket: Watched::new(bound)? })
    }

    /// The socket that datagrams come from.
    pub(crate) fn bound(&self) -> &Bound {
        self.socket.bound()
    }

    /// Serves what has arrived, at most 64 datagrams a call, and has the task
    /// woken for the rest. `Ready` only with an error.
    ///
    /// Errors about one peer (an ICMP answer, a filter) never end a socket. For
    /// those that do, `accept::classify` says whether to pause or to give up.
    pub(crate) fn poll_serve(
        &mut self,
        cx: &mut Context<'_>,
        pool: &mut DatagramPool,
        rules: &DatagramRules,
        tally: &mut UdpTally,
    ) -> Poll<io::Error> {
        let mut served = 0;
        while served < DATAGRAMS_A_POLL {
            let most = DATAGRAMS_A_POLL - served;
            let receive = |bound: &Bound| pool.batch.receive(bound, most);
            match ready!(self.socket.poll_batch(cx, receive)) {
                Ok(count) => {
                    serve(self.bound(), count, pool, rules, tally);
                    served += count;
                }
                Err(error) if is_about_a_peer(&error) => served += 1,
                Err(error) => return Poll::Ready(error),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Serves what has arrived, at most `most` datagrams, without waiting, and
    /// counts what the kernel has dropped until now. Says how many it served.
    ///
    /// For the close: what is in the queue then would be lost.
    ///
    /// # Errors
    /// What recvmmsg(2) says, but not about one peer.
    pub(crate) fn try_drain(
        &mut self,
        pool: &mut DatagramPool,
        rules: &DatagramRules,
        tally: &mut UdpTally,
        most: usize,
    ) -> io::Result<usize> {
        let mut served = 0;
        let mut result = Ok(());
        while served < most {
            match pool.batch.receive(self.bound(), most - served) {
                Ok((count, _)) => {
                    serve(self.bound(), count, pool, rules, tally);
                    served += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if is_about_a_peer(&error) => served += 1,
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        // A kernel that does not say leaves what the datagrams themselves said.
        if let Ok(total) = sys::kernel_drops(self.bound()) {
            count_losses(self.bound(), total, tally);
        }
        result.map(|()| served)
    }
}

/// Counts the first `count` datagrams of the batch, and answers those that may
/// be answered.
fn serve(
    bound: &Bound,
    count: usize,
    pool: &mut DatagramPool,
    rules: &DatagramRules,
    tally: &mut UdpTally,
) {
    let DatagramPool { batch, replies, tap, outbox } = pool;
    replies.clear();
    let mut clock = None;
    for place in 0..count {
        let arrival = Arrival::read(batch, place, bound.local_addr());
        tally.received += 1;
        tally.bytes_in += arrival.length as u64;
        tally.last_source = Some(arrival.source);
        if let Some(total) = arrival.kernel_drops {
            count_losses(bound, total, tally);
        }
        let standing = rules.sources.standing(arrival.source.ip());
        let dropped = match rules.mode {
            Mode::Discard if rules.own.is_none() => {
                (standing == Standing::Denied).then_some(DropReason::Source)
            }
            _ => refusal(&arrival, batch, rules, standing, &mut clock),
        };
        tap.see(&arrival, batch, dropped);
        match (dropped, &rules.own) {
            (Some(reason), _) => tally.drop_one(reason),
            (None, Some(own)) => {
                let outbox = outbox.get_or_insert_default();
                let before = tally.bytes_out;
                own.answer(bound, (&arrival, batch), outbox, tally);
                if tap.is_on() {
                    // Each by itself, so that it is known whose answers they were.
                    outbox.send(bound, tally);
                    tap.sent(tally.bytes_out - before);
                }
            }
            (None, None) if rules.mode == Mode::Echo => replies.push(arrival),
            (None, None) => {}
        }
    }
    let answered = replies.send(bound, batch, tally);
    tap.echoed(count, answered);
    if let Some(outbox) = outbox {
        outbox.send(bound, tally);
    }
}

/// Why this datagram gets no answer; `None` = it gets one.
///
/// `clock` is the time of the batch, once somebody has asked for it.
fn refusal(
    arrival: &Arrival,
    batch: &Batch,
    rules: &DatagramRules,
    standing: Standing,
    clock: &mut Option<Instant>,
) -> Option<DropReason> {
    if arrival.to_broadcast {
        return Some(DropReason::Broadcast);
    }
    if let Some(reason) = rules.guard.refuses(arrival.source, arrival.dialled, standing) {
        return Some(reason);
    }
    let payload = batch.payload(arrival.place);
    if arrival.length > rules.limits.longest() || arrival.length > payload.len() {
        return Some(DropReason::Oversize);
    }
    let sources = &rules.limits.sources;
    if !sources.judges(arrival.source) {
        return None;
    }
    let now = *clock.get_or_insert_with(Instant::now);
    sources.refuses(arrival.source, payload, now)
}

/// True for what a receive reports about an earlier answer: an interruption, or
/// an ICMP message (the kernel's tables are `icmp_err_convert` and its IPv6 kin).
fn is_about_a_peer(error: &io::Error) -> bool {
    error.raw_os_error().map(Errno::from_raw).is_some_and(|errno| {
        matches!(
            errno,
            Errno::EINTR
                | Errno::ECONNREFUSED
                | Errno::EHOSTUNREACH
                | Errno::ENETUNREACH
                | Errno::EHOSTDOWN
                | Errno::ENETDOWN
                | Errno::ENONET
                | Errno::ENOPROTOOPT
                | Errno::EOPNOTSUPP
                | Errno::EMSGSIZE
                | Errno::EPROTO
                | Errno::EACCES
                | Errno::EPERM
        )
    })
}

fn count_losses(bound: &Bound, total: u32, tally: &mut UdpTally) {
    let lost = u64::from(bound.uncounted_losses(total));
    tally.dropped[DropReason::ReceiveBuffer.index()] += lost;
}

#[cfg(test)]
mod tests;
