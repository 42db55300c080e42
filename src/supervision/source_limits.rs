//! Which sources of datagrams send too much: more than their share, or the same
//! datagram round and round.
//!
//! Shared by all workers, so that a source's share does not grow with their number.
//! No clock and no chance of its own: the time is an argument, and so are the keys of
//! the hash. What it remembers has a fixed size. Whom it forgets is forgiven, so
//! nobody who keeps to the rates is ever refused for what others send.

mod bucket;
mod memory;
mod seconds;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::drop_reason::DropReason;
use crate::config;
use bucket::LiveBucket;
use memory::Memory;
use seconds::{SECOND, Seconds};

/// Most sources that are remembered at once, over all parts.
pub(crate) const MOST_SOURCES: usize = 65_536;

/// Parts with a lock each, so that workers seldom wait for one another.
const PARTS: usize = 16;

/// For so many seconds in a row a datagram must come too often to be taken for a loop.
const LOOP_SECS: u32 = 2;

/// How long the source of a loop gets no answer. Unit: nanoseconds.
const MUTE: u64 = 60 * SECOND;

/// What each source and all together may send, and what they have sent.
pub(crate) struct SourceLimits {
    per_source: LiveBucket,
    total: LiveBucket,
    /// When the bucket of all together will be full.
    total_full_at: Mutex<u64>,
    /// More of one datagram than this a second, from one address and port, is a loop;
    /// 0 = none is.
    most_alike: AtomicU32,
    keys: RandomState,
    began: Instant,
    /// Made for the first datagram that each part judges.
    parts: [Mutex<Option<Part>>; PARTS],
}

/// What is remembered of a part of all sources. Times are nanoseconds since the beginning.
struct Part {
    /// By IPv4 address or /64: until when its bucket is not full.
    sources: Memory<()>,
    /// By address and port.
    sockets: Memory<Socket>,
    /// By address, port and payload: only of sockets that send often.
    datagrams: Memory<Seconds>,
}

/// A source's address and port.
#[derive(Debug, Clone, Copy, Default)]
struct Socket {
    seconds: Seconds,
    muted_until: u64,
}

impl SourceLimits {
    /// Limits that begin now. `keys` must be unknown to those who send.
    pub(crate) fn new(udp: &config::Udp, keys: RandomState, began: Instant) -> Self {
        Self {
            per_source: LiveBucket::new(udp.rate_per_source),
            total: LiveBucket::new(udp.rate_total),
            total_full_at: Mutex::default(),
            most_alike: udp.loop_breaker_per_sec.map_or(0, u32::from).into(),
            keys,
            began,
            parts: Default::default(),
        }
    }

    /// Other limits from now on. What is remembered of sources stays: who used up its
    /// share waits for the next, and who is muted is so until its time is over.
    pub(crate) fn follow(&self, udp: &config::Udp) {
        self.per_source.set(udp.rate_per_source);
        self.total.set(udp.rate_total);
        let most_alike = udp.loop_breaker_per_sec.map_or(0, u32::from);
        self.most_alike.store(most_alike, Ordering::Relaxed);
    }

    fn most_alike(&self) -> Option<u32> {
        Some(self.most_alike.load(Ordering::Relaxed)).filter(|most| *most > 0)
    }

    /// True where datagrams of that source are judged at all: only then does anybody
    /// have to look at a clock.
    pub(crate) fn judges(&self, source: SocketAddr) -> bool {
        self.total.get().is_some() || self.judges_alone(source.ip())
    }

    /// Clients on loopback are the machine's own, and exempt from what is judged for
    /// each source.
    fn judges_alone(&self, ip: IpAddr) -> bool {
        (self.per_source.get().is_some() || self.most_alike().is_some())
            && !ip.to_canonical().is_loopback()
    }

    /// Why this datagram gets no answer; `None` = it may, and is charged.
    pub(crate) fn refuses(
        &self,
        source: SocketAddr,
        payload: &[u8],
        now: Instant,
    ) -> Option<DropReason> {
        let passed = now.saturating_duration_since(self.began).as_nanos();
        let now = u64::try_from(passed).unwrap_or(u64::MAX);
        let source = SocketAddr::new(source.ip().to_canonical(), source.port());
        let alone =
            self.judges_alone(source.ip()).then(|| self.refuses_alone(source, payload, now));
        // Last, so that what is refused anyway takes nothing from the others.
        alone.flatten().or_else(|| {
            let fits = self.total.get()?.take(&mut lock(&self.total_full_at), now);
            (!fits).then_some(DropReason::TotalRate)
        })
    }

    fn refuses_alone(&self, source: SocketAddr, payload: &[u8], now: u64) -> Option<DropReason> {
        let key = match source.ip() {
            IpAddr::V4(ip) => self.keys.hash_one(ip.octets()),
            IpAddr::V6(ip) => self.keys.hash_one(ip.segments().first_chunk::<4>()),
        };
        let mut part = lock(&self.parts[key as usize % PARTS]);
        let part = part.get_or_insert_with(Part::new);
        let most_alike = self.most_alike();
        let socket_key = most_alike.map(|_| self.keys.hash_one(source));
        if socket_key.and_then(|key| part.sockets.find(key)).is_some_and(|it| now < it.muted_until)
        {
            return Some(DropReason::Loop);
        }
        if let Some(bucket) = self.per_source.get() {
            let entry = part.sources.entry(key);
            if !bucket.take(&mut entry.until, now) {
                return Some(DropReason::SourceRate);
            }
        }
        let (most, key) = most_alike.zip(socket_key)?;
        let payload_key = || self.keys.hash_one((source, payload));
        part.is_loop(key, payload_key, most, now).then_some(DropReason::Loop)
    }
}

impl fmt::Debug for SourceLimits {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SourceLimits")
            .field("per_source", &self.per_source)
            .field("most_alike", &self.most_alike)
            .finish_non_exhaustive()
    }
}

impl Part {
    fn new() -> Self {
        const ENTRIES: usize = MOST_SOURCES / PARTS;
        let (sources, sockets) = (Memory::new(ENTRIES), Memory::new(ENTRIES));
        Self { sources, sockets, datagrams: Memory::new(ENTRIES) }
    }

    /// Counts a datagram; true where it is of a loop, whose source is muted then.
    ///
    /// Only a socket that sends too many datagrams can send too many of one, so the
    /// payloads of all others are not even looked at.
    fn is_loop(&mut self, key: u64, payload: impl Fn() -> u64, most: u32, now: u64) -> bool {
        let entry = self.sockets.entry(key);
        entry.until = now + LOOP_SECS as u64 * SECOND;
        if !entry.value.seconds.count(now, most) {
            return false;
        }
        let datagram = self.datagrams.entry(payload());
        datagram.until = now + LOOP_SECS as u64 * SECOND;
        datagram.value.count(now, most);
        let is_loop = datagram.value.too_many_for() >= LOOP_SECS;
        if is_loop {
            let entry = self.sockets.entry(key);
            entry.until = now + MUTE;
            entry.value.muted_until = entry.until;
        }
        is_loop
    }
}

/// The value, also after a panic elsewhere: every step leaves it whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
