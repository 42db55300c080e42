//! What a scrape says of a snapshot, and in which form.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::service::{AccessCounts, Snapshot};
use crate::supervision::{
    ChunkCounts, EndReason, EndpointCounts, RestartCounts, Totals, WorkerCounters,
};

fn snapshot(totals: Totals) -> Snapshot {
    Snapshot {
        endpoints: EndpointCounts { total: 3, listening: 2, suspended: 1, ..Default::default() },
        chunks: ChunkCounts { total: 1, completed: 1, ..Default::default() },
        totals,
        peak_sessions: 0,
        hung_workers: 0,
        events_lost: 0,
        access_log: Some(AccessCounts::new(8, 9)),
        late_reports: 0,
        errors_dropped: 7,
        required: 1,
        decided: true,
        draining: false,
        restarts: RestartCounts { listeners: 4, workers: 5 },
        uptime: Duration::ZERO,
    }
}

/// Each series of a page with its value.
fn series(page: &str) -> BTreeMap<&str, &str> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').expect("a series and a value")).collect()
}

#[test]
fn every_series_is_there_from_the_start() {
    let page = render(snapshot(Totals::default()), Format::Text);
    let series = series(&page);
    let labelled = |name: &str| {
        let prefix = format!("ipcow_{name}{{");
        series.keys().filter(|key| key.starts_with(&prefix)).count()
    };
    let expected = [
        ("endpoints", 6),
        ("chunks", 5),
        ("bind_failures_total", FaultKind::OF_OPENING.len()),
        ("sessions_closed_total", EndReason::ALL.len()),
        ("sessions_refused_total", Refusal::ALL.len()),
        ("received_bytes_total", 2),
        ("sent_bytes_total", 2),
        ("datagrams_dropped_total", DropReason::ALL.len()),
        ("restarts_total", 2),
        ("bind_duration_seconds_bucket", 13),
        ("build_info", 1),
    ];
    for (name, count) in expected {
        assert_eq!(labelled(name), count, "{name}\n{page}");
    }
    for name in ["sessions_accepted_total", "sessions_active", "datagrams_received_total"] {
        assert_eq!(series.get(format!("ipcow_{name}").as_str()), Some(&"0"), "{page}");
    }
    assert_eq!(series["ipcow_retries_total"], "0");
    assert_eq!(series["ipcow_errors_dropped_total"], "7");
    assert_eq!(series["ipcow_restarts_total{part=\"worker\"}"], "5");
    assert_eq!(series["ipcow_endpoints{state=\"suspended\"}"], "1");
    assert_eq!(series["ipcow_access_log_written_total"], "8");
    assert_eq!(series["ipcow_access_log_dropped_total"], "9");
    assert_eq!(series["ipcow_access_log_untracked_total"], "0");
    let unlabelled = 11;
    let all: usize = expected.iter().map(|(_, count)| count).sum();
    assert_eq!(series.len(), all + unlabelled - 1, "nothing else is there\n{page}");
}

#[test]
fn a_histogram_s_buckets_hold_all_that_took_no_longer() {
    let block = WorkerCounters::default();
    for micros in [10, 11, 3_000_000] {
        block.bind_took(Duration::from_micros(micros));
    }
    block.session_accepted();
    block.session_ended(EndReason::Forced);
    let page = render(snapshot(Totals::sum([&block])), Format::Text);
    let series = series(&page);
    let bucket = |bound: &str| {
        let key = format!("ipcow_bind_duration_seconds_bucket{{le=\"{bound}\"}}");
        *series.get(key.as_str()).unwrap_or_else(|| panic!("no {key}\n{page}"))
    };
    assert_eq!(["1e-05", "2.5e-05", "1", "+Inf"].map(bucket), ["1", "2", "2", "3"], "{page}");
    assert_eq!(series["ipcow_bind_duration_seconds_count"], "3");
    assert_eq!(series["ipcow_bind_duration_seconds_sum"], "3.000021");
    assert_eq!(series["ipcow_sessions_closed_total{reason=\"forced\"}"], "1");
}

#[test]
fn help_and_type_name_what_follows_them_in_either_form() {
    let text = render(snapshot(Totals::default()), Format::Text);
    assert!(text.contains("# TYPE ipcow_received_bytes_total counter\n"), "{text}");
    assert!(text.contains("# TYPE ipcow_build_info gauge\n"), "{text}");
    assert!(!text.contains("# EOF"), "{text}");
    let open = render(snapshot(Totals::default()), Format::OpenMetrics);
    assert!(open.contains("# TYPE ipcow_received_bytes counter\n"), "{open}");
    assert!(open.contains("# UNIT ipcow_received_bytes bytes\n"), "{open}");
    assert!(open.ends_with("# EOF\n"), "{open}");
}

#[test]
fn a_client_gets_the_format_that_it_names_first() {
    let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,\
                      application/openmetrics-text;version=0.0.1;q=0.4,\
                      text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    assert_eq!(Format::accepted(Some(prometheus)), Format::OpenMetrics);
    for accept in [
        None,
        Some("*/*"),
        Some(""),
        Some("text/plain"),
        Some("text/plain;q=0.6, application/openmetrics-text;q=0.5"),
        Some("application/openmetrics-text;q=0"),
        Some("application/openmetrics-text;q=much"),
    ] {
        assert_eq!(Format::accepted(accept), Format::Text, "{accept:?}");
    }
}
