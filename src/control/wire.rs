//! Counts of a service as its JSON shows them: in a summary, in a status.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::Serialize;

use crate::supervision::{DropReason, EndReason, ErrorReport, Refusal, Totals};

/// What a service did, or did so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SummaryTotals {
    /// TCP sessions.
    pub sessions: Sessions,
    /// UDP datagrams.
    pub datagrams: Datagrams,
    /// Bytes in and out.
    pub bytes: Bytes,
    /// Failures.
    pub errors: Errors,
}

impl SummaryTotals {
    /// The totals as they are shown.
    #[must_use]
    pub fn new(totals: &Totals, peak: u64, errors: &ErrorReport) -> Self {
        let Totals { accepted, closed, failed, forced, .. } = *totals;
        let Totals { received, replied, tcp_in, tcp_out, udp_in, udp_out, .. } = *totals;
        Self {
            sessions: Sessions {
                active: None,
                accepted,
                closed,
                failed,
                forced,
                ended_by_reason: ended(totals),
                refused: totals.refusals(),
                refused_by_reason: refused(totals),
                peak,
            },
            datagrams: Datagrams { received, replied, dropped: dropped(totals) },
            bytes: Bytes { tcp_in, tcp_out, udp_in, udp_out },
            errors: Errors {
                logged: errors.logged,
                dropped: errors.dropped,
                by_kind: errors.by_kind.iter().map(|(kind, n)| (kind.as_str(), *n)).collect(),
            },
        }
    }

    /// Of a service that still runs: some sessions are open.
    #[must_use]
    pub fn running(totals: &Totals, peak: u64, errors: &ErrorReport) -> Self {
        let mut shown = Self::new(totals, peak, errors);
        let ended = totals.closed + totals.failed + totals.forced;
        shown.sessions.active = Some(totals.accepted.saturating_sub(ended));
        shown
    }
}

/// TCP sessions: `accepted` is the sum of `active`, `closed`, `failed` and `forced`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Sessions {
    /// Open now; absent once the service has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<u64>,
    /// Served so far.
    pub accepted: u64,
    /// Ended by themselves.
    pub closed: u64,
    /// Ended by an error.
    pub failed: u64,
    /// Cut off.
    pub forced: u64,
    /// All that are over by their reason; reasons that did not occur are absent.
    pub ended_by_reason: BTreeMap<&'static str, u64>,
    /// Clients that were accepted and closed at once.
    pub refused: u64,
    /// The same by reason; reasons that did not occur are absent.
    pub refused_by_reason: BTreeMap<&'static str, u64>,
    /// Most at once.
    pub peak: u64,
}

/// UDP datagrams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Datagrams {
    /// Delivered by the kernel.
    pub received: u64,
    /// Answered.
    pub replied: u64,
    /// Not answered, by reason; reasons that did not occur are absent.
    pub dropped: BTreeMap<&'static str, u64>,
}

/// Payload bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Bytes {
    /// Read from TCP peers.
    pub tcp_in: u64,
    /// Taken by the kernel for TCP peers.
    pub tcp_out: u64,
    /// In datagrams that came.
    pub udp_in: u64,
    /// In answers.
    pub udp_out: u64,
}

/// Failures that reached the error log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Errors {
    /// All of them.
    pub logged: u64,
    /// Those that did not fit into its queue.
    pub dropped: u64,
    /// The logged ones by kind.
    pub by_kind: BTreeMap<&'static str, u64>,
}

fn ended(totals: &Totals) -> BTreeMap<&'static str, u64> {
    occurred(EndReason::ALL.map(EndReason::as_str), totals.ended)
}

fn refused(totals: &Totals) -> BTreeMap<&'static str, u64> {
    occurred(Refusal::ALL.map(Refusal::as_str), totals.refused)
}

fn dropped(totals: &Totals) -> BTreeMap<&'static str, u64> {
    occurred(DropReason::ALL.map(DropReason::as_str), totals.dropped)
}

/// The reasons that were counted, with their counts.
fn occurred<const N: usize>(
    reasons: [&'static str; N],
    counts: [u64; N],
) -> BTreeMap<&'static str, u64> {
    reasons.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect()
}

/// This moment in RFC 3339, to the millisecond.
pub(super) fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}
