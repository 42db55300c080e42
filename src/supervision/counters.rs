//! Counters: one block of atomics a worker, summed when somebody asks.
//!
//! Each block is written by one thread and padded to its own cache lines, so
//! counting costs no contention. Reads are exact once the writers are joined.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::bind_times::{BindClock, BindTimes};
use super::drop_reason::DropReason;
use super::end_reason::{EndReason, SessionEnd};
use super::failure::FaultKind;
use super::refusal::Refusal;

/// What one worker counts. Written by its thread alone.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerCounters {
    accepted: AtomicU64,
    ended: [AtomicU64; EndReason::ALL.len()],
    refused: [AtomicU64; Refusal::ALL.len()],
    tcp_in: AtomicU64,
    tcp_out: AtomicU64,
    received: AtomicU64,
    replied: AtomicU64,
    udp_in: AtomicU64,
    udp_out: AtomicU64,
    dropped: [AtomicU64; DropReason::ALL.len()],
    opened: AtomicU64,
    bind_failures: [AtomicU64; FaultKind::OF_OPENING.len()],
    retries: AtomicU64,
    bind_times: BindClock,
}

/// Sums of the blocks of all workers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Sessions that were served. Successes of accept(2) are these and the refused.
    pub accepted: u64,
    /// Sessions that ended by themselves.
    pub closed: u64,
    /// Sessions that an error ended.
    pub failed: u64,
    /// Sessions that were cut off.
    pub forced: u64,
    /// All that are over by their reason, in the order of [`EndReason::ALL`]. Their
    /// sum is that of `closed`, `failed` and `forced`.
    pub ended: [u64; EndReason::ALL.len()],
    /// Clients that were accepted and closed at once, in the order of [`Refusal::ALL`].
    pub refused: [u64; Refusal::ALL.len()],
    /// Bytes read from TCP peers.
    pub tcp_in: u64,
    /// Bytes that the kernel took for TCP peers.
    pub tcp_out: u64,
    /// Datagrams that the kernel delivered.
    pub received: u64,
    /// Datagrams that were answered.
    pub replied: u64,
    /// Payload bytes of received datagrams.
    pub udp_in: u64,
    /// Payload bytes of answers.
    pub udp_out: u64,
    /// Datagrams without an answer, in the order of [`DropReason::ALL`].
    pub dropped: [u64; DropReason::ALL.len()],
    /// Endpoints that were opened, retries included. For progress alone.
    pub opened: u64,
    /// Endpoints that could not be opened, each attempt, in the order of
    /// [`FaultKind::OF_OPENING`].
    pub bind_failures: [u64; FaultKind::OF_OPENING.len()],
    /// Attempts to open an endpoint that had failed since it last listened, and
    /// not by a crash of this program: those are restarts.
    pub retries: u64,
    /// How long opening took.
    pub bind_times: BindTimes,
}

/// Adds to a counter that one thread alone writes, which costs no locked
/// instruction: for what is counted with each message.
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(more), Relaxed);
}

impl WorkerCounters {
    /// A session was accepted.
    pub fn session_accepted(&self) {
        self.accepted.fetch_add(1, Relaxed);
    }

    /// A client was accepted and closed.
    pub fn session_refused(&self, refusal: Refusal) {
        self.refused[refusal.index()].fetch_add(1, Relaxed);
    }

    /// An accepted session is over.
    pub fn session_ended(&self, reason: EndReason) {
        self.ended[reason.index()].fetch_add(1, Relaxed);
    }

    /// A session moved bytes. To be called by the worker's own thread alone.
    pub fn session_bytes(&self, read: u64, written: u64) {
        add(&self.tcp_in, read);
        add(&self.tcp_out, written);
    }

    /// Datagrams came in.
    pub fn datagrams_received(&self, count: u64, bytes: u64) {
        self.received.fetch_add(count, Relaxed);
        self.udp_in.fetch_add(bytes, Relaxed);
    }

    /// Datagrams were answered.
    pub fn datagrams_replied(&self, count: u64, bytes: u64) {
        self.replied.fetch_add(count, Relaxed);
        self.udp_out.fetch_add(bytes, Relaxed);
    }

    /// Datagrams got no answer.
    pub fn datagrams_dropped(&self, reason: DropReason, count: u64) {
        self.dropped[reason.index()].fetch_add(count, Relaxed);
    }

    /// An endpoint was opened.
    pub fn endpoint_opened(&self) {
        self.opened.fetch_add(1, Relaxed);
    }

    /// Endpoints could not be opened.
    pub fn bind_failed(&self, kind: FaultKind, count: u64) {
        self.bind_failures[kind.index_of_opening()].fetch_add(count, Relaxed);
    }

