//! Peers that vanish, stay silent or never read (faults 15, 25 to 28).

use std::io::Write;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use socket2::SockRef;

use crate::common::{
    Block, Ipcow, Need, connect, counts, echo_tcp, eventually, needs, raise_own_descriptor_limit,
    read_to_fin,
};

#[test]
fn two_thousand_resets_mid_echo_leave_no_descriptor_behind() {
    let mut server = Ipcow::serve(["tcp://127.0.0.1:0"]).start();
    let at = server.ready().tcp();
    let mut witness = connect(at);
    echo_tcp(&mut witness, b"before");
    let baseline = server.sockets();
    for _ in 0..2_000 {
        let mut stream = connect(at);
        stream.write_all(&[b'x'; 1_000]).expect("connected");
        // Zero linger: close sends RST, whatever is in flight.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a TCP socket");
    }
    assert!(
        eventually(Duration::from_secs(20), || server.sockets() == baseline),
        "{} sockets, {baseline} before",
        server.sockets()
    );
    echo_tcp(&mut witness, b"after");
    drop(witness);
    let done = server.terminate().expect_code(0);
    let [accepted, closed, failed, forced] =
        counts(&done.summary(), "sessions", ["accepted", "closed", "failed", "forced"]);
    assert_eq!(accepted, closed + failed + forced, "{done:#?}");
    assert_eq!(forced, 0, "{done:#?}");
    assert!((1..=2_001).contains(&accepted), "{done:#?}");
}

#[test]
fn a_silent_client_is_closed_at_the_idle_timeout() {
    let mut server = Ipcow::serve(["tcp://127.0.0.1:0"]).set("session.idle_timeout_secs=2").start();
    let at = server.ready().tcp();
    let start = Instant::now();
    let mut silent = connect(at);
    assert_eq!(read_to_fin(&mut silent), b"");
    let after = start.elapsed();
    assert!(after > Duration::from_secs(1), "closed after {after:?}");
    // One second is the promise; the rest is for a machine that is busy.
    assert!(after < Duration::from_secs(6), "closed after {after:?}");
}

#[test]
fn a_client_that_speaks_survives_the_idle_timeout_and_dies_at_its_lifetime() {
    let mut server = Ipcow::serve(["tcp://127.0.0.1:0"])
        .set("session.idle_timeout_secs=2")
        .set("session.max_lifetime_secs=4")
        .start();
    let at = server.ready().tcp();
    let start = Instant::now();
    let mut slow = connect(at);
    slow.set_read_timeout(Some(Duration::from_secs(5))).expect("legal");
    let ended = loop {
        if slow.write_all(b"x").is_err() {
            break start.elapsed();
        }
        let end = Instant::now() + Duration::from_millis(400);
        let mut byte = [0];
        match std::io::Read::read(&mut slow, &mut byte) {
            Ok(0) | Err(_) => break start.elapsed(),
            Ok(_) => while_quiet_until(&mut slow, end),
        }
    };
    assert!(ended > Duration::from_secs(3), "ended after {ended:?}");
    assert!(ended < Duration::from_secs(12), "ended after {ended:?}");
}

/// Paces the client by waiting on the socket itself, which also notices its end.
fn while_quiet_until(stream: &mut std::net::TcpStream, end: Instant) {
    let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    stream.set_read_timeout(Some(left)).expect("legal");
    let _ = stream.peek(&mut [0]);
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("legal");
}

#[test]
fn a_client_that_never_reads_is_cut_at_the_write_timeout() {
    let mut server = Ipcow::serve(["tcp://127.0.0.1:0"])
        .set("listen_defaults.termination=\"\"")
        .set("session.write_timeout_secs=2")
        .start();
    let at = server.ready().tcp();
    let mut stuck = connect(at);
    // Writes stall once both kernels are full, and fail once the server has cut it off.
    let block = [b'x'; 65_536];
    let start = Instant::now();
    while stuck.write(&block).is_ok() {}
    assert!(start.elapsed() < Duration::from_secs(30), "cut after {:?}", start.elapsed());
    let summary = server.terminate().expect_code(0).summary();
    let [closed, failed, forced] = counts(&summary, "sessions", ["closed", "failed", "forced"]);
    assert_eq!((closed + failed, forced), (1, 0), "{summary}");
}

#[test]
fn after_kill_9_with_500_open_sessions_every_port_binds_again_at_once() {
    raise_own_descriptor_limit();
    let block = Block::new();
    let spec = format!("tcp://{}:18000-18049", block.ip(0));
    let mut server = Ipcow::serve([&spec]).start();
    assert_eq!(server.ready().endpoints("listening"), 50);
    let mut sessions: Vec<_> =
        (0..500).map(|number| connect(block.at(18_000 + number % 50))).collect();
    for stream in &mut sessions {
        echo_tcp(stream, b"open");
    }
    server.signal(Signal::SIGKILL);
    let killed = server.finish();
    assert_eq!(killed.signal, Some(9));
    let mut again = Ipcow::serve([&spec]).without_retries().start();
    let ready = again.ready();
    assert_eq!(ready.endpoints("listening"), 50, "{ready:?}");
    echo_tcp(&mut connect(block.at(18_049)), b"served again");
}

#[test]
fn past_max_sessions_clients_wait_in_the_backlog_and_are_served_later() {
    let mut server = Ipcow::serve(["tcp://127.0.0.1:0"]).set("limits.max_sessions=10").start();
    let at = server.ready().tcp();
    let mut first: Vec<_> = (0..10).map(|_| connect(at)).collect();
    for stream in &mut first {
        echo_tcp(stream, b"one of ten");
    }
    let mut waiting: Vec<_> = (0..5).map(|_| connect(at)).collect();
    for stream in &mut waiting {
        stream.write_all(b"in the backlog").expect("the kernel has accepted");
        stream.set_read_timeout(Some(Duration::from_millis(100))).expect("legal");
        assert!(stream.peek(&mut [0]).is_err(), "an eleventh session is served");
    }
    drop(first);
    for stream in &mut waiting {
        stream.set_read_timeout(Some(crate::common::DEADLINE)).expect("legal");
        let mut back = [0; 14];
        std::io::Read::read_exact(stream, &mut back).expect("served once there is room");
        assert_eq!(&back, b"in the backlog");
    }
    drop(waiting);
    let summary = server.terminate().expect_code(0).summary();
    assert_eq!(counts(&summary, "sessions", ["accepted", "closed", "peak"]), [15, 15, 10]);
}

#[test]
fn with_few_descriptors_many_clients_are_all_served_in_the_end() {
    if !needs(&[Need::Tool("prlimit")]) {
        return;
    }
    let block = Block::new();
    let mut server = Ipcow::serve([format!("tcp://{}:18000", block.ip(0))])
        .set("limits.fd_reserve=0")
        .under(["prlimit", "--nofile=128:128"])
        .start();
    assert_eq!(server.ready().endpoints("listening"), 1);
    let mut clients: Vec<_> = (0..200).map(|_| connect(block.at(18_000))).collect();
    for stream in &mut clients {
        stream.write_all(b"patience").expect("the kernel has accepted");
    }
    // Each that is served leaves, and makes room for the next.
    for stream in &mut clients {
        let mut back = [0; 8];
        std::io::Read::read_exact(stream, &mut back).expect("served in the end");
        stream.shutdown(std::net::Shutdown::Both).expect("connected");
    }
    let summary = server.terminate().expect_code(0).summary();
    assert_eq!(counts(&summary, "sessions", ["accepted", "forced"]), [200, 0], "{summary}");
}
