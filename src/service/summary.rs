//! The summary: what a service did, in exact figures.

use std::time::Duration;

use crate::actors::policy::EndpointFailed;
use crate::actors::records::AccessCounts;
use crate::supervision::{DrainReport, ErrorReport, RestartCounts, Totals};

/// What a service did from its start to its end.
///
/// Totals are exact for what the kernel delivered: `totals.accepted` equals
/// `closed + failed + forced` once the service has stopped, unless a worker's
/// thread hung and was left behind: its sessions are in none of the three.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// From start to the end of the drain.
    pub uptime: Duration,
    /// Endpoints, chunks and workers when the drain began.
    pub drain: DrainReport,
    /// Sessions, datagrams and bytes.
    pub totals: Totals,
    /// Most sessions at once.
    pub peak_sessions: u64,
    /// Failures by kind.
    pub errors: ErrorReport,
    /// Parts of the tree that came back after a crash.
    pub restarts: RestartCounts,
    /// What became of the records of the access log; `None` = there was none.
    pub access_log: Option<AccessCounts>,
    /// The failure because of which the program's own policy ended the service.
    pub escalated: Option<EndpointFailed>,
}
