//! Meters: what each endpoint counts, and who was there last.
//!
//! One small block of atomics an endpoint, made when the first client comes: an
//! endpoint to which nobody comes costs 16 bytes. Listeners and sessions write,
//! whoever asks reads; time is an argument.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::table::Slot;

/// Bits of a stamp that hold the time, in milliseconds; the others hold the run.
const TIME_BITS: u32 = 48;
/// Mark of an IPv6 peer in the last word of its address.
const V6: u64 = 1 << 16;

/// What one endpoint counts.
#[derive(Debug, Default)]
struct Block {
    /// Sessions accepted, or datagrams received.
    came: AtomicU64,
    /// Sessions that are over, or datagrams replied to.
    done: AtomicU64,
    /// Sessions refused, or datagrams dropped.
    turned_away: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    /// The run and the time of the last client; 0 = none yet.
    seen: AtomicU64,
    /// The last peer: its address, then family, port and a check of both.
    peer: [AtomicU64; 3],
}

/// The meters of a chunk's endpoints, by slot.
#[derive(Debug, Clone)]
pub struct Meters(Arc<[OnceLock<Box<Block>>]>);

/// The meter of one endpoint; clones count into the same.
#[derive(Debug, Clone)]
pub struct Meter {
    blocks: Arc<[OnceLock<Box<Block>>]>,
    slot: Slot,
}

/// When something was seen: how long after the service's start, in which run.
///
/// A run is what lies between two marks of an operator; it is counted beside
/// the time because the workers' clocks are coarse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Since the service's start.
    pub time: Duration,
    /// Counts the marks; only its last 16 bits are kept.
    pub run: u64,
}

/// What a meter shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reading {
    /// Sessions accepted, or datagrams received.
    pub came: u64,
    /// Sessions that are over, or datagrams that were answered.
    pub done: u64,
    /// Sessions refused, or datagrams dropped.
    pub turned_away: u64,
    /// Payload bytes from clients.
    pub bytes_in: u64,
    /// Payload bytes to clients.
    pub bytes_out: u64,
    /// When a client was last there.
    pub seen: Option<Stamp>,
    /// Who that was. `None` also where two came at once and neither is whole.
    pub peer: Option<SocketAddr>,
}

impl Meters {
    /// Meters of so many endpoints, all at zero.
    #[must_use]
    pub fn new(endpoints: usize) -> Self {
        Self((0..endpoints).map(|_| OnceLock::new()).collect())
    }

    /// The meter of one endpoint; `None` beyond the last.
    #[must_use]
    pub fn of(&self, slot: Slot) -> Option<Meter> {
        let known = (slot as usize) < self.0.len();
        known.then(|| Meter { blocks: Arc::clone(&self.0), slot })
    }

    /// What the meter of an endpoint shows; zeros beyond the last.
    #[must_use]
    pub fn read(&self, slot: Slot) -> Reading {
        let block = self.0.get(slot as usize).and_then(OnceLock::get);
        block.map(|block| block.read()).unwrap_or_default()
    }
}

impl Meter {
    /// A session was accepted.
    pub fn session_accepted(&self, peer: SocketAddr, at: Stamp) {
        self.add(1, 0, 0);
        self.see(Some(peer), at);
    }

    /// A client was refused.
    pub fn session_refused(&self, peer: SocketAddr, at: Stamp) {
        self.add(0, 0, 1);
        self.see(Some(peer), at);
    }

    /// An accepted session is over.
    pub fn session_ended(&self) {
        self.add(0, 1, 0);
    }

    /// A session moved bytes.
    pub fn session_bytes(&self, read: u64, written: u64, at: Stamp) {
        self.add_bytes(read, written);
        if read > 0 {
            self.see(None, at);
        }
    }

    /// Datagrams came, some were answered and some dropped.
    pub fn datagrams(&self, received: u64, replied: u64, dropped: u64) {
        self.add(received, replied, dropped);
    }

    /// Datagrams of these payload bytes were exchanged; the last came from `peer`.
    pub fn datagram_bytes(&self, read: u64, written: u64, peer: Option<SocketAddr>, at: Stamp) {
        self.add_bytes(read, written);
        self.see(peer, at);
    }

    fn block(&self) -> Option<&Block> {
        let block = self.blocks.get(self.slot as usize)?;
        Some(block.get_or_init(Box::default))
    }

    fn add(&self, came: u64, done: u64, turned_away: u64) {
        if came + done + turned_away == 0 {
            return;
        }
        let Some(block) = self.block() else { return };
        let counters = [&block.came, &block.done, &block.turned_away];
        add_all(counters, [came, done, turned_away]);
    }

    fn add_bytes(&self, read: u64, written: u64) {
        if read + written == 0 {
            return;
        }
        let Some(block) = self.block() else { return };
        add_all([&block.bytes_in, &block.bytes_out], [read, written]);
    }

