//! How `ipcow status` looks: the state, what hangs, then everything else in a line each.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use super::super::super::escaped;
use super::super::super::plan::counted;
use super::{Datagrams, Errors, Sessions, Summary};

/// Most workers or chunks that are named.
const NAMED: usize = 8;

/// How a service is; states in colour where `color`.
pub(super) fn of(summary: &Summary, color: bool) -> String {
    let mut text = String::new();
    headline(summary, color, &mut text);
    workers_that_hang(summary, color, &mut text);
    let mut line = |name: &str, value: String| _ = writeln!(text, "  {name:<9}  {value}");
    line("endpoints", states(&summary.endpoints, &ENDPOINT_STATES));
    line("chunks", states(&summary.chunks, &CHUNK_STATES));
    line("workers", workers(summary));
    line("sessions", sessions(&summary.sessions));
    line("datagrams", datagrams(&summary.datagrams));
    let bytes = |name: &str| summary.bytes.get(name).copied().unwrap_or(0);
    line(
        "bytes",
        format!(
            "TCP {} in, {} out; UDP {} in, {} out",
            bytes("tcp_in"),
            bytes("tcp_out"),
            bytes("udp_in"),
            bytes("udp_out")
        ),
    );
    line("errors", errors(&summary.errors));
    let restarts = |name: &str| summary.restarts.get(name).copied().unwrap_or(0);
    let (listeners, workers) = (restarts("listeners"), restarts("workers"));
    line("restarts", format!("{}, {}", counted(listeners, "listener"), counted(workers, "worker")));
    if summary.events_lost > 0 {
        line("events", format!("{} lost by slow readers", summary.events_lost));
    }
    let address = |it: &Option<String>| it.as_deref().map_or_else(|| "none".to_owned(), escaped);
    line("control", format!("{}; admin {}", address(&summary.control), address(&summary.admin)));
    text
}

/// The state, how much of the plan listens, and since when.
fn headline(summary: &Summary, color: bool, text: &mut String) {
    let (total, listening) = (summary.endpoint("total"), summary.endpoint("listening"));
    let state = escaped(&summary.state);
    let state = match (color, summary.is_ready()) {
        (false, true) => state,
        (false, false) => state.to_uppercase(),
        (true, true) => format!("\u{1b}[1;32m{state}\u{1b}[0m"),
        (true, false) => format!("\u{1b}[1;31m{}\u{1b}[0m", state.to_uppercase()),
    };
    _ = write!(text, "{state}: {listening} of {} listen", counted(total, "endpoint"));
    if listening < summary.required {
        _ = write!(text, ", coverage.min_bound asks for {}", summary.required);
    }
    let uptime = humantime::format_duration(Duration::from_secs(summary.uptime_ms / 1000));
    _ = writeln!(
        text,
        "\n  instance   {}, up {uptime}, pid {}, ipcow {}",
        escaped(&summary.instance),
        summary.pid,
        escaped(&summary.version)
    );
}

/// A thread that hangs serves nobody and cannot be replaced: that is shouted.
fn workers_that_hang(summary: &Summary, color: bool, text: &mut String) {
    let hung = summary.workers.iter().filter(|worker| worker.hung);
    let numbers: Vec<String> = hung.map(|worker| worker.worker.to_string()).collect();
    if numbers.is_empty() && summary.hung_workers == 0 {
        return;
    }
    let count = summary.hung_workers.max(numbers.len() as u64);
    let verb = if count == 1 { "DOES" } else { "DO" };
    let (on, off) = if color { ("\u{1b}[1;31m", "\u{1b}[0m") } else { ("", "") };
    _ = writeln!(
        text,
        "  {on}{} {verb} NOT ANSWER{off}{}: clients of their endpoints wait; a thread that hangs \
         cannot be replaced while it lives, restart the service if it stays so",
        counted(count, "worker").to_uppercase(),
        if numbers.is_empty() {
            String::new()
        } else {
            format!(" (number {})", shortened(&numbers))
        }
    );
}

const ENDPOINT_STATES: [&str; 6] =
    ["listening", "pending", "retrying", "quarantined", "draining", "suspended"];
const CHUNK_STATES: [&str; 5] = ["completed", "idle", "ready", "processing", "error"];

/// "70: 69 listening, 1 quarantined": what is nowhere is not told.
fn states(counts: &BTreeMap<String, u64>, names: &[&str]) -> String {
    let count = |name: &&str| counts.get(*name).copied().unwrap_or(0);
    let present = names.iter().filter(|name| count(name) > 0);
    let parts: Vec<String> = present.map(|name| format!("{} {name}", count(name))).collect();
    let total = counts.get("total").copied().unwrap_or(0);
    if parts.is_empty() { total.to_string() } else { format!("{total}: {}", parts.join(", ")) }
}

fn workers(summary: &Summary) -> String {
    let mut text = summary.workers.len().to_string();
    let hung = summary.workers.iter().filter(|worker| worker.hung).count();
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    for worker in &summary.workers {
        *states.entry(worker.state.as_str()).or_default() += 1;
    }
    for (index, (state, count)) in states.into_iter().enumerate() {
        let lead = if index == 0 { ": " } else { ", " };
        _ = write!(text, "{lead}{count} {}", escaped(state));
    }
    let opening = summary.workers.iter().filter_map(|worker| worker.chunk);
    let chunks: Vec<String> = opening.map(|chunk| chunk.to_string()).collect();
    if !chunks.is_empty() {
        _ = write!(text, " (chunk {})", shortened(&chunks));
    }
    if hung > 0 {
        _ = write!(text, ", {hung} HUNG");
    }
    text
}

