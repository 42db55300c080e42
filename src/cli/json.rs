//! The objects that `serve --json` prints, one a line (interface §4.1).

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::Serialize;

use ipcow::service::Summary;
use ipcow::spec::Endpoint;
use ipcow::supervision::{
    ChunkCounts, DropReason, EndReason, EndpointCounts, EndpointFailure, Ready, Refusal, Totals,
};

/// One line: what happened, when, and to which instance.
#[derive(Debug, Serialize)]
pub(crate) struct Line<'a, T> {
    event: &'static str,
    ts: String,
    instance: &'a str,
    #[serde(flatten)]
    body: T,
}

#[derive(Debug, Serialize)]
struct ReadyBody {
    state: &'static str,
    endpoints: EndpointCounts,
    chunks: ChunkCounts,
    workers: usize,
    elapsed_ms: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    bound: Vec<String>,
    failures: Vec<Failure>,
    control: Option<String>,
    admin: Option<String>,
}

#[derive(Debug, Serialize)]
struct Failure {
    endpoint: String,
    state: &'static str,
    errno: Option<String>,
    error: String,
}

#[derive(Debug, Serialize)]
struct RecoveredBody {
    endpoint: String,
}

#[derive(Debug, Serialize)]
struct SummaryBody {
    uptime_ms: u64,
    endpoints: EndpointCounts,
    chunks: ChunkCounts,
    sessions: Sessions,
    datagrams: Datagrams,
    bytes: Bytes,
    errors: Errors,
    restarts: Restarts,
    failures: Vec<Failure>,
}

#[derive(Debug, Serialize)]
struct Sessions {
    accepted: u64,
    closed: u64,
    failed: u64,
    forced: u64,
    ended_by_reason: BTreeMap<&'static str, u64>,
    refused: u64,
    refused_by_reason: BTreeMap<&'static str, u64>,
    peak: u64,
}

#[derive(Debug, Serialize)]
struct Datagrams {
    received: u64,
    replied: u64,
    dropped: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Serialize)]
struct Bytes {
    tcp_in: u64,
    tcp_out: u64,
    udp_in: u64,
    udp_out: u64,
}

#[derive(Debug, Serialize)]
struct Errors {
    logged: u64,
    dropped: u64,
    by_kind: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Serialize)]
struct Restarts {
    listeners: u64,
    workers: u64,
}

/// `{"event":"ready",…}`
pub(crate) fn ready(instance: &str, ready: &Ready) -> String {
    let body = ReadyBody {
        state: if ready.is_complete() { "ready" } else { "degraded" },
        endpoints: ready.endpoints,
        chunks: ready.chunks,
        workers: ready.workers,
        elapsed_ms: millis(ready.elapsed),
        bound: ready.bound.iter().map(Endpoint::to_string).collect(),
        failures: failures(&ready.failures),
        control: None,
        admin: None,
    };
    line("ready", instance, body)
}

/// `{"event":"recovered",…}`
pub(crate) fn recovered(instance: &str, endpoint: Endpoint) -> String {
    line("recovered", instance, RecoveredBody { endpoint: endpoint.to_string() })
}

/// `{"event":"summary",…}`
pub(crate) fn summary(instance: &str, summary: &Summary) -> String {
    let Totals { accepted, closed, failed, forced, .. } = summary.totals;
    let Totals { received, replied, tcp_in, tcp_out, udp_in, udp_out, .. } = summary.totals;
    let body = SummaryBody {
        uptime_ms: millis(summary.uptime),
        endpoints: summary.drain.endpoints,
        chunks: summary.drain.chunks,
        sessions: Sessions {
            accepted,
            closed,
            failed,
            forced,
            ended_by_reason: ended(&summary.totals),
            refused: summary.totals.refusals(),
            refused_by_reason: refused(&summary.totals),
            peak: summary.peak_sessions,
        },
        datagrams: Datagrams { received, replied, dropped: dropped(&summary.totals) },
        bytes: Bytes { tcp_in, tcp_out, udp_in, udp_out },
        errors: Errors {
            logged: summary.errors.logged,
            dropped: summary.errors.dropped,
            by_kind: summary.errors.by_kind.iter().map(|(kind, n)| (kind.as_str(), *n)).collect(),
        },
        restarts: Restarts {
            listeners: summary.restarts.listeners,
            workers: summary.restarts.workers,
        },
        failures: failures(&summary.drain.failures),
    };
    line("summary", instance, body)
}

/// The reasons for which sessions ended, with their counts.
fn ended(totals: &Totals) -> BTreeMap<&'static str, u64> {
    let counted = EndReason::ALL.into_iter().zip(totals.ended);
    counted.filter(|(_, count)| *count > 0).map(|(reason, n)| (reason.as_str(), n)).collect()
}

/// The reasons for which clients were refused, with their counts.
pub(crate) fn refused(totals: &Totals) -> BTreeMap<&'static str, u64> {
    let counted = Refusal::ALL.into_iter().zip(totals.refused);
    counted.filter(|(_, count)| *count > 0).map(|(reason, n)| (reason.as_str(), n)).collect()
}

/// The reasons for dropping datagrams that occurred, with their counts.
pub(crate) fn dropped(totals: &Totals) -> BTreeMap<&'static str, u64> {
    let counted = DropReason::ALL.into_iter().zip(totals.dropped);
    counted.filter(|(_, count)| *count > 0).map(|(reason, n)| (reason.as_str(), n)).collect()
}

fn failures(failures: &[EndpointFailure]) -> Vec<Failure> {
    let failure = |failed: &EndpointFailure| Failure {
        endpoint: failed.endpoint.to_string(),
        state: failed.state.as_str(),
        errno: failed.fault.errno_name(),
        error: failed.fault.explain(),
    };
    failures.iter().map(failure).collect()
}

fn line(event: &'static str, instance: &str, body: impl Serialize) -> String {
    let ts = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
    // Strings, numbers and maps with string keys: this cannot fail.
    let mut text = serde_json::to_string(&Line { event, ts, instance, body }).unwrap_or_default();
    text.push('\n');
    text
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
