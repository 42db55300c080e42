//! States of endpoints and workers, and how many are in each.

use serde::Serialize;

use super::chunk::{ChunkId, ChunkState};

/// Where an endpoint stands. Endpoint states are the truth; chunk states
/// follow from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndpointState {
    /// Not tried yet.
    Pending,
    /// Its socket is bound and served.
    Listening,
    /// Failed; the next attempt is under way or scheduled.
    Retrying,
    /// Attempts used up; a slow probe or an operator may bring it back.
    Quarantined,
    /// An operator's order: accepts nothing new while its sessions end.
    Draining,
    /// An operator's order: closed until it is resumed.
    Suspended,
    /// Removed; it is not listed any more.
    Closed,
}

impl EndpointState {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Listening,
        Self::Retrying,
        Self::Quarantined,
        Self::Draining,
        Self::Suspended,
        Self::Closed,
    ];

    /// Whether an operator keeps it from being opened: it is not missing.
    #[must_use]
    pub const fn is_held(self) -> bool {
        match self {
            Self::Draining | Self::Suspended | Self::Closed => true,
            Self::Pending | Self::Listening | Self::Retrying | Self::Quarantined => false,
        }
    }

    /// Whether it should listen and does not.
    #[must_use]
    pub const fn is_missing(self) -> bool {
        !matches!(self, Self::Listening) && !self.is_held()
    }

    /// The state's name in JSON and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Listening => "listening",
            Self::Retrying => "retrying",
            Self::Quarantined => "quarantined",
            Self::Draining => "draining",
            Self::Suspended => "suspended",
            Self::Closed => "closed",
        }
    }
}

/// How many endpoints are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EndpointCounts {
    /// All of the plan.
    pub total: u64,
    /// Not tried yet.
    pub pending: u64,
    /// Bound and served.
    pub listening: u64,
    /// Failed and to be tried again.
    pub retrying: u64,
    /// Failed for good, as far as is known.
    pub quarantined: u64,
    /// Accepting nothing new while their sessions end.
    pub draining: u64,
    /// Closed by an operator.
    pub suspended: u64,
}

impl EndpointCounts {
    /// Counts one endpoint of this state; one that is closed counts nowhere.
    pub const fn enter(&mut self, state: EndpointState) {
        if let Some(count) = self.of(state) {
            *count += 1;
            self.total += 1;
        }
    }

    /// Takes back what [`Self::enter`] did.
    pub const fn leave(&mut self, state: EndpointState) {
        if let Some(count) = self.of(state) {
            *count -= 1;
            self.total -= 1;
        }
    }

    const fn of(&mut self, state: EndpointState) -> Option<&mut u64> {
        Some(match state {
            EndpointState::Pending => &mut self.pending,
            EndpointState::Listening => &mut self.listening,
            EndpointState::Retrying => &mut self.retrying,
            EndpointState::Quarantined => &mut self.quarantined,
            EndpointState::Draining => &mut self.draining,
            EndpointState::Suspended => &mut self.suspended,
            EndpointState::Closed => return None,
        })
    }
}

/// How many chunks are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ChunkCounts {
    /// All of the plan.
    pub total: u64,
    /// Planned.
    pub idle: u64,
    /// On the stack.
    pub ready: u64,
    /// Being opened.
    pub processing: u64,
    /// Every endpoint listens.
    pub completed: u64,
    /// At least one endpoint does not.
    pub error: u64,
}

impl ChunkCounts {
    /// The count of one state.
    pub const fn of(&mut self, state: ChunkState) -> &mut u64 {
        match state {
            ChunkState::Idle => &mut self.idle,
            ChunkState::Ready => &mut self.ready,
            ChunkState::Processing { .. } => &mut self.processing,
            ChunkState::Completed => &mut self.completed,
            ChunkState::Error { .. } => &mut self.error,
        }
    }
}

/// What a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerState {
    /// Waits for a chunk.
    Idle,
    /// Opens a chunk.
    Processing(ChunkId),
    /// The stack is empty: it only serves.
    Done,
}
