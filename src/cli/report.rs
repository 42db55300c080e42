//! Ready and summary for people: grouped by cause, never a line an endpoint.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::json::Reachable;
use super::plan::counted;
use ipcow::control::SummaryTotals;
use ipcow::process::Confinement;
use ipcow::service::{Snapshot, Summary};
use ipcow::spec::{Endpoint, compress};
use ipcow::supervision::{ChunkState, EndpointFailure, Fault, Ready, WorkerState};

/// Longest list of endpoints. Unit: characters.
const LISTED: usize = 400;
/// Most threads or chunks that the picture draws one by one.
const DRAWN: usize = 16;

/// What is said when the service is ready.
pub(crate) fn ready(ready: &Ready, reachable: &Reachable) -> String {
    let counts = ready.endpoints;
    let mut text = format!(
        "{} after {} ms: {} of {} listen ({}, {})\n",
        if ready.is_complete() { "ready" } else { "degraded" },
        ready.elapsed.as_millis(),
        counts.listening,
        counted(counts.total, "endpoint"),
        counted(ready.workers as u64, "worker"),
        counted(ready.chunks.total, "chunk")
    );
    if !ready.bound.is_empty() {
        let bound = compress(ready.bound.iter().copied(), LISTED);
        _ = writeln!(text, "  bound: {bound}");
    }
    let Reachable { control, admin } = reachable;
    if let Some(path) = control {
        _ = writeln!(text, "  control: {path}");
    }
    if let Some(address) = admin {
        _ = writeln!(text, "  admin: http://{address}");
    }
    causes(&mut text, &ready.failures, counts.total - counts.listening);
    text
}

/// What is said when endpoints that had failed listen.
pub(crate) fn recovered(endpoints: Vec<Endpoint>) -> String {
    if endpoints.is_empty() {
        return String::new();
    }
    let count = counted(endpoints.len() as u64, "endpoint");
    format!("recovered: {count}: {}\n", compress(endpoints, LISTED))
}

/// Writes to the log who the process is and what it may still do.
pub(crate) fn log_confinement(confined: &Confinement) {
    let capabilities = match confined.capabilities.len() {
        0 => "none".to_owned(),
        1..=3 => confined.capabilities.join(", "),
        many => format!("{many} of them"),
    };
    let sandbox = match confined.denied.is_empty() {
        true => "nothing".to_owned(),
        false => confined.denied.join("; "),
    };
    tracing::info!(
        uid = confined.uid,
        gid = confined.gid,
        capabilities,
        no_new_privs = confined.no_new_privs,
        sandbox_denies = sandbox,
        "privileges"
    );
    if !confined.missing.is_empty() {
        let missing = confined.missing.join("; ");
        tracing::warn!(missing, "the sandbox is not complete");
    }
}

/// Writes the summary of a running service to the log (SIGUSR1).
pub(crate) fn log_summary(snapshot: &Snapshot) {
    let Snapshot { endpoints, chunks, totals, .. } = snapshot;
    tracing::info!(
        uptime_ms = u64::try_from(snapshot.uptime.as_millis()).unwrap_or(u64::MAX),
        endpoints_total = endpoints.total,
        endpoints_listening = endpoints.listening,
        endpoints_retrying = endpoints.retrying,
        endpoints_quarantined = endpoints.quarantined,
        endpoints_pending = endpoints.pending,
        chunks_total = chunks.total,
        chunks_completed = chunks.completed,
        chunks_error = chunks.error,
        sessions_accepted = totals.accepted,
        sessions_closed = totals.closed,
        sessions_failed = totals.failed,
        sessions_forced = totals.forced,
        sessions_refused = totals.refusals(),
        sessions_peak = snapshot.peak_sessions,
        hung_workers = snapshot.hung_workers,
        late_reports = snapshot.late_reports,
        datagrams_received = totals.received,
        datagrams_replied = totals.replied,
        datagrams_dropped = totals.dropped.iter().sum::<u64>(),
        tcp_in = totals.tcp_in,
        tcp_out = totals.tcp_out,
        udp_in = totals.udp_in,
        udp_out = totals.udp_out,
        "summary"
    );
}

