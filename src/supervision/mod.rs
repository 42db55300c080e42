//! How chunks live, how failures are judged, and what is counted.
//!
//! Pure: no actor, no runtime, no clock (time is an argument), no socket (the
//! table is generic over what it holds for a listening endpoint).

mod access_record;
mod bind_times;
mod board;
mod chunk;
mod counters;
mod coverage;
mod deadlines;
mod drop_reason;
mod end_reason;
mod error_groups;
mod event;
mod failure;
mod intensity;
mod line_budget;
mod listing;
mod load;
mod meter;
mod refusal;
mod report;
mod restart_counters;
mod retry;
mod source_limits;
mod states;
mod table;

pub use access_record::{AccessReason, AccessRecord, RecordId};
pub use bind_times::BindTimes;
pub use chunk::{ChunkId, ChunkState, WorkerId};
pub use counters::Totals;
pub use drop_reason::DropReason;
pub use end_reason::{EndReason, SessionEnd};
pub use error_groups::{ErrorGroup, ErrorScope};
pub use event::{
    ChunkChange, EndpointBatch, EndpointChange, EndpointFailures, Event, Limit, Occurrence, Order,
    Outlook, PartKind, Replanning,
};
pub use failure::{Fault, FaultClass, FaultKind};
pub use listing::{ChunkInfo, EndpointInfo, Listing, PlanDiff, Status, WorkerInfo};
pub use load::Load;
pub use meter::{Reading, Stamp};
pub use refusal::Refusal;
pub use report::{
    DrainReport, EndpointFailure, ErrorReport, MAX_BOUND, MAX_FAILURES, Picture, Ready,
};
pub use restart_counters::RestartCounts;
pub use states::{ChunkCounts, EndpointCounts, EndpointState, WorkerState};

// What the tree is made of, and its benchmarks measure: no part of the public face, and
// it may change at any time.
#[doc(hidden)]
pub use board::Board;
#[doc(hidden)]
pub use chunk::{ChunkEvent, IllegalTransition, Lease};
#[doc(hidden)]
pub use counters::{SessionGauge, WorkerCounters};
#[doc(hidden)]
pub use coverage::{Coverage, Phase};
#[doc(hidden)]
pub use deadlines::{Expired, LINGER, SessionClock, SessionLimits};
#[doc(hidden)]
pub use error_groups::group_failures;
#[doc(hidden)]
pub use intensity::{Charge, RestartPolicy, Restarts};
#[doc(hidden)]
pub use line_budget::{LineBudget, Turn};
#[doc(hidden)]
pub use load::{WorkerLoad, least_loaded};
#[doc(hidden)]
pub use meter::{Meter, Meters};
#[doc(hidden)]
pub use restart_counters::RestartCounters;
#[doc(hidden)]
pub use retry::{RetryPolicy, Verdict};
pub(crate) use source_limits::SourceLimits;
#[doc(hidden)]
pub use table::{
    ChunkTable, Hold, Leased, Outcome, Place, Refused, RowInfo, Slot, StateChange, SubLease,
};