fn sessions(sessions: &Sessions) -> String {
    let Sessions { active, accepted, closed, failed, forced, refused, peak, .. } = sessions;
    format!(
        "{active} active, at most {peak} at once; {accepted} accepted: {closed} closed, {failed} \
         failed, {forced} forced; {refused} refused{}",
        reasons(&sessions.refused_by_reason)
    )
}

fn datagrams(datagrams: &Datagrams) -> String {
    let dropped: u64 = datagrams.dropped.values().sum();
    let Datagrams { received, replied, .. } = datagrams;
    let reasons = reasons(&datagrams.dropped);
    format!("{received} received, {replied} answered, {dropped} dropped{reasons}")
}

fn errors(errors: &Errors) -> String {
    let mut text = format!("{} logged{}", errors.logged, reasons(&errors.by_kind));
    if errors.dropped > 0 {
        _ = write!(text, ", {} dropped", errors.dropped);
    }
    if errors.logged > 0 {
        text.push_str("; `ipcow errors` groups them by cause");
    }
    text
}

/// " (1 limit, 2 source)", the most first; nothing where there is none.
fn reasons(counts: &BTreeMap<String, u64>) -> String {
    let mut counts: Vec<_> = counts.iter().filter(|(_, count)| **count > 0).collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let parts: Vec<String> =
        counts.into_iter().map(|(name, count)| format!("{count} {}", escaped(name))).collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

/// The first few, and how many more.
fn shortened(names: &[String]) -> String {
    match names.len().checked_sub(NAMED) {
        Some(more @ 1..) => format!("{} and {more} more", names[..NAMED].join(", ")),
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUMMARY: &str = r#"{"ts":"2026-11-28T00:00:00.000Z","instance":"default","version":"0.1.0",
        "pid":7,"state":"degraded","ready":true,"required":1,"uptime_ms":3723456,
        "endpoints":{"total":70,"pending":0,"listening":69,"retrying":0,"quarantined":1,"draining":0,"suspended":0},
        "chunks":{"total":2,"idle":0,"ready":0,"processing":0,"completed":1,"error":1},
        "workers":[{"worker":1,"state":"done","chunk":null,"epoch":1,"hung":false,"restart_in_ms":null},
                   {"worker":2,"state":"processing","chunk":2,"epoch":2,"hung":true,"restart_in_ms":null}],
        "hung_workers":1,
        "sessions":{"active":2,"accepted":10,"closed":7,"failed":1,"forced":0,"refused":3,"refused_by_reason":{"limit":1,"source":2},"peak":4},
        "datagrams":{"received":9,"replied":8,"dropped":{"source_port":1}},
        "bytes":{"tcp_in":640,"tcp_out":639,"udp_in":512,"udp_out":448},
        "errors":{"logged":5,"dropped":0,"by_kind":{"bind_in_use":5}},
        "restarts":{"listeners":0,"workers":1},"events_lost":0,"control":"/run/ipcow/default.sock","admin":null}"#;

    fn summary(change: impl FnOnce(&mut serde_json::Value)) -> Summary {
        let mut document = serde_json::from_str(SUMMARY).expect("JSON");
        change(&mut document);
        serde_json::from_value(document).expect("a summary")
    }

    #[test]
    fn the_state_comes_first_and_what_hangs_is_shouted() {
        let summary = summary(|_| {});
        assert!(!summary.is_ready());
        let expected = "\
DEGRADED: 69 of 70 endpoints listen
  instance   default, up 1h 2m 3s, pid 7, ipcow 0.1.0
  1 WORKER DOES NOT ANSWER (number 2): clients of their endpoints wait; a thread that hangs cannot be replaced while it lives, restart the service if it stays so
  endpoints  70: 69 listening, 1 quarantined
  chunks     2: 1 completed, 1 error
  workers    2: 1 done, 1 processing (chunk 2), 1 HUNG
  sessions   2 active, at most 4 at once; 10 accepted: 7 closed, 1 failed, 0 forced; 3 refused (2 source, 1 limit)
  datagrams  9 received, 8 answered, 1 dropped (1 source_port)
  bytes      TCP 640 in, 639 out; UDP 512 in, 448 out
  errors     5 logged (5 bind_in_use); `ipcow errors` groups them by cause
  restarts   0 listeners, 1 worker
  control    /run/ipcow/default.sock; admin none
";
        assert_eq!(of(&summary, false), expected);
        assert!(of(&summary, true).starts_with("\u{1b}[1;31mDEGRADED\u{1b}[0m: 69"));
    }

    #[test]
    fn ready_is_ready_only_at_or_above_the_bound() {
        let ready = |change: fn(&mut serde_json::Value)| {
            let changed = summary(|document| {
                document["state"] = "ready".into();
                document["workers"] = serde_json::json!([]);
                document["hung_workers"] = 0.into();
                change(document);
            });
            (changed.is_ready(), of(&changed, false).lines().next().unwrap_or("").to_owned())
        };
        assert_eq!(ready(|_| {}), (true, "ready: 69 of 70 endpoints listen".to_owned()));
        let below = ready(|document| {
            document["ready"] = false.into();
            document["required"] = 70.into();
        });
        let line = "READY: 69 of 70 endpoints listen, coverage.min_bound asks for 70";
        assert_eq!(below, (false, line.to_owned()));
    }
}
