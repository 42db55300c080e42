//! UDP flows of a thread: who sends to which endpoint, until it is quiet.
//!
//! Made where flows are recorded, and nowhere else. Bounded: what finds no room
//! is counted, datagram for datagram.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::records::{Records, Subject};
use crate::net::datagram::Seen;
use crate::net::echo::Head;
use crate::spec::Protocol;
use crate::supervision::{AccessReason, EndReason, Place, Refusal};

/// A flow is over when nothing came for this long.
const QUIET: Duration = Duration::from_secs(60);
/// Most flows of a thread at once.
const MOST: usize = 16_384;
/// Between two looks for flows that are over.
const LOOK: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct Flows {
    records: Arc<Records>,
    ending: Arc<AtomicBool>,
    open: HashMap<(Place, SocketAddr, SocketAddr), Flow>,
    looked: Instant,
}

struct Flow {
    group: Arc<str>,
    began: Instant,
    last: Instant,
    bytes_in: u64,
    bytes_out: u64,
    /// Every datagram of it came from a source that its group does not serve.
    denied: bool,
    head: Head,
}

impl Flows {
    pub(crate) fn new(records: Arc<Records>, ending: Arc<AtomicBool>, now: Instant) -> Self {
        Self { records, ending, open: HashMap::new(), looked: now }
    }

    /// These datagrams came to an endpoint.
    pub(crate) fn see(&mut self, place: Place, group: &Arc<str>, seen: &[Seen], now: Instant) {
        for datagram in seen {
            let full = self.open.len() >= MOST;
            let flow = match self.open.entry((place, datagram.source, datagram.dialled)) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(_) if full => {
                    self.records.untracked.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                Entry::Vacant(vacant) => vacant.insert(Flow {
                    group: Arc::clone(group),
                    began: now,
                    last: now,
                    bytes_in: 0,
                    bytes_out: 0,
                    denied: true,
                    head: Head::new(self.records.capture()),
                }),
            };
            flow.last = now;
            flow.bytes_in += datagram.bytes;
            flow.bytes_out += datagram.bytes_out;
            flow.denied &= datagram.denied;
            flow.head.take_in(&datagram.head);
        }
    }

    /// Records the flows that were quiet for long enough. Called at each tick.
    pub(crate) fn look(&mut self, now: Instant) {
        if now.saturating_duration_since(self.looked) < LOOK {
            return;
        }
        self.looked = now;
        let over = |flow: &Flow| now.saturating_duration_since(flow.last) >= QUIET;
        for (key, flow) in self.open.extract_if(|_, flow| over(flow)) {
            record(&self.records, key, flow, EndReason::Idle);
        }
    }

    /// Records all that are open: the listeners are gone.
    pub(crate) fn end(&mut self, reason: EndReason) {
        for (key, flow) in self.open.drain() {
            record(&self.records, key, flow, reason);
        }
    }
}

impl Drop for Flows {
    /// The thread ends.
    fn drop(&mut self) {
        let ending = self.ending.load(Ordering::Acquire);
        self.end(if ending { EndReason::Forced } else { EndReason::WorkerLost });
    }
}

fn record(
    records: &Records,
    (_, peer, local): (Place, SocketAddr, SocketAddr),
    flow: Flow,
    reason: EndReason,
) {
    let Flow { group, began, last, bytes_in, bytes_out, denied, head } = flow;
    let reason = match denied {
        true => AccessReason::Refused(Refusal::Source),
        false => AccessReason::Ended(reason),
    };
    let subject = Subject { protocol: Protocol::Udp, peer, local, group };
    let duration = last.saturating_duration_since(began);
    records.write(subject, duration, (bytes_in, bytes_out), reason, head.into_bytes());
}
