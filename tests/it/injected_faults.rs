//! System calls that fail because strace makes them (faults 14, 19 and 20). One worker:
//! strace counts the calls of each thread apart.

use std::net::Ipv4Addr;

use crate::common::{
    Block, DEADLINE, Ipcow, Need, Running, connect, counts, echo_tcp, echo_udp, eventually, needs,
    refused, udp_client,
};

fn start(block: Block, injection: Option<&str>, folder: &std::path::Path) -> Running {
    let command = Ipcow::serve([
        format!("tcp://{}:18000-18099", block.ip(0)),
        "--workers".into(),
        "1".into(),
    ])
    .set("retry.initial_backoff_ms=10");
    let mut expressions = vec!["trace=socket,bind,listen,accept4"];
    expressions.extend(injection);
    command.traced(&folder.join("trace"), &expressions).start()
}

#[test]
fn a_failed_bind_listen_or_socket_is_retried_until_all_listen_and_leaks_nothing() {
    if !needs(&[Need::Tool("strace")]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut undisturbed = start(Block::new(), None, folder.path());
    assert_eq!(undisturbed.ready().endpoints("listening"), 100);
    let sockets = undisturbed.sockets();
    drop(undisturbed);
    for injection in [
        "inject=bind:error=ENOMEM:when=50",
        "inject=bind:error=EADDRINUSE:when=7",
        "inject=listen:error=EADDRINUSE:when=3",
        "inject=socket:error=ENFILE:when=30..34",
        "inject=socket:error=EMFILE:when=90",
    ] {
        let block = Block::new();
        let mut server = start(block, Some(injection), folder.path());
        let ready = server.ready();
        let trace = std::fs::read_to_string(folder.path().join("trace")).expect("a trace");
        assert!(trace.contains("(INJECTED)"), "{injection} never happened");
        assert_eq!((ready.state(), ready.endpoints("listening")), ("ready", 100), "{injection}");
        assert_eq!(server.sockets(), sockets, "{injection}");
        for port in 18_000..18_100 {
            echo_tcp(&mut connect(block.at(port)), b"served");
        }
        server.terminate().expect_code(0);
    }
}

#[test]
fn an_accept_that_fails_loses_no_client() {
    if !needs(&[Need::Tool("strace")]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    for errno in ["ENFILE", "ENOBUFS", "ENOMEM", "ECONNABORTED", "EPROTO", "EPERM", "ENETDOWN"] {
        let injection = format!("inject=accept4:error={errno}:when=1..3");
        let mut server = Ipcow::serve(["tcp://127.0.0.1:0", "--workers", "1"])
            .traced(&folder.path().join("trace"), &["trace=accept4", &injection])
            .start();
        let at = server.ready().tcp();
        assert_eq!(at.ip(), Ipv4Addr::LOCALHOST);
        let mut clients: Vec<_> = (0..20).map(|_| connect(at)).collect();
        for client in &mut clients {
            echo_tcp(client, b"served in the end");
        }
        drop(clients);
        let trace = std::fs::read_to_string(folder.path().join("trace")).expect("a trace");
        assert!(trace.contains("(INJECTED)"), "{errno} never happened");
        let summary = server.terminate().expect_code(0).summary();
        assert_eq!(summary["sessions"]["accepted"], 20, "{errno}: {summary}");
    }
}

#[test]
fn an_accept_that_always_fails_keeps_no_drain_from_ending() {
    if !needs(&[Need::Tool("strace")]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Ipcow::serve(["tcp://127.0.0.1:0", "--workers", "1"])
        .set("listen_defaults.backlog=64")
        .traced(&folder.path().join("trace"), &["trace=accept4", "inject=accept4:error=EPERM"])
        .start();
    let _client = connect(server.ready().tcp());
    let summary = server.terminate().expect_code(0).summary();
    assert_eq!(summary["sessions"]["accepted"], 0, "{summary}");
}

#[test]
fn a_thread_that_signals_interrupt_while_it_asks_who_is_ready_serves_on() {
    if !needs(&[Need::Tool("strace")]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("trace");
    let mut server = Ipcow::serve(["tcp://127.0.0.1:0", "--workers", "1"])
        .traced(&file, &["trace=epoll_wait", "inject=epoll_wait:error=EINTR:when=2+2"])
        .start();
    let at = server.ready().tcp();
    let mut clients: Vec<_> = (0..20).map(|_| connect(at)).collect();
    for round in 0..10_u8 {
        for client in &mut clients {
            echo_tcp(client, &[round; 100]);
        }
    }
    drop(clients);
    let trace = std::fs::read_to_string(file).expect("a trace");
    assert!(trace.contains("(INJECTED)"), "it never happened");
    let summary = server.terminate().expect_code(0).summary();
    assert_eq!(summary["sessions"]["closed"], 20, "{summary}");
    assert_eq!(summary["restarts"]["workers"], 0, "{summary}");
}

#[test]
fn a_udp_socket_that_finds_no_memory_pauses_and_loses_no_datagram() {
    if !needs(&[Need::Tool("strace")]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("trace");
    let mut server = Ipcow::serve(["udp://127.0.0.1:0", "--workers", "1"])
        .traced(&file, &["trace=recvmmsg", "inject=recvmmsg:error=ENOMEM:when=4..6"])
        .start();
    let client = udp_client(server.ready().udp());
    for number in 0..10 {
        echo_udp(&client, format!("datagram {number}").as_bytes());
    }
    let trace = std::fs::read_to_string(file).expect("a trace");
    assert!(trace.contains("(INJECTED)"), "it never happened");
    let summary = server.terminate().expect_code(0).summary();
    assert_eq!(summary["errors"]["by_kind"], serde_json::json!({}), "{summary}");
    assert_eq!(summary["datagrams"]["replied"], 10, "{summary}");
}

#[test]
fn a_shortage_that_lasts_is_met_once_a_pause_and_logged_once_a_second() {
    if !needs(&[Need::Tool("strace")]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let specs = [format!("tcp://{}:18000-18999", Block::new().cidr())];
    let mut server = Ipcow::serve(specs)
        .args(["--workers", "1"])
        .set("coverage.wait_secs=3")
        .traced(
            &folder.path().join("trace"),
            &["trace=socket", "inject=socket:error=ENFILE:when=40+"],
        )
        .start();
    let ready = server.ready();
    assert!(ready.endpoints("pending") > 7_900, "nothing is charged for a shortage");
    let done = server.terminate().expect_code(0);
    let summary = done.summary();
    let uptime = summary["uptime_ms"].as_u64().expect("a number");
    let [met] = counts(&summary["errors"], "by_kind", ["bind_resource"]);
    // The shortest pause is initial_backoff_ms less its jitter.
    assert!((2..=uptime / 50 + 1).contains(&met), "{met} in {uptime} ms");
    let lines = done.stderr.lines().filter(|line| line.contains("bind_resource")).count() as u64;
    assert!((1..=uptime / 1_000 + 1).contains(&lines), "{lines} lines in {uptime} ms");
}

#[test]
fn a_socket_that_fails_each_time_it_is_served_is_quarantined_and_probed() {
    if !needs(&[Need::Tool("strace")]) {
        return;
    }
    let (block, folder) = (Block::new(), tempfile::tempdir().expect("a folder"));
    let sibling = format!("udp://{}:18000", block.ip(0));
    let mut server = Ipcow::serve([format!("tcp://{}:18000", block.ip(0)), sibling])
        .set("supervision.max_restarts=3")
        .set("supervision.window_secs=600")
        .set("retry.initial_backoff_ms=10")
        .set("retry.quarantine_probe_secs=1")
        .set("log.format=json")
        .traced(&folder.path().join("trace"), &["trace=accept4", "inject=accept4:error=EINVAL"])
        .start();
    assert_eq!(server.ready().state(), "ready");
    let quarantines = |log: &str| {
        log.lines().filter(|line| line.contains("quarantined, probed now and then")).count()
    };
    let quarantined = |times: usize| {
        let quarantined = eventually(DEADLINE, || {
            // Whoever gets in is reset; the socket fails at the first of them.
            let _ = std::net::TcpStream::connect(block.at(18_000));
            quarantines(&server.stderr()) >= times
        });
        assert!(quarantined, "{times}: {}", server.stderr());
    };
    quarantined(1);
    assert!(eventually(DEADLINE, || refused(block.at(18_000))), "its port is closed");
    echo_udp(&udp_client(block.at(18_000)), b"its sibling serves");
    // The probe opens it, and one more failure is one too many again.
    quarantined(2);
    let done = server.terminate().expect_code(0);
    let summary = done.summary();
    let failed = summary["errors"]["by_kind"]["listener"].as_u64().expect("a count");
    let after_probes = quarantines(&done.stderr) as u64 - 1;
    assert_eq!(failed, 4 + after_probes, "three restarts, and none after a probe: {summary}");
    assert_eq!(summary["restarts"]["listeners"], 0, "nothing crashed");
}

#[test]
fn an_answer_that_the_kernel_has_no_room_for_is_dropped_counted_and_harms_no_other() {
    if !needs(&[Need::Tool("strace")]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    for (errno, calls, reason) in [
        ("EAGAIN", "2", Some("send_buffer")),
        // May be about an earlier answer: tried three times.
        ("EPERM", "2..4", Some("unreachable")),
        ("EINTR", "2..3", None),
    ] {
        let injection = format!("inject=sendmmsg:error={errno}:when={calls}");
        let mut server = Ipcow::serve(["udp://127.0.0.1:0", "--workers", "1"])
            .traced(&folder.path().join("trace"), &["trace=sendmmsg", &injection])
            .start();
        let client = udp_client(server.ready().udp());
        echo_udp(&client, b"first");
        match reason {
            Some(_) => assert_eq!(client.send(b"unanswered").expect("it leaves"), 10),
            None => echo_udp(&client, b"answered in the end"),
        }
        // Longer, so that it never leaves in one piece with the one before.
        echo_udp(&client, b"on and on and on");
        let summary = server.terminate().expect_code(0).summary();
        let lost = u64::from(reason.is_some());
        let expected = [3, 3 - lost];
        assert_eq!(counts(&summary, "datagrams", ["received", "replied"]), expected, "{summary}");
        if let Some(reason) = reason {
            assert_eq!(summary["datagrams"]["dropped"][reason], 1, "{errno}: {summary}");
        }
    }
}
