//! The access log: one line a session, refused client or flow, none lost uncounted and
//! none split, whatever becomes of the file.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use serde_json::Value;

use crate::common::{
    Block, DEADLINE, Ipcow, Running, connect, echo_all_tcp, echo_tcp, echo_udp, eventually,
    raise_own_descriptor_limit, read_to_fin, udp_client,
};

/// A server that records, and where.
struct Recorded {
    server: Running,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

fn serve(specs: &[String], settings: &[&str]) -> Recorded {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("access.log");
    let command = Ipcow::serve(specs).set(&format!("access_log.path={}", file.display()));
    let server = settings.iter().fold(command, |it, setting| it.set(setting)).start();
    Recorded { server, file, _folder: folder }
}

/// The records in a file; each line must be one, whole.
fn records(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).expect("a log of text");
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is whole");
    text.lines()
        .map(|line| {
            serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("not a record ({error}): {line:?}"))
        })
        .collect()
}

fn word(record: &Value, key: &str) -> String {
    record[key].as_str().unwrap_or_else(|| panic!("{key} in {record}")).to_owned()
}

/// Waits for the record of this client.
fn record_of(file: &Path, client: SocketAddr) -> Value {
    let mut found = None;
    let there = eventually(DEADLINE, || {
        let text = fs::read_to_string(file).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let mut all = whole.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        found = all.find(|record| record["peer"] == client.to_string());
        found.is_some()
    });
    assert!(there, "no record of {client}");
    found.expect("just found")
}

fn own(client: &TcpStream) -> SocketAddr {
    client.local_addr().expect("it is connected")
}

fn reason(file: &Path, client: SocketAddr) -> String {
    word(&record_of(file, client), "reason")
}

fn reset(client: TcpStream) {
    let client = socket2::Socket::from(client);
    client.set_linger(Some(Duration::ZERO)).expect("a TCP socket");
}

