//! How a service ends: drain, deadline, second signal (faults 51 and 52).

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::common::{
    Block, DEADLINE, Ipcow, Running, connect, counts, echo_tcp, eventually, read_to_fin, refused,
};

const WRITERS: usize = 20;
const MESSAGE: [u8; 64] = [b'm'; 64];

/// Echoes until the server has begun to drain and a while longer, then ends the session
/// as a well-behaved client does. Returns how many bytes went out and came back.
fn writer(at: SocketAddr, started: &Barrier) -> u64 {
    let mut stream = connect(at);
    echo_tcp(&mut stream, &MESSAGE);
    started.wait();
    let mut sent = MESSAGE.len() as u64;
    for _ in 0..200 {
        echo_tcp(&mut stream, &MESSAGE);
        sent += MESSAGE.len() as u64;
    }
    stream.write_all(&MESSAGE).expect("the session runs on");
    stream.shutdown(Shutdown::Write).expect("still connected");
    assert_eq!(read_to_fin(&mut stream), MESSAGE);
    sent + MESSAGE.len() as u64
}

fn round(stop: Signal) {
    let block = Block::new();
    let mut server = Ipcow::serve([format!("tcp://{}:18000-18009", block.ip(0))])
        // A writer may be kept from running for seconds by the rest of the machine.
        .set("shutdown.quiet_ms=30000")
        .set("shutdown.drain_timeout_secs=50")
        .start();
    assert_eq!(server.ready().endpoints("listening"), 10);
    let started = Barrier::new(WRITERS + 1);
    let sent: u64 = std::thread::scope(|scope| {
        let at = |number: usize| block.at(18_000 + u16::try_from(number % 10).expect("small"));
        let writers: Vec<_> = (0..WRITERS)
            .map(|number| (at(number), &started))
            .map(|(at, started)| scope.spawn(move || writer(at, started)))
            .collect();
        started.wait();
        server.signal(stop);
        assert!(eventually(DEADLINE, || refused(block.at(18_000))), "new clients are refused");
        writers.into_iter().map(|writer| writer.join().expect("no byte is lost")).sum()
    });
    let summary = server.finish().expect_code(0).summary();
    assert_eq!(counts(&summary, "sessions", ["failed", "forced"]), [0, 0], "{summary}");
    let [accepted, closed] = counts(&summary, "sessions", ["accepted", "closed"]);
    // The probes that look for the refusal may have been accepted too.
    assert!(accepted >= WRITERS as u64 && accepted == closed, "{summary}");
    assert_eq!(counts(&summary, "bytes", ["tcp_in", "tcp_out"]), [sent, sent], "{summary}");
}

#[test]
fn a_drain_under_writers_loses_no_byte_and_the_totals_agree() {
    for stop in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGTERM] {
        round(stop);
    }
}

/// A session whose peer never reads, with both kernels' buffers full.
fn stuck(at: SocketAddr) -> TcpStream {
    let mut stream = connect(at);
    stream.set_write_timeout(Some(Duration::from_millis(500))).expect("legal");
    let block = [b'x'; 65_536];
    while stream.write(&block).is_ok() {}
    stream
}

fn with_a_stuck_session(drain_timeout_secs: u32) -> (Running, SocketAddr, TcpStream) {
    let at = Block::new().at(18_000);
    let mut server = Ipcow::serve([format!("tcp://{at}")])
        .set("listen_defaults.termination=\"\"")
        .set(&format!("shutdown.drain_timeout_secs={drain_timeout_secs}"))
        .set("shutdown.quiet_ms=200")
        .start();
    server.ready();
    let stream = stuck(at);
    (server, at, stream)
}