/// What is said at the end: the source's own picture and the totals.
pub(crate) fn summary(summary: &Summary) -> String {
    let totals = &summary.totals;
    let shown = SummaryTotals::new(totals, summary.peak_sessions, &summary.errors);
    let counts = summary.drain.endpoints;
    let mut text = String::new();
    _ = writeln!(text, "Threads: {}", threads(&summary.drain.picture.workers));
    _ = writeln!(text, "Chunks:  {}", chunks(&summary.drain.picture.chunks));
    _ = writeln!(
        text,
        "Endpoints: {} of {} listened, {} quarantined, {} retrying, {} pending",
        counts.listening, counts.total, counts.quarantined, counts.retrying, counts.pending
    );
    causes(&mut text, &summary.drain.failures, counts.total - counts.listening);
    _ = writeln!(
        text,
        "Connections processed: {} ({} closed, {} failed, {} forced; at most {} at once){}, \
         {} bytes in, {} out",
        totals.accepted,
        totals.closed,
        totals.failed,
        totals.forced,
        summary.peak_sessions,
        list(", refused: ", shown.sessions.refused_by_reason),
        totals.tcp_in,
        totals.tcp_out
    );
    _ = writeln!(
        text,
        "Datagrams: {} received, {} answered{}, {} bytes in, {} out",
        totals.received,
        totals.replied,
        list(", dropped: ", shown.datagrams.dropped),
        totals.udp_in,
        totals.udp_out
    );
    _ = writeln!(
        text,
        "Errors logged: {}{}",
        summary.errors.logged,
        list(": ", shown.errors.by_kind)
    );
    _ = writeln!(text, "Uptime: {}", humantime::format_duration(whole(summary.uptime)));
    text
}

/// A line a cause with all of its endpoints, compressed.
pub(crate) fn causes(text: &mut String, failures: &[EndpointFailure], missing: u64) {
    let mut causes: BTreeMap<(&str, Fault), Vec<Endpoint>> = BTreeMap::new();
    for failed in failures {
        causes.entry((failed.state.as_str(), failed.fault)).or_default().push(failed.endpoint);
    }
    for ((state, fault), endpoints) in causes {
        let name = fault.errno_name().unwrap_or_else(|| fault.kind.as_str().to_owned());
        let count = endpoints.len();
        let endpoints = compress(endpoints, LISTED);
        _ = writeln!(text, "  {count} {state}, {name}: {endpoints}\n    {}", fault.explain());
    }
    let unnamed = missing.saturating_sub(failures.len() as u64);
    if unnamed > 0 && !failures.is_empty() {
        _ = writeln!(text, "  … and {unnamed} more");
    }
}

fn threads(workers: &[WorkerState]) -> String {
    draw(workers, "T", |state| match state {
        WorkerState::Idle => "idle".to_owned(),
        WorkerState::Processing(chunk) => format!("processing {chunk}"),
        WorkerState::Done => "done".to_owned(),
    })
}

fn chunks(chunks: &[ChunkState]) -> String {
    draw(chunks, "C", |state| {
        let name = state.as_str();
        name[..1].to_uppercase() + &name[1..]
    })
}

/// `[ C1(Completed), C2(Error) ]`; a long row is drawn in part and counted.
fn draw<T>(items: &[T], letter: &str, name: impl Fn(&T) -> String) -> String {
    let drawn = items.iter().zip(1..).take(DRAWN);
    let mut parts: Vec<_> =
        drawn.map(|(item, number)| format!("{letter}{number}({})", name(item))).collect();
    if items.len() > DRAWN {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for item in &items[DRAWN..] {
            *counts.entry(name(item)).or_default() += 1;
        }
        let rest = counts.into_iter().map(|(state, count)| format!("{count} {state}"));
        parts.push(format!("… {}", rest.collect::<Vec<_>>().join(", ")));
    }
    format!("[ {} ]", parts.join(", "))
}

fn list(lead: &str, counts: BTreeMap<&str, u64>) -> String {
    if counts.is_empty() {
        return String::new();
    }
    let parts: Vec<_> = counts.into_iter().map(|(name, count)| format!("{count} {name}")).collect();
    format!("{lead}{}", parts.join(", "))
}

/// Without the digits that nobody reads.
fn whole(duration: std::time::Duration) -> std::time::Duration {
    std::time::Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipcow::spec::{Port, Protocol};
    use ipcow::supervision::ChunkId;

    #[test]
    fn the_picture_is_the_source_documents() {
        let workers = [WorkerState::Done, WorkerState::Processing(ChunkId(2))];
        assert_eq!(threads(&workers), "[ T1(done), T2(processing C2) ]");
        let states = [ChunkState::Completed, ChunkState::Error { faults: 1 }];
        assert_eq!(chunks(&states), "[ C1(Completed), C2(Error) ]");
    }

    #[test]
    fn endpoints_that_recover_together_are_one_line() {
        let at = |port| Endpoint {
            protocol: Protocol::Tcp,
            address: std::net::Ipv4Addr::LOCALHOST.into(),
            port: Port::Number(port),
        };
        let text = recovered((8000..8100).map(at).collect());
        assert_eq!(text, "recovered: 100 endpoints: 127.0.0.1:8000-8099\n");
    }

    #[test]
    fn a_long_row_is_counted_instead_of_drawn() {
        let row = chunks(&[ChunkState::Completed; 1_000]);
        assert!(row.ends_with("C16(Completed), … 984 Completed ]"), "{row}");
    }
}