#[test]
fn a_session_is_one_line_with_everything_that_the_interface_names() {
    let block = Block::new();
    let at = block.at(18_000);
    let mut log = serve(&[format!("tcp://{at}")], &["access_log.capture_bytes=64"]);
    log.server.ready();
    let client = connect(at);
    let peer = own(&client);
    assert_eq!(
        echo_all_tcp(client, b"\x1b[31mred\nand \"quoted\""),
        b"\x1b[31mred\nand \"quoted\""
    );
    let record = record_of(&log.file, peer);
    for (key, value) in [("protocol", "tcp"), ("group", "cli"), ("reason", "eof")] {
        assert_eq!(word(&record, key), value, "{record}");
    }
    assert_eq!(word(&record, "local"), at.to_string());
    assert_eq!((&record["bytes"]["in"], &record["bytes"]["out"]), (&21.into(), &21.into()));
    assert!(record["duration_ms"].as_u64().is_some_and(|time| time < 60_000), "{record}");
    assert!(humantime::parse_rfc3339(&word(&record, "ts")).is_ok(), "{record}");
    assert_eq!(word(&record, "capture"), r#"\x1b[31mred\nand \"quoted\""#);
    let raw = fs::read(&log.file).expect("a log");
    assert!(!raw.contains(&0x1b), "no byte of a client is raw");
    let done = log.server.terminate().expect_code(0);
    assert_eq!(done.summary()["access_log"]["written"], 1);
}

#[test]
fn every_reason_has_its_word_and_the_refused_have_lines_too() {
    let block = Block::new();
    let at = block.at(18_000);
    let settings = ["session.idle_timeout_secs=1", "listen_defaults.termination=!!quit!!"];
    let mut log = serve(&[format!("tcp://{at}")], &settings);
    log.server.ready();
    let [idle, mut quits, resets] = [connect(at), connect(at), connect(at)];
    let peers = [&idle, &quits, &resets].map(own);
    quits.write_all(b"so long!!quit!!").expect("it reads");
    assert_eq!(read_to_fin(&mut quits), b"so long");
    drop(quits);
    let mut resets = resets;
    echo_tcp(&mut resets, b"then gone");
    reset(resets);
    let words = peers.map(|peer| reason(&log.file, peer));
    assert_eq!(words, ["idle", "terminated", "reset"]);
    let summary = log.server.terminate().expect_code(0).summary();
    assert_eq!(summary["access_log"]["written"], summary["sessions"]["accepted"]);
    drop(idle);

    let settings = ["session.max_lifetime_secs=1", "shutdown.drain_timeout_secs=1"];
    let mut log = serve(&[format!("tcp://{at}")], &settings);
    log.server.ready();
    let old = connect(at);
    assert_eq!(reason(&log.file, own(&old)), "lifetime");
    log.server.terminate().expect_code(0);

    // The busy one must not seem quiet where its client waits for a core.
    let settings = ["shutdown.drain_timeout_secs=3", "shutdown.quiet_ms=1000"];
    let mut log = serve(&[format!("tcp://{at}")], &settings);
    log.server.ready();
    let (mut quiet, mut busy) = (connect(at), connect(at));
    echo_tcp(&mut quiet, b"done");
    let chatter = busy.try_clone().expect("a socket can be shared");
    let peers = [own(&quiet), own(&busy)];
    echo_tcp(&mut busy, b"on");
    let talks = std::thread::spawn(move || {
        let mut chatter = chatter;
        while chatter.write_all(b"x").is_ok() && chatter.read(&mut [0; 64]).is_ok_and(|it| it > 0) {
            std::thread::park_timeout(Duration::from_millis(10));
        }
    });
    log.server.terminate().expect_code(5);
    assert_eq!(peers.map(|peer| reason(&log.file, peer)), ["drain", "forced"]);
    talks.join().expect("no panic");
}

#[test]
fn the_refused_have_lines_by_limit_and_by_source() {
    let block = Block::new();
    let at = block.at(18_000);
    let settings = ["limits.max_sessions=1", "limits.on_limit=close"];
    let mut log = serve(&[format!("tcp://{at}")], &settings);
    log.server.ready();
    let mut first = connect(at);
    echo_tcp(&mut first, b"in");
    let mut second = connect(at);
    assert_eq!(read_to_fin(&mut second), b"");
    assert_eq!(reason(&log.file, own(&second)), "refused_limit");
    drop(first);
    let summary = log.server.terminate().expect_code(0).summary();
    assert_eq!(summary["access_log"]["written"], 2);

    let settings = ["listen_defaults.deny_from=[\"127.0.0.0/8\"]"];
    let mut log = serve(&[format!("both://{at}")], &settings);
    log.server.ready();
    let mut denied = connect(at);
    assert_eq!(read_to_fin(&mut denied), b"");
    assert_eq!(reason(&log.file, own(&denied)), "refused_source");
    let datagrams = udp_client(at);
    datagrams.send(b"nobody answers").expect("it leaves");
    let from = datagrams.local_addr().expect("an address");
    // The flow ends with the service.
    log.server.terminate().expect_code(0);
    assert_eq!(reason(&log.file, from), "refused_source");
}

#[test]
fn a_flow_is_one_line_and_the_dialled_address_is_named_on_a_wildcard() {
    let mut log = serve(&["both://0.0.0.0:0".to_owned()], &["udp.refuse_source_ports=[]"]);
    let ready = log.server.ready();
    let dialled = |port| SocketAddr::from((Ipv4Addr::new(127, 9, 8, 7), port));
    let (tcp, udp) = (dialled(ready.tcp().port()), dialled(ready.udp().port()));
    let mut client = connect(tcp);
    echo_tcp(&mut client, b"hello");
    let peer = own(&client);
    drop(client);
    assert_eq!(word(&record_of(&log.file, peer), "local"), tcp.to_string());
    let datagrams: UdpSocket = udp_client(udp);
    // A loopback address of a wildcard is its own.
    for _ in 0..3 {
        echo_udp(&datagrams, b"four");
    }
    let from = datagrams.local_addr().expect("an address");
    log.server.terminate().expect_code(0);
    let all = records(&log.file);
    let flows: Vec<_> = all.iter().filter(|record| record["protocol"] == "udp").collect();
    let [flow] = flows[..] else { panic!("one flow, not {flows:?}") };
    assert_eq!(word(flow, "peer"), from.to_string());
    assert_eq!((word(flow, "local"), word(flow, "reason")), (udp.to_string(), "drain".to_owned()));
    assert_eq!((&flow["bytes"]["in"], &flow["bytes"]["out"]), (&12.into(), &12.into()));
}

#[test]
fn a_moved_file_is_opened_again_and_no_line_is_lost_or_split_meanwhile() {
    const CLIENTS: usize = 4;
    const EACH: usize = 300;
    raise_own_descriptor_limit();
    let block = Block::new();
    let at = block.at(18_000);
    let mut log = serve(&[format!("tcp://{at}")], &["access_log.capture_bytes=100"]);
    log.server.ready();
    let mut moved = Vec::new();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..EACH {
                        let mut client = connect(at);
                        echo_tcp(&mut client, b"in which file will this be?");
                        client.shutdown(Shutdown::Write).expect("connected");
                        read_to_fin(&mut client);
                    }
                })
            })
            .collect();
        while clients.iter().any(|client| !client.is_finished()) && moved.len() < 20 {
            let to = log.file.with_extension(moved.len().to_string());
            fs::rename(&log.file, &to).expect("it is there");
            moved.push(to);
            log.server.signal(Signal::SIGUSR2);
            assert!(eventually(DEADLINE, || log.file.exists()), "it is opened again");
        }
    });
    let summary = log.server.terminate().expect_code(0).summary();
    moved.push(log.file.clone());
    let all: Vec<_> = moved.iter().flat_map(|file| records(file)).collect();
    assert_eq!(all.len(), CLIENTS * EACH, "{summary}");
    assert_eq!(summary["access_log"]["written"], CLIENTS * EACH);
    assert_eq!(summary["access_log"]["dropped"], 0);
    let ids: std::collections::HashSet<_> = all.iter().map(|record| word(record, "id")).collect();
    assert_eq!(ids.len(), all.len());
}