#[test]
fn a_stuck_session_is_cut_at_the_deadline_and_the_exit_code_is_5() {
    let (server, _, _stream) = with_a_stuck_session(2);
    let start = Instant::now();
    let done = server.terminate().expect_code(5);
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(1_500), "cut after {took:?}");
    // Half a second is the promise; the rest is for a machine that is busy.
    assert!(took < Duration::from_secs(6), "cut after {took:?}");
    let summary = done.summary();
    let [accepted, closed, failed, forced] =
        counts(&summary, "sessions", ["accepted", "closed", "failed", "forced"]);
    assert_eq!([accepted, closed, failed, forced], [1, 0, 0, 1], "{summary}");
}

#[test]
fn an_idle_session_is_closed_with_fin_and_is_not_forced() {
    let mut server = Ipcow::serve(["tcp://127.0.0.1:0"])
        .set("shutdown.quiet_ms=300")
        .set("shutdown.drain_timeout_secs=50")
        .start();
    let at = server.ready().tcp();
    let mut idle = connect(at);
    echo_tcp(&mut idle, b"then silence");
    let start = Instant::now();
    server.signal(Signal::SIGTERM);
    assert_eq!(read_to_fin(&mut idle), b"");
    assert!(start.elapsed() >= Duration::from_millis(250), "{:?}", start.elapsed());
    let done = server.finish_within(Duration::from_secs(20)).expect_code(0);
    let summary = done.summary();
    assert_eq!(counts(&summary, "sessions", ["closed", "failed", "forced"]), [1, 0, 0]);
}

#[test]
fn a_second_signal_stops_at_once() {
    let (server, at, _stream) = with_a_stuck_session(600);
    server.signal(Signal::SIGTERM);
    assert!(eventually(DEADLINE, || refused(at)), "the drain has begun");
    let start = Instant::now();
    let done = server.terminate().expect_code(5);
    let took = start.elapsed();
    // 200 ms is the promise; the rest is for a machine that is busy.
    assert!(took < Duration::from_secs(3), "stopped after {took:?}");
    assert_eq!(counts(&done.summary(), "sessions", ["forced"]), [1]);
}

#[test]
fn a_drain_timeout_of_zero_waits_for_the_last_session() {
    let (mut server, at, mut stream) = with_a_stuck_session(0);
    server.signal(Signal::SIGTERM);
    assert!(eventually(DEADLINE, || refused(at)), "the drain has begun");
    // Reading frees the session: everything comes, then FIN.
    assert!(server.is_alive());
    stream.shutdown(Shutdown::Write).expect("still connected");
    let mut total = 0;
    let mut buffer = vec![0; 65_536];
    while let length @ 1.. = stream.read(&mut buffer).expect("FIN, not a reset") {
        total += length as u64;
    }
    let summary = server.finish().expect_code(0).summary();
    assert_eq!(counts(&summary, "bytes", ["tcp_in", "tcp_out"]), [total, total], "{summary}");
    assert_eq!(counts(&summary, "sessions", ["forced"]), [0]);
}

#[test]
fn the_summary_counts_endpoints_as_they_were_when_the_drain_began() {
    let mut server = Ipcow::serve(["both://127.0.0.1:0x5"]).start();
    assert_eq!(server.ready().endpoints("listening"), 10);
    let summary = server.terminate().expect_code(0).summary();
    assert_eq!(counts(&summary, "endpoints", ["total", "listening", "draining"]), [10, 10, 0]);
}

#[test]
fn a_signal_while_it_plans_ends_with_0_before_the_plan_is_made() {
    let folder = tempfile::tempdir().expect("a directory");
    let addresses = folder.path().join("addresses");
    nix::unistd::mkfifo(&addresses, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    let server = Ipcow::serve([format!("tcp://@{}:18000", addresses.display())]).start();
    // Opening the other end waits until the program reads its list; nothing comes.
    let _silent = std::fs::OpenOptions::new().write(true).open(&addresses).expect("it reads");
    server.signal(Signal::SIGTERM);
    let done = server.finish_within(Duration::from_secs(10)).expect_code(0);
    assert_eq!(done.stdout, "");
}
