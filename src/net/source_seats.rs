//! How many sessions each source has, exactly, over all threads and without a lock.
//!
//! A source is an IPv4 address or an IPv6 network of 64 bits. A bucket is a list
//! that is never changed, only replaced as a whole by compare-and-swap; what is
//! counted in place is one number a source. Never decides about the global
//! limit, never logs.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arc_swap::ArcSwap;

/// Most buckets. Unit: pointers; more sources than that share buckets.
const MAX_BUCKETS: usize = 65_536;
/// Fewest buckets.
const MIN_BUCKETS: usize = 64;

/// Who is counted as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    /// One address.
    V4(u32),
    /// The upper half of an address: a network of one site.
    V6(u64),
}

impl Source {
    fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.into()),
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments().map(u64::from);
                Self::V6(a << 48 | b << 32 | c << 16 | d)
            }
        }
    }
}

/// A source with sessions.
#[derive(Debug)]
struct Entry {
    source: Source,
    /// Sessions. 0 is final: nobody takes a seat of an entry that was left by
    /// all, so that a source never has two entries that count.
    taken: AtomicU32,
}

impl Entry {
    fn is_left(&self) -> bool {
        self.taken.load(Ordering::Acquire) == 0
    }

    /// One more session, unless that would be more than `limit` or the entry is left.
    fn take(&self, limit: u32) -> Taken {
        let one_more = |taken| (taken > 0 && taken < limit).then(|| taken + 1);
        match self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more) {
            Ok(_) => Taken::Seat,
            Err(0) => Taken::Left,
            Err(_) => Taken::Full,
        }
    }
}

enum Taken {
    Seat,
    Full,
    Left,
}

type Bucket = Vec<Arc<Entry>>;

/// The sources that have sessions, at most one entry a session.
#[derive(Debug)]
pub(crate) struct SourceSeats {
    limit: AtomicU32,
    hasher: RandomState,
    /// A power of two.
    buckets: Box<[ArcSwap<Bucket>]>,
}

impl SourceSeats {
    /// At most `limit` (at least 1) sessions a source; `sessions` is how many
    /// there may be of all sources.
    pub(crate) fn new(limit: u32, sessions: usize) -> Self {
        let count = sessions.clamp(MIN_BUCKETS, MAX_BUCKETS).next_power_of_two();
        let empty = Arc::new(Bucket::new());
        let buckets = (0..count).map(|_| ArcSwap::from(Arc::clone(&empty))).collect();
        Self { limit: AtomicU32::new(limit.max(1)), hasher: RandomState::new(), buckets }
    }

    /// At most `limit` (at least 1) sessions a source from now on. Whoever has more
    /// keeps them.
    pub(crate) fn limit(&self, limit: u32) {
        self.limit.store(limit.max(1), Ordering::Relaxed);
    }

    /// A seat for one more session of `ip`; `None` when it has as many as it may.
    pub(crate) fn take(self: &Arc<Self>, ip: IpAddr) -> Option<SourceSeat> {
        self.take_of(ip, self.limit.load(Ordering::Relaxed))
    }

    /// The seat of a session of `ip` that there is already, whatever the limit.
    pub(crate) fn enter(self: &Arc<Self>, ip: IpAddr) -> Option<SourceSeat> {
        self.take_of(ip, u32::MAX)
    }

    fn take_of(self: &Arc<Self>, ip: IpAddr, limit: u32) -> Option<SourceSeat> {
        let source = Source::of(ip);
        let bucket = self.bucket(source);
        loop {
            let seen = bucket.load();
            if let Some(entry) = seen.iter().find(|entry| entry.source == source) {
                match entry.take(limit) {
                    Taken::Full => return None,
                    Taken::Seat => return Some(self.seat(entry)),
                    Taken::Left => {}
                }
            }
            // Whoever replaced the bucket meanwhile may have entered this very
            // source: then it is looked for again.
            let entry = Arc::new(Entry { source, taken: AtomicU32::new(1) });
            let mut next = still_taken(&seen);
            next.push(Arc::clone(&entry));
            let before = bucket.compare_and_swap(&seen, Arc::new(next));
            if Arc::ptr_eq(&before, &seen) {
                return Some(self.seat(&entry));
            }
        }
    }

    fn seat(self: &Arc<Self>, entry: &Arc<Entry>) -> SourceSeat {
        SourceSeat { seats: Arc::clone(self), entry: Arc::clone(entry) }
    }

