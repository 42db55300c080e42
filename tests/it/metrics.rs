//! What Prometheus sees: every series checked by its own tool, and its values
//! against the summary.

use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipcow::config::load_str;
use ipcow::control::metrics::{Format, render};
use ipcow::service::{AccessLog, Service, ServiceHandle, Snapshot};
use ipcow::supervision::{EndReason, FaultKind};

use crate::common::{
    Api, Block, DEADLINE, Ipcow, Need, connect, echo_tcp, echo_udp, eventually, needs, udp_client,
};

fn start(keys: &str, spec: &str) -> ServiceHandle {
    let mut config = load_str("test", &format!("# Keys:\n{keys}")).expect("legal keys").config;
    config.groups.clear();
    let log = AccessLog::open(&config.access_log).expect("it can be written");
    let mut builder = Service::builder().config(config).listen(spec).expect("a legal spec");
    if let Some(log) = log {
        log.start().expect("a thread");
        builder = builder.access_log(Arc::new(log));
    }
    builder.build().expect("a plan").start().expect("threads")
}

fn scrape(snapshot: Snapshot) -> String {
    render(snapshot, Format::Text)
}

/// The value of a series; the sum over its labels where it is named without.
fn value(page: &str, series: &str) -> u64 {
    let found = page
        .lines()
        .filter_map(|line| line.strip_prefix("ipcow_"))
        .filter(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with([' ', '{'])));
    let values = found.map(|line| line.rsplit(' ').next().expect("a value"));
    let values: Vec<u64> = values.map(|text| text.parse().expect("a count")).collect();
    assert!(!values.is_empty(), "no series {series} in\n{page}");
    values.iter().sum()
}

