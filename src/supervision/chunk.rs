//! The life of a chunk: one transition function, guarded by leases.
//!
//! Holds states, events and leases. Never holds endpoints (see `table`): a
//! chunk's state follows from what was reported under a valid lease.

use std::fmt;

use serde::Serialize;

/// Number of a chunk, from 1; never reused while a service lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ChunkId(pub u32);

impl fmt::Display for ChunkId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "C{}", self.0)
    }
}

/// Number of a worker (an arbiter thread), from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct WorkerId(pub u16);

impl fmt::Display for WorkerId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "T{}", self.0)
    }
}

/// Proof that a worker owns a chunk. No two leases of a service are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The chunk that is owned.
    pub chunk: ChunkId,
    /// The worker that owns it.
    pub worker: WorkerId,
    /// Counts the leases of the service, from 1.
    pub epoch: u64,
}

/// Where a chunk stands.
///
/// ```text
/// idle ─Stacked─► ready ─Leased─► processing ─Opened─► completed
///                   ▲  ▲              │  │                │ ▲
///                   │  └─LeaseRevoked─┘  │    ListenerLost ▼ │ Recovered(0)
///                   │                    └────Failed────► error
///                   └─────────────────RetryDue──────────────┘
///
/// error ─Recovered(n)─► error with n faults
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkState {
    /// Planned, not offered to workers yet.
    Idle,
    /// On the stack: the next free worker takes it.
    Ready,
    /// A worker opens its endpoints.
    Processing {
        /// Whose reports count.
        lease: Lease,
    },
    /// Every endpoint listens.
    Completed,
    /// At least one endpoint does not listen.
    Error {
        /// How many do not. At least 1.
        faults: u32,
    },
}

/// What can happen to a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkEvent {
    /// It was put on the stack.
    Stacked,
    /// A worker took it.
    Leased(Lease),
    /// The holder opened what it was given, and nothing of the chunk is missing.
    Opened(Lease),
    /// The holder is done, and so many endpoints of the chunk do not listen.
    Failed(Lease, u32),
    /// The holder cannot go on (its mailbox is full, or it is gone).
    LeaseRevoked(Lease),
    /// Listeners of an opened chunk were lost; so many do not listen now.
    ListenerLost(u32),
    /// An endpoint of a chunk in error listens again without having been
    /// opened again; so many still do not.
    Recovered(u32),
    /// An endpoint of a chunk in error is due for another attempt.
    RetryDue,
}

/// An event that makes no sense in the state it met. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a chunk that is {state} cannot take {event:?}")]
pub struct IllegalTransition {
    /// The state that was kept.
    pub state: ChunkState,
    /// The event that was refused.
    pub event: ChunkEvent,
}

impl ChunkState {
    /// The state after `event`.
    ///
    /// # Errors
    /// [`IllegalTransition`] where the event makes no sense, also for a report
    /// under a lease that is not the present one.
    pub fn on(self, event: ChunkEvent) -> Result<Self, IllegalTransition> {
        use {ChunkEvent as E, ChunkState as S};
        Ok(match (self, event) {
            (S::Idle, E::Stacked) | (S::Error { .. }, E::RetryDue) => S::Ready,
            (S::Ready, E::Leased(lease)) => S::Processing { lease },
            (S::Processing { lease }, E::Opened(by)) if by == lease => S::Completed,
            (S::Processing { lease }, E::Failed(by, faults)) if by == lease && faults > 0 => {
                S::Error { faults }
            }
            (S::Processing { lease }, E::LeaseRevoked(by)) if by == lease => S::Ready,
            (S::Completed | S::Error { .. }, E::ListenerLost(faults)) if faults > 0 => {
                S::Error { faults }
            }
            (S::Error { .. }, E::Recovered(0)) => S::Completed,
            (S::Error { .. }, E::Recovered(faults)) => S::Error { faults },
            (state, event) => return Err(IllegalTransition { state, event }),
        })
    }

