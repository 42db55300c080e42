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
pub use board::Board;
pub use chunk::{ChunkEvent, ChunkId, ChunkState, IllegalTransition, Lease, WorkerId};
pub use counters::{SessionGauge, Totals, WorkerCounters};
pub use coverage::{Coverage, Phase};
pub use deadlines::{Expired, LINGER, SessionClock, SessionLimits};
pub use drop_reason::DropReason;
pub use end_reason::{EndReason, SessionEnd};
pub use error_groups::{ErrorGroup, ErrorScope, group_failures};
pub use event::{
    ChunkChange, EndpointBatch, EndpointChange, EndpointFailures, Event, Limit, Occurrence, Order,
    Outlook, PartKind, Replanning,
};
pub use failure::{Fault, FaultClass, FaultKind};
pub use intensity::{Charge, RestartPolicy, Restarts};
pub use line_budget::{LineBudget, Turn};
pub use listing::{ChunkInfo, EndpointInfo, Listing, PlanDiff, Status, WorkerInfo};
pub use load::{Load, WorkerLoad, least_loaded};
pub use meter::{Meter, Meters, Reading, Stamp};
pub use refusal::Refusal;
pub use report::{
    DrainReport, EndpointFailure, ErrorReport, MAX_BOUND, MAX_FAILURES, Picture, Ready,
};
pub use restart_counters::{RestartCounters, RestartCounts};
pub use retry::{RetryPolicy, Verdict};
pub(crate) use source_limits::SourceLimits;
pub use states::{ChunkCounts, EndpointCounts, EndpointState, WorkerState};
pub use table::{
    ChunkTable, Hold, Leased, Outcome, Place, Refused, RowInfo, Slot, StateChange, SubLease,
};