    fn see(&self, peer: Option<SocketAddr>, at: Stamp) {
        let Some(block) = self.block() else { return };
        block.seen.store(at.pack(), Relaxed);
        if let Some(peer) = peer {
            let words = pack(peer);
            for (cell, word) in block.peer.iter().zip(words) {
                cell.store(word, Relaxed);
            }
        }
    }
}

impl Block {
    fn read(&self) -> Reading {
        let load = |cell: &AtomicU64| cell.load(Relaxed);
        // Ends are read first: more may have ended than is seen to have begun.
        let done = load(&self.done);
        Reading {
            came: load(&self.came),
            done,
            turned_away: load(&self.turned_away),
            bytes_in: load(&self.bytes_in),
            bytes_out: load(&self.bytes_out),
            seen: Stamp::unpack(load(&self.seen)),
            peer: unpack([load(&self.peer[0]), load(&self.peer[1]), load(&self.peer[2])]),
        }
    }
}

impl Reading {
    /// Sessions that are not over.
    #[must_use]
    pub const fn active(&self) -> u64 {
        self.came.saturating_sub(self.done)
    }

    /// Whether the last client of this run came from that network.
    #[must_use]
    pub fn is_touched_by(&self, run: u64, network: IpAddr, prefix_bits: u8) -> bool {
        let peer = self.peer.filter(|_| self.is_touched(run));
        peer.is_some_and(|peer| is_within(peer.ip(), network, prefix_bits))
    }

    /// Whether a client was there in this run (see [`Stamp::run`]).
    #[must_use]
    pub fn is_touched(&self, run: u64) -> bool {
        self.seen.is_some_and(|seen| seen.run == kept(run))
    }
}

impl Stamp {
    fn pack(self) -> u64 {
        let millis = u64::try_from(self.time.as_millis()).unwrap_or(u64::MAX);
        // 0 means that nobody came: the first millisecond counts as the second.
        let millis = millis.clamp(1, (1 << TIME_BITS) - 1);
        kept(self.run) << TIME_BITS | millis
    }

    fn unpack(word: u64) -> Option<Self> {
        let time = Duration::from_millis(word & ((1 << TIME_BITS) - 1));
        (word != 0).then_some(Self { time, run: word >> TIME_BITS })
    }
}

/// Whether both addresses begin with the same so many bits.
fn is_within(ip: IpAddr, network: IpAddr, prefix_bits: u8) -> bool {
    let differing = match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => {
            u128::from(u32::from(ip) ^ u32::from(network)).leading_zeros() - 96
        }
        (IpAddr::V6(ip), IpAddr::V6(network)) => {
            (u128::from(ip) ^ u128::from(network)).leading_zeros()
        }
        _ => return false,
    };
    differing >= u32::from(prefix_bits)
}

/// The part of a run's number that is kept.
const fn kept(run: u64) -> u64 {
    run & 0xffff
}

fn add_all<const N: usize>(cells: [&AtomicU64; N], counts: [u64; N]) {
    for (cell, count) in cells.into_iter().zip(counts) {
        if count > 0 {
            cell.fetch_add(count, Relaxed);
        }
    }
}

fn pack(peer: SocketAddr) -> [u64; 3] {
    let (ip, family) = match peer.ip() {
        IpAddr::V4(ip) => (u128::from(u32::from(ip)), 0),
        IpAddr::V6(ip) => (u128::from(ip), V6),
    };
    let (high, low) = halves(ip);
    let place = family | u64::from(peer.port());
    [high, low, check(high, low, place) << 32 | place]
}

fn unpack([high, low, last]: [u64; 3]) -> Option<SocketAddr> {
    let place = last & 0xffff_ffff;
    if last == 0 || check(high, low, place) != last >> 32 {
        // Nobody yet, or words of two peers.
        return None;
    }
    let ip = u128::from(high) << 64 | u128::from(low);
    let port = u16::try_from(place & 0xffff).ok()?;
    let ip = match place & V6 {
        0 => IpAddr::V4(Ipv4Addr::from(u32::try_from(ip).ok()?)),
        _ => IpAddr::V6(Ipv6Addr::from(ip)),
    };
    Some(SocketAddr::new(ip, port))
}

const fn halves(number: u128) -> (u64, u64) {
    let bytes = number.to_be_bytes();
    let mut halves = [0_u64; 2];
    let mut at = 0;
    while at < 16 {
        halves[at / 8] = halves[at / 8] << 8 | bytes[at] as u64;
        at += 1;
    }
    (halves[0], halves[1])
}

/// 32 bits that depend on all of the words; never 0.
const fn check(high: u64, low: u64, place: u64) -> u64 {
    // Odd constants of the 64-bit golden ratio and of xxHash spread the bits.
    let mixed = high.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ low.wrapping_mul(0xc2b2_ae3d_27d4_eb4f)
        ^ place.wrapping_mul(0x1656_67b1_9e37_79f9);
    (mixed ^ mixed >> 29) >> 32 | 1
}