    /// The bucket of a source; its hash cannot be foreseen by whoever chooses sources.
    fn bucket(&self, source: Source) -> &ArcSwap<Bucket> {
        // The cast keeps the low bits, and those are all that count.
        #[allow(clippy::cast_possible_truncation)]
        let hash = self.hasher.hash_one(source) as usize;
        &self.buckets[hash & (self.buckets.len() - 1)]
    }

    /// Takes entries that were left out of the bucket.
    fn sweep(&self, source: Source) {
        self.bucket(source).rcu(|bucket| still_taken(bucket));
    }
}

fn still_taken(bucket: &Bucket) -> Bucket {
    bucket.iter().filter(|entry| !entry.is_left()).cloned().collect()
}

/// The place of one session among those of its source; free again when dropped.
#[derive(Debug)]
pub(crate) struct SourceSeat {
    seats: Arc<SourceSeats>,
    entry: Arc<Entry>,
}

impl Drop for SourceSeat {
    fn drop(&mut self) {
        if self.entry.taken.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.seats.sweep(self.entry.source);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Barrier;

    use super::*;

    fn seats(limit: u32) -> Arc<SourceSeats> {
        Arc::new(SourceSeats::new(limit, 1_000))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn entries(seats: &SourceSeats) -> usize {
        seats.buckets.iter().map(|bucket| bucket.load().len()).sum()
    }

    #[test]
    fn a_source_has_its_limit_and_gets_each_place_back() {
        let seats = seats(2);
        let one = seats.take(ip("192.0.2.1"));
        let two = seats.take(ip("192.0.2.1"));
        assert!(one.is_some() && two.is_some() && seats.take(ip("192.0.2.1")).is_none());
        assert!(seats.take(ip("192.0.2.2")).is_some(), "another source");
        drop(one);
        assert!(seats.take(ip("192.0.2.1")).is_some());
    }

    #[test]
    fn an_ipv6_source_is_a_network_of_64_bits_and_mapped_ipv4_is_ipv4() {
        let seats = seats(1);
        let _one = seats.take(ip("2001:db8:0:1::1")).expect("the first");
        assert!(seats.take(ip("2001:db8:0:1:ffff::")).is_none());
        let _two = seats.take(ip("2001:db8:0:2::1")).expect("the next network");
        let _three = seats.take(ip("::ffff:192.0.2.1")).expect("IPv4");
        assert!(seats.take(ip("192.0.2.1")).is_none());
        assert!(seats.take(ip("::1")).is_some(), "::/64 is none of IPv4");
    }

    #[test]
    fn a_source_that_has_left_leaves_nothing_behind() {
        let seats = seats(3);
        let sources = (0..5_000_u32).map(|number| IpAddr::from(Ipv4Addr::from(number)));
        let held: Vec<_> =
            sources.flat_map(|source| [seats.take(source), seats.take(source)]).collect();
        assert!(held.iter().all(Option::is_some));
        assert_eq!(entries(&seats), 5_000);
        drop(held);
        assert_eq!(entries(&seats), 0);
    }

    #[test]
    fn many_threads_never_have_more_than_the_limit_of_a_source() {
        const THREADS: usize = 4;
        // Two sources, so that threads meet all the time: entries come and go.
        let sources = [ip("192.0.2.1"), ip("192.0.2.2")];
        for limit in [1, 3] {
            let seats = seats(limit);
            let held = [AtomicU32::new(0), AtomicU32::new(0)];
            let barrier = Barrier::new(THREADS);
            let contend = || {
                barrier.wait();
                for round in 0..60_000_usize {
                    let at = round / 3 % 2;
                    let Some(seat) = seats.take(sources[at]) else { continue };
                    let now = held[at].fetch_add(1, Ordering::SeqCst) + 1;
                    assert!(now <= limit, "{now} sessions of a source that may have {limit}");
                    if round % 16 == 0 {
                        std::thread::yield_now();
                    }
                    held[at].fetch_sub(1, Ordering::SeqCst);
                    drop(seat);
                }
            };
            std::thread::scope(|scope| {
                (0..THREADS).for_each(|_| drop(scope.spawn(contend)));
            });
            assert_eq!(entries(&seats), 0);
        }
    }

    #[test]
    fn as_many_threads_as_a_source_has_seats_all_get_one() {
        const THREADS: usize = 4;
        let seats = seats(4);
        let barrier = Barrier::new(THREADS);
        let (seats, barrier) = (&seats, &barrier);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(move || {
                    for _ in 0..5_000 {
                        barrier.wait();
                        let seat = seats.take(ip("192.0.2.1"));
                        assert!(seat.is_some(), "a source with fewer sessions was refused");
                        drop(seat);
                    }
                });
            }
        });
        assert_eq!(entries(seats), 0);
    }
}