    /// An endpoint that had failed is tried again.
    pub fn retried(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    /// An attempt to open an endpoint took so long.
    pub fn bind_took(&self, time: Duration) {
        self.bind_times.took(time);
    }
}

impl Totals {
    /// The sums of these blocks.
    pub fn sum<'a>(blocks: impl IntoIterator<Item = &'a WorkerCounters>) -> Self {
        let mut sum = Self::default();
        for block in blocks {
            for (reason, counter) in EndReason::ALL.into_iter().zip(&block.ended) {
                sum.session_ended(reason, counter.load(Relaxed));
            }
            // After the ends: no more may have ended than are seen to have begun.
            sum.accepted += block.accepted.load(Relaxed);
            sum.tcp_in += block.tcp_in.load(Relaxed);
            sum.tcp_out += block.tcp_out.load(Relaxed);
            sum.received += block.received.load(Relaxed);
            sum.replied += block.replied.load(Relaxed);
            sum.udp_in += block.udp_in.load(Relaxed);
            sum.udp_out += block.udp_out.load(Relaxed);
            sum.opened += block.opened.load(Relaxed);
            sum.retries += block.retries.load(Relaxed);
            sum.bind_times.add(&block.bind_times);
            for (total, counter) in sum.bind_failures.iter_mut().zip(&block.bind_failures) {
                *total += counter.load(Relaxed);
            }
            for (total, counter) in sum.refused.iter_mut().zip(&block.refused) {
                *total += counter.load(Relaxed);
            }
            for (total, counter) in sum.dropped.iter_mut().zip(&block.dropped) {
                *total += counter.load(Relaxed);
            }
        }
        sum
    }

    fn session_ended(&mut self, reason: EndReason, count: u64) {
        self.ended[reason.index()] += count;
        let sum = match reason.end() {
            SessionEnd::Closed => &mut self.closed,
            SessionEnd::Failed => &mut self.failed,
            SessionEnd::Forced => &mut self.forced,
        };
        *sum += count;
    }

    /// How many sessions ended for this reason.
    #[must_use]
    pub const fn ended(&self, reason: EndReason) -> u64 {
        self.ended[reason.index()]
    }

    /// Clients that were refused, for whatever reason.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.refused.iter().sum()
    }

    /// Sessions that are not over.
    #[must_use]
    pub const fn active(&self) -> u64 {
        self.accepted.saturating_sub(self.closed + self.failed + self.forced)
    }
}

/// How many sessions are open over all workers, and the most there ever were.
#[derive(Debug, Default)]
pub struct SessionGauge {
    active: AtomicU64,
    peak: AtomicU64,
}

impl SessionGauge {
    /// One more.
    pub fn enter(&self) {
        let now = self.active.fetch_add(1, Relaxed) + 1;
        self.peak.fetch_max(now, Relaxed);
    }

    /// One less.
    pub fn leave(&self) {
        self.active.fetch_sub(1, Relaxed);
    }

    /// The most at once so far.
    pub fn peak(&self) -> u64 {
        self.peak.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_the_sum_over_workers() {
        let blocks = [WorkerCounters::default(), WorkerCounters::default()];
        for block in &blocks {
            block.session_accepted();
            block.session_bytes(3, 2);
            block.datagrams_dropped(DropReason::ReceiveBuffer, 4);
            block.session_refused(Refusal::SourceLimit);
            block.bind_failed(FaultKind::BindInUse, 1);
            block.retried();
            block.bind_took(Duration::from_millis(2));
        }
        blocks[0].session_ended(EndReason::Forced);
        let totals = Totals::sum(&blocks);
        assert_eq!((totals.accepted, totals.forced, totals.active()), (2, 1, 1));
        assert_eq!((totals.tcp_in, totals.tcp_out), (6, 4));
        assert_eq!(totals.dropped[DropReason::ReceiveBuffer.index()], 8);
        assert_eq!(totals.bind_failures[FaultKind::BindInUse.index_of_opening()], 2);
        assert_eq!((totals.retries, totals.bind_times.count()), (2, 2));
        assert_eq!((totals.refused[Refusal::SourceLimit.index()], totals.refusals()), (2, 2));
    }

    #[test]
    fn the_sums_are_those_of_the_reasons() {
        let block = WorkerCounters::default();
        for (times, reason) in EndReason::ALL.into_iter().enumerate() {
            for _ in 0..=times {
                block.session_ended(reason);
            }
        }
        let totals = Totals::sum([&block]);
        let over = totals.closed + totals.failed + totals.forced;
        assert_eq!((over, totals.ended.iter().sum()), (78, 78));
        assert_eq!((totals.forced, totals.ended(EndReason::Forced)), (8, 8));
        assert_eq!((totals.closed, totals.failed), (1 + 2 + 3 + 4 + 7, 5 + 6 + 9 + 10 + 11 + 12));
    }

    #[test]
    fn the_peak_stays_when_sessions_leave() {
        let gauge = SessionGauge::default();
        gauge.enter();
        gauge.enter();
        gauge.leave();
        assert_eq!(gauge.peak(), 2);
    }
}
