//! How many parts of the tree came back after a crash.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

/// Restarts so far; written by the Supervisor.
#[derive(Debug, Default)]
pub struct RestartCounters {
    listeners: AtomicU64,
    workers: AtomicU64,
}

/// Restarts of a service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RestartCounts {
    /// Listeners that were started again after a panic.
    pub listeners: u64,
    /// Workers and worker threads that were replaced.
    pub workers: u64,
}

impl RestartCounters {
    /// A listener is started again.
    pub fn listener(&self) {
        self.listeners.fetch_add(1, Relaxed);
    }

    /// A worker is replaced.
    pub fn worker(&self) {
        self.workers.fetch_add(1, Relaxed);
    }

    /// The counts of this moment.
    #[must_use]
    pub fn read(&self) -> RestartCounts {
        RestartCounts {
            listeners: self.listeners.load(Relaxed),
            workers: self.workers.load(Relaxed),
        }
    }
}