    /// The state's name in JSON and metrics: `"idle"`, `"ready"`, …
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Ready => "ready",
            Self::Processing { .. } => "processing",
            Self::Completed => "completed",
            Self::Error { .. } => "error",
        }
    }
}

impl fmt::Display for ChunkState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lease(epoch: u64) -> Lease {
        Lease { chunk: ChunkId(1), worker: WorkerId(1), epoch }
    }

    #[test]
    fn a_chunk_goes_from_idle_to_completed() {
        let state =
            [ChunkEvent::Stacked, ChunkEvent::Leased(lease(1)), ChunkEvent::Opened(lease(1))]
                .into_iter()
                .try_fold(ChunkState::Idle, ChunkState::on);
        assert_eq!(state, Ok(ChunkState::Completed));
    }

    #[test]
    fn a_stale_lease_cannot_complete_a_chunk() {
        let state = ChunkState::Processing { lease: lease(2) };
        assert!(state.on(ChunkEvent::Opened(lease(1))).is_err());
        assert!(state.on(ChunkEvent::Failed(lease(1), 3)).is_err());
        assert!(state.on(ChunkEvent::LeaseRevoked(lease(1))).is_err());
    }

    #[test]
    fn a_chunk_in_error_is_ready_again_when_a_retry_is_due() {
        assert_eq!(ChunkState::Error { faults: 1 }.on(ChunkEvent::RetryDue), Ok(ChunkState::Ready));
    }

    #[test]
    fn a_completed_chunk_that_loses_a_listener_is_in_error() {
        let state = ChunkState::Completed.on(ChunkEvent::ListenerLost(1));
        assert_eq!(state, Ok(ChunkState::Error { faults: 1 }));
    }

    #[test]
    fn a_chunk_in_error_recovers_fault_by_fault() {
        let state = ChunkState::Error { faults: 2 }.on(ChunkEvent::Recovered(1));
        assert_eq!(state, Ok(ChunkState::Error { faults: 1 }));
        let state = state.and_then(|state| state.on(ChunkEvent::Recovered(0)));
        assert_eq!(state, Ok(ChunkState::Completed));
        assert!(ChunkState::Completed.on(ChunkEvent::Recovered(0)).is_err());
        assert!(ChunkState::Ready.on(ChunkEvent::Recovered(0)).is_err());
    }

    #[test]
    fn an_error_without_a_fault_is_no_error() {
        let state = ChunkState::Processing { lease: lease(1) };
        assert!(state.on(ChunkEvent::Failed(lease(1), 0)).is_err());
    }

    fn any_event() -> impl Strategy<Value = ChunkEvent> {
        prop_oneof![
            Just(ChunkEvent::Stacked),
            (1..4_u64).prop_map(|epoch| ChunkEvent::Leased(lease(epoch))),
            (1..4_u64).prop_map(|epoch| ChunkEvent::Opened(lease(epoch))),
            (1..4_u64, 0..3_u32).prop_map(|(epoch, n)| ChunkEvent::Failed(lease(epoch), n)),
            (1..4_u64).prop_map(|epoch| ChunkEvent::LeaseRevoked(lease(epoch))),
            (0..3_u32).prop_map(ChunkEvent::ListenerLost),
            Just(ChunkEvent::RetryDue),
            (0..3_u32).prop_map(ChunkEvent::Recovered),
        ]
    }

    proptest! {
        #[test]
        fn only_the_present_lease_ends_processing(events in prop::collection::vec(any_event(), 0..40)) {
            let mut state = ChunkState::Idle;
            for event in events {
                let Ok(next) = state.on(event) else { continue };
                if let ChunkState::Processing { lease } = state {
                    let by = match event {
                        ChunkEvent::Opened(by) | ChunkEvent::Failed(by, _) | ChunkEvent::LeaseRevoked(by) => by,
                        other => panic!("{other:?} ended processing"),
                    };
                    prop_assert_eq!(by, lease);
                }
                if let ChunkState::Error { faults } = next {
                    prop_assert!(faults > 0);
                }
                state = next;
            }
        }
    }
}
