//! Records of what is over, formed where it ended and handed to a sink.
//!
//! Nothing here runs where there is no sink. Never writes: a sink takes a record
//! without waiting, or loses it with a count of its own.

use std::cell::RefCell;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use super::protocol::GroupRuntime;
use crate::net::echo::Head;
use crate::spec::{Endpoint, Protocol};
use crate::supervision::{AccessReason, AccessRecord, EndReason, RecordId, Refusal};

/// Takes the records of a service: an [`AccessLog`](crate::service::AccessLog), or
/// something of your own.
pub trait AccessSink: Send + Sync {
    /// Takes a record. Called on the threads that serve: it must not wait, and not
    /// panic; what it has no room for it loses, and counts.
    fn record(&self, record: AccessRecord);

    /// How many of the first bytes that a client sends each record shall have.
    fn capture_bytes(&self) -> usize {
        0
    }

    /// The service has ended: there are no more records. May take a second.
    fn finish(&self) {}

    /// What became of the records so far.
    fn counts(&self) -> AccessCounts {
        AccessCounts::default()
    }
}

/// What became of records: each was written, was lost, or waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct AccessCounts {
    /// Records that were written.
    pub written: u64,
    /// Records that were lost: no room in the queue, or they could not be written.
    pub dropped: u64,
    /// Datagrams that belong to no flow, because as many as may be were open.
    pub untracked: u64,
}

impl AccessCounts {
    /// So many written and lost.
    #[must_use]
    pub const fn new(written: u64, dropped: u64) -> Self {
        Self { written, dropped, untracked: 0 }
    }
}

/// What every thread of a service shares.
pub(crate) struct Records {
    sink: Arc<dyn AccessSink>,
    capture: usize,
    run: u64,
    number: AtomicU64,
    pub(super) untracked: AtomicU64,
}

/// What a session is recorded by, while it lasts.
pub(crate) struct Recording {
    began: Instant,
    local: SocketAddr,
    group: Arc<GroupRuntime>,
    moved: RefCell<Moved>,
}

#[derive(Default)]
struct Moved {
    read: u64,
    written: u64,
    head: Head,
}

/// Who is recorded: what its record says of it from the beginning.
pub(crate) struct Subject {
    pub(crate) protocol: Protocol,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) group: Arc<str>,
}

impl Records {
    pub(crate) fn new(sink: Arc<dyn AccessSink>) -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            capture: sink.capture_bytes(),
            sink,
            run: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            number: AtomicU64::new(0),
            untracked: AtomicU64::new(0),
        }
    }

    pub(crate) const fn capture(&self) -> usize {
        self.capture
    }

    /// A session of this connection begins.
    pub(crate) fn begin(
        &self,
        endpoint: &Endpoint,
        group: &Arc<GroupRuntime>,
        dialled: impl FnOnce() -> std::io::Result<SocketAddr>,
        now: Instant,
    ) -> Box<Recording> {
        let moved = Moved { head: Head::new(self.capture), ..Moved::default() };
        Box::new(Recording {
            began: now,
            local: local_of(endpoint, dialled),
            group: Arc::clone(group),
            moved: RefCell::new(moved),
        })
    }

    /// A session is over.
    pub(crate) fn end(&self, recording: &Recording, peer: SocketAddr, reason: EndReason) {
        let Moved { read, written, head } = recording.moved.take();
        let subject = Subject {
            protocol: Protocol::Tcp,
            peer,
            local: recording.local,
            group: Arc::clone(&recording.group.name),
        };
        let duration = recording.began.elapsed();
        let reason = AccessReason::Ended(reason);
        self.write(subject, duration, (read, written), reason, head.into_bytes());
    }

    /// A client got no session: it was refused, or none could begin.
    pub(crate) fn never_served(
        &self,
        (endpoint, group): (&Endpoint, &Arc<str>),
        peer: SocketAddr,
        dialled: impl FnOnce() -> std::io::Result<SocketAddr>,
        reason: AccessReason,
    ) {
        let (local, group) = (local_of(endpoint, dialled), Arc::clone(group));
        let subject = Subject { protocol: Protocol::Tcp, peer, local, group };
        self.write(subject, std::time::Duration::ZERO, (0, 0), reason, Box::default());
    }

    /// Hands a record to the sink.
    pub(crate) fn write(
        &self,
        subject: Subject,
        duration: std::time::Duration,
        (bytes_in, bytes_out): (u64, u64),
        reason: AccessReason,
        capture: Box<[u8]>,
    ) {
        let Subject { protocol, peer, local, group } = subject;
        let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
        self.sink.record(AccessRecord {
            at: SystemTime::now(),
            id: RecordId::new(self.run, number),
            protocol,
            peer,
            local,
            group,
            duration,
            bytes_in,
            bytes_out,
            reason,
            capture,
        });
    }

    pub(crate) fn finish(&self) {
        self.sink.finish();
    }

    pub(crate) fn counts(&self) -> AccessCounts {
        let untracked = self.untracked.load(Ordering::Relaxed);
        AccessCounts { untracked, ..self.sink.counts() }
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Records").field("run", &self.run).finish_non_exhaustive()
    }
}

impl Recording {
    /// The session moved bytes.
    pub(super) fn count(&self, read: u64, written: u64) {
        let mut moved = self.moved.borrow_mut();
        moved.read += read;
        moved.written += written;
    }

    /// Lends the first bytes of the client, to be added to.
    pub(super) fn head<T>(&self, fill: impl FnOnce(&mut Head) -> T) -> T {
        fill(&mut self.moved.borrow_mut().head)
    }
}

/// The address that was dialled: the endpoint's own, but for a wildcard's.
fn local_of(
    endpoint: &Endpoint,
    dialled: impl FnOnce() -> std::io::Result<SocketAddr>,
) -> SocketAddr {
    let bound = endpoint.socket_addr();
    if endpoint.address.is_wildcard() { dialled().unwrap_or(bound) } else { bound }
}

impl From<Refusal> for AccessReason {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