/// What `promtool check metrics` finds fault with.
fn promtool(page: &str) -> String {
    let mut tool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    tool.stdin.take().expect("a pipe").write_all(page.as_bytes()).expect("it reads");
    let done = tool.wait_with_output().expect("it ends");
    let said = [done.stdout, done.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert_eq!(done.status.success(), said.is_empty(), "{said}");
    said
}

#[tokio::test]
async fn every_figure_is_that_of_the_summary_and_promtool_has_nothing_to_say() {
    let block = Block::new();
    let taken = TcpListener::bind(block.at(18_000)).expect("a fresh address");
    let spec = format!("both://{}:18000-18001", block.ip(0));
    let folder = tempfile::tempdir().expect("a folder");
    let keys = format!(
        "[retry]\nmax_attempts = 3\ninitial_backoff_ms = 1\nquarantine_probe_secs = 0\n\
         [limits]\nmax_sessions_per_source = 2\n[access_log]\npath = {:?}",
        folder.path().join("access.log")
    );
    let handle = start(&keys, &spec);
    let ready = handle.wait_ready().await.expect("it runs");
    assert_eq!(ready.endpoints.quarantined, 1);
    let mut clients = [connect(block.at(18_001)), connect(block.at(18_001))];
    clients.iter_mut().for_each(|client| echo_tcp(client, b"five!"));
    drop(connect(block.at(18_001)));
    echo_udp(&udp_client(block.at(18_000)), b"seven!!");
    assert!(eventually(DEADLINE, || {
        let totals = handle.snapshot().totals;
        (totals.replied, totals.refusals()) == (1, 1)
    }));
    let open = scrape(handle.snapshot());
    assert_eq!(value(&open, "sessions_active"), 2);
    drop(clients);
    let summary = handle.shutdown().await.expect("it drains");
    drop(taken);

    let page = scrape(handle.snapshot());
    let totals = &summary.totals;
    let records = summary.access_log.expect("there is one");
    for (series, expected) in [
        ("sessions_accepted_total", totals.accepted),
        ("sessions_active", 0),
        ("sessions_closed_total", totals.closed + totals.failed + totals.forced),
        ("sessions_closed_total{reason=\"eof\"}", totals.ended(EndReason::Eof)),
        ("sessions_refused_total{reason=\"source_limit\"}", 1),
        ("sessions_refused_total", totals.refusals()),
        ("received_bytes_total{protocol=\"tcp\"}", totals.tcp_in),
        ("received_bytes_total{protocol=\"udp\"}", totals.udp_in),
        ("sent_bytes_total{protocol=\"tcp\"}", totals.tcp_out),
        ("sent_bytes_total{protocol=\"udp\"}", totals.udp_out),
        ("datagrams_received_total", totals.received),
        ("datagrams_dropped_total", 0),
        ("bind_failures_total{reason=\"bind_in_use\"}", 3),
        ("bind_failures_total", 3),
        ("retries_total", 2),
        ("bind_duration_seconds_count", 4 + 2),
        ("restarts_total", 0),
        ("errors_dropped_total", summary.errors.dropped),
        ("access_log_written_total", records.written),
        ("access_log_dropped_total", 0),
        ("access_log_untracked_total", 0),
    ] {
        assert_eq!(value(&page, series), expected, "{series}\n{page}");
    }
    assert_eq!((totals.accepted, totals.tcp_in, totals.udp_in), (2, 10, 7));
    assert_eq!(records.written, 4, "two sessions, a refused client and a flow");
    assert_eq!(summary.errors.by_kind[&FaultKind::BindInUse], 3);
    if needs(&[Need::Tool("promtool")]) {
        assert_eq!(promtool(&page), "");
        assert_eq!(promtool(&open), "");
    }
}

#[test]
fn either_door_gives_the_page_that_the_client_wants() {
    if !needs(&[Need::Tool("curl")]) {
        return;
    }
    let (block, folder) = (Block::new(), tempfile::tempdir().expect("a folder"));
    let socket = folder.path().join("lab.sock");
    let mut server = Ipcow::serve([format!("both://{}:18000", block.ip(0))])
        .args([
            "--admin".as_ref(),
            "127.0.0.1:0".as_ref(),
            "--control".as_ref(),
            socket.as_os_str(),
        ])
        .start();
    let admin = server.ready().0["admin"].as_str().expect("an address").to_owned();
    echo_tcp(&mut connect(block.at(18_000)), b"five!");
    for api in [Api::at(&socket), Api::Address(admin)] {
        let text = api.get("/metrics");
        assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        assert_eq!(value(&text.body, "received_bytes_total{protocol=\"tcp\"}"), 5);
        assert_eq!(value(&text.body, "endpoints{state=\"listening\"}"), 2);
        if needs(&[Need::Tool("promtool")]) {
            assert_eq!(promtool(&text.body), "");
        }
        // What Prometheus sends.
        let wanted = "Accept: application/openmetrics-text;version=1.0.0;q=0.5,\
                      text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let open = api.send("/metrics", &["-H", wanted]);
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert_eq!(open.header("content-type"), Some(kind));
        assert!(open.body.ends_with("# EOF\n"), "{}", open.body);
        api.post("/metrics", &serde_json::json!({})).expect(405);
    }
    let done = server.terminate().expect_code(0);
    assert_eq!(done.summary()["bytes"]["tcp_in"], 5);
}

#[tokio::test]
async fn no_label_is_an_address_and_a_hundred_thousand_endpoints_cost_what_one_does() {
    let block = Block::new();
    let small = start("", &format!("tcp://{}:0", block.ip(0)));
    small.wait_ready().await.expect("it runs");
    let one = scrape(small.snapshot());
    drop(small);
    // Nearly all of them find no descriptor: what counts is that they are known.
    let keys = "[coverage]\nmin_bound = 0\n[limits]\nfd_reserve = 1000000";
    let handle = start(keys, "tcp://127.200.0.0-127.200.0.99:20001-21000");
    handle.wait_ready().await.expect("it runs");
    let page = scrape(handle.snapshot());
    assert_eq!(value(&page, "endpoints"), 100_000);
    assert_eq!(
        value(&page, "bind_failures_total{reason=\"fd_limit\"}"),
        value(&page, "endpoints{state=\"quarantined\"}")
    );
    assert_eq!(page.lines().count(), one.lines().count());
    assert!(page.len() <= 64 * 1024, "{} bytes", page.len());
    assert!(!page.contains("127.") && !page.contains("20001"), "{page}");

    let mut times: Vec<Duration> = (0..21)
        .map(|_| {
            let begun = Instant::now();
            scrape(handle.snapshot());
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    assert!(times[10] <= Duration::from_millis(5), "{times:?}");
}
