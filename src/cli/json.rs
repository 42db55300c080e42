//! The objects that `serve --json` prints, one a line (interface §4.1).

use std::time::SystemTime;

use serde::Serialize;

use ipcow::control::SummaryTotals;
use ipcow::service::{AccessCounts, Summary};
use ipcow::spec::Endpoint;
use ipcow::supervision::{ChunkCounts, EndpointCounts, EndpointFailure, Ready, RestartCounts};

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
    #[serde(flatten)]
    reachable: Reachable,
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
    #[serde(flatten)]
    totals: SummaryTotals,
    restarts: RestartCounts,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_log: Option<AccessCounts>,
    failures: Vec<Failure>,
}

/// Where a running instance can be asked, for those who start it.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Reachable {
    /// The path of its control socket.
    pub(crate) control: Option<String>,
    /// Its admin address.
    pub(crate) admin: Option<String>,
}

/// `{"event":"ready",…}`
pub(crate) fn ready(instance: &str, ready: &Ready, reachable: &Reachable) -> String {
    let body = ReadyBody {
        state: if ready.is_complete() { "ready" } else { "degraded" },
        endpoints: ready.endpoints,
        chunks: ready.chunks,
        workers: ready.workers,
        elapsed_ms: millis(ready.elapsed),
        bound: ready.bound.iter().map(Endpoint::to_string).collect(),
        failures: failures(&ready.failures),
        reachable: reachable.clone(),
    };
    line("ready", instance, body)
}

/// `{"event":"recovered",…}`
pub(crate) fn recovered(instance: &str, endpoint: Endpoint) -> String {
    line("recovered", instance, RecoveredBody { endpoint: endpoint.to_string() })
}

/// `{"event":"summary",…}`
pub(crate) fn summary(instance: &str, summary: &Summary) -> String {
    let body = SummaryBody {
        uptime_ms: millis(summary.uptime),
        endpoints: summary.drain.endpoints,
        chunks: summary.drain.chunks,
        totals: SummaryTotals::new(&summary.totals, summary.peak_sessions, &summary.errors),
        restarts: summary.restarts,
        access_log: summary.access_log,
        failures: failures(&summary.drain.failures),
    };
    line("summary", instance, body)
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
