//! The board: where the Supervisor writes its counts for others to read.
//!
//! Plain atomics, written by one actor. A reader may see one count newer than
//! another; exact figures come from the table itself.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use super::states::{ChunkCounts, EndpointCounts};

/// The last published counts of endpoints and chunks.
#[derive(Debug, Default)]
pub struct Board {
    endpoints: [AtomicU64; 7],
    chunks: [AtomicU64; 6],
    hung: AtomicU64,
    late: AtomicU64,
    required: AtomicU64,
    decided: AtomicBool,
    draining: AtomicBool,
}

impl Board {
    /// Publishes these counts.
    pub fn publish(&self, endpoints: EndpointCounts, chunks: ChunkCounts) {
        let EndpointCounts {
            total,
            pending,
            listening,
            retrying,
            quarantined,
            draining,
            suspended,
        } = endpoints;
        store(
            &self.endpoints,
            [total, pending, listening, retrying, quarantined, draining, suspended],
        );
        let ChunkCounts { total, idle, ready, processing, completed, error } = chunks;
        store(&self.chunks, [total, idle, ready, processing, completed, error]);
    }

    /// Publishes how many workers do not answer.
    pub fn publish_hung(&self, workers: u64) {
        self.hung.store(workers, Relaxed);
    }

    /// How many workers do not answer.
    #[must_use]
    pub fn hung(&self) -> u64 {
        self.hung.load(Relaxed)
    }

    /// Publishes how many reports were refused because they came too late.
    pub fn publish_late(&self, reports: u64) {
        self.late.store(reports, Relaxed);
    }

    /// How many reports were refused because they came too late.
    #[must_use]
    pub fn late(&self) -> u64 {
        self.late.load(Relaxed)
    }

    /// Publishes how many endpoints must listen.
    pub fn publish_required(&self, endpoints: u64) {
        self.required.store(endpoints, Relaxed);
    }

    /// How many endpoints must listen.
    #[must_use]
    pub fn required(&self) -> u64 {
        self.required.load(Relaxed)
    }

    /// Publishes that every endpoint was decided once, or waited for long enough.
    pub fn publish_decided(&self) {
        self.decided.store(true, Relaxed);
    }

    /// Whether every endpoint was decided once, or waited for long enough.
    #[must_use]
    pub fn is_decided(&self) -> bool {
        self.decided.load(Relaxed)
    }

    /// Publishes that the service drains.
    pub fn publish_draining(&self) {
        self.draining.store(true, Relaxed);
    }

    /// Whether the service drains.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// How many endpoints are in each state.
    #[must_use]
    pub fn endpoints(&self) -> EndpointCounts {
        let [total, pending, listening, retrying, quarantined, draining, suspended] =
            load(&self.endpoints);
        EndpointCounts { total, pending, listening, retrying, quarantined, draining, suspended }
    }

    /// How many chunks are in each state.
    #[must_use]
    pub fn chunks(&self) -> ChunkCounts {
        let [total, idle, ready, processing, completed, error] = load(&self.chunks);
        ChunkCounts { total, idle, ready, processing, completed, error }
    }
}

fn store<const N: usize>(cells: &[AtomicU64; N], values: [u64; N]) {
    for (cell, value) in cells.iter().zip(values) {
        cell.store(value, Relaxed);
    }
}

fn load<const N: usize>(cells: &[AtomicU64; N]) -> [u64; N] {
    std::array::from_fn(|index| cells[index].load(Relaxed))
}
