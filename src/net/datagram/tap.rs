//! What each datagram was, for whoever records them.
//!
//! Off costs a comparison a datagram. Never decides about one.

use std::net::SocketAddr;

use super::message::Arrival;
use crate::net::sys::batch::Batch;
use crate::supervision::DropReason;

/// One datagram that was received.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) source: SocketAddr,
    /// Where it was sent to.
    pub(crate) dialled: SocketAddr,
    pub(crate) bytes: u64,
    /// Bytes of its answers that the kernel took.
    pub(crate) bytes_out: u64,
    /// Its source is one that its group does not serve.
    pub(crate) denied: bool,
    /// Its first bytes, as many as are to be kept.
    pub(crate) head: Box<[u8]>,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Tap {
    /// How many first bytes of a datagram are kept; `None` = it is off.
    pub(crate) keeps: Option<usize>,
    pub(crate) seen: Vec<Seen>,
}

impl Tap {
    pub(super) const fn is_on(&self) -> bool {
        self.keeps.is_some()
    }

    /// The last datagram was answered with so many bytes.
    pub(super) fn sent(&mut self, bytes: u64) {
        if let Some(last) = self.seen.last_mut() {
            last.bytes_out = bytes;
        }
    }

    pub(super) fn see(&mut self, arrival: &Arrival, batch: &Batch, dropped: Option<DropReason>) {
        let Some(keeps) = self.keeps else { return };
        let payload = batch.payload(arrival.place);
        self.seen.push(Seen {
            source: arrival.source,
            dialled: arrival.dialled,
            bytes: arrival.length as u64,
            bytes_out: 0,
            denied: dropped == Some(DropReason::Source),
            head: payload[..payload.len().min(keeps)].into(),
        });
    }

    /// Of the last `count` datagrams, those at the places that `answered` has a bit for
    /// were echoed.
    pub(super) fn echoed(&mut self, count: usize, answered: u64) {
        if self.keeps.is_some() {
            let first = self.seen.len().saturating_sub(count);
            for (place, seen) in self.seen[first..].iter_mut().enumerate() {
                if answered >> place & 1 == 1 {
                    seen.bytes_out = seen.bytes;
                }
            }
        }
    }
}