/// So many sessions, none of which the log may hold up.
fn some_sessions(at: SocketAddr, count: u64) {
    for _ in 0..count {
        let mut client = connect(at);
        echo_tcp(&mut client, b"served all the same");
        client.shutdown(Shutdown::Write).expect("connected");
        read_to_fin(&mut client);
    }
}

#[test]
fn a_full_disk_disturbs_nobody_and_every_record_is_counted_as_lost() {
    let block = Block::new();
    let at = block.at(18_000);
    let command = Ipcow::serve([format!("tcp://{at}")]).set("access_log.path=/dev/full");
    let mut server = command.start();
    server.ready();
    some_sessions(at, 100);
    assert!(eventually(DEADLINE, || server.stderr().contains("No space left")));
    let done = server.terminate().expect_code(0);
    let counts = &done.summary()["access_log"];
    assert_eq!((&counts["written"], &counts["dropped"]), (&0.into(), &100.into()), "{counts}");
    assert_eq!(done.stderr.matches("the access log is behind").count(), 2, "{}", done.stderr);
}

#[test]
fn a_reader_that_stalls_loses_lines_with_a_count_and_holds_up_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("pipe");
    nix::unistd::mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR).expect("a pipe");
    let block = Block::new();
    let at = block.at(18_000);
    let path = format!("access_log.path={}", pipe.display());
    let command = Ipcow::serve([format!("tcp://{at}")]).set(&path);
    let mut server = command.start();
    server.ready();
    // More than a pipe holds: 64 KiB.
    some_sessions(at, 600);
    let counts = server.terminate().expect_code(0).summary()["access_log"].clone();
    let [written, dropped] =
        ["written", "dropped"].map(|key| counts[key].as_u64().expect("a count"));
    assert_eq!(written + dropped, 600, "{counts}");
    assert!(written > 0 && dropped > 0, "{counts}");
}

#[test]
fn without_an_access_log_there_is_neither_a_file_nor_a_thread() {
    let folder = tempfile::tempdir().expect("a folder");
    let block = Block::new();
    let at = block.at(18_000);
    let mut server = Ipcow::serve([format!("tcp://{at}")]).start();
    server.ready();
    some_sessions(at, 3);
    let threads = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("it runs");
    let names = threads.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    assert!(names.into_iter().all(|name| name.trim() != "ipcow-access"));
    // A signal for which there is nothing to do ends nobody.
    server.signal(Signal::SIGUSR2);
    some_sessions(at, 1);
    let done = server.terminate().expect_code(0);
    assert_eq!(done.summary().get("access_log"), None);
    assert_eq!(fs::read_dir(folder.path()).expect("it is there").count(), 0);
}

#[test]
fn lines_go_to_stderr_where_that_is_asked_for() {
    let block = Block::new();
    let at = block.at(18_000);
    let mut server = Ipcow::serve([format!("tcp://{at}")]).set("access_log.path=-").start();
    server.ready();
    some_sessions(at, 3);
    let done = server.terminate().expect_code(0);
    let lines = done.stderr.lines().filter(|line| line.starts_with("{\"ts\""));
    let records = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    assert_eq!(records.filter(|record| record["reason"] == "eof").count(), 3, "{}", done.stderr);
}
