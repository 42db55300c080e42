//! Connections that cannot be taken: no descriptors, failures that strace makes, peers
//! that are gone already (faults 18 to 22). One worker where strace counts: it counts
//! the calls of each thread apart.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::unistd::{SysconfVar, sysconf};
use socket2::{Domain, SockRef, Socket, Type};

use crate::common::{
    Block, DEADLINE, Ipcow, Need, Running, connect, counts, echo_tcp, eventually, needs,
    raise_own_descriptor_limit,
};

/// Leaves a running process room for so many more descriptors.
fn leave_descriptors(server: &Running, more: usize) {
    // The limit is on the number of a descriptor, and old ones leave gaps between them.
    let used = server.descriptor_numbers();
    let soft = (0..).filter(|number| !used.contains(number)).nth(more).expect("numbers go on");
    let status = Command::new("prlimit")
        .args([format!("--pid={}", server.pid()), format!("--nofile={soft}:")])
        .status()
        .expect("prlimit starts");
    assert!(status.success(), "prlimit says {status}");
}

/// Processor time that the process has used, in user and kernel mode.
fn cpu_time(server: &Running) -> Duration {
    let path = format!("/proc/{}/stat", server.pid());
    let stat = std::fs::read_to_string(path).expect("the child runs");
    // The name in brackets may hold blanks; utime and stime are fields 14 and 15.
    let (_, rest) = stat.rsplit_once(')').expect("stat names the process");
    let field = |number: usize| -> u64 {
        let word = rest.split_whitespace().nth(number - 3).expect("stat has 52 fields");
        word.parse().expect("a number of ticks")
    };
    let hertz = sysconf(SysconfVar::CLK_TCK).expect("sysconf").expect("the kernel has ticks");
    Duration::from_secs(field(14) + field(15)) / u32::try_from(hertz).expect("a small number")
}

/// Log lines of that level.
fn lines_at<'a>(log: &'a str, level: &str) -> Vec<&'a str> {
    let level = format!("\"level\":\"{level}\"");
    log.lines().filter(|line| line.contains(&level)).collect()
}

/// Connects and says hello; the kernel takes both before the server accepts.
fn patient(to: SocketAddr) -> TcpStream {
    let mut stream = connect(to);
    stream.write_all(b"hello").expect("the kernel has accepted");
    stream
}

/// How many of these have their hello back by now.
fn answered(clients: &[TcpStream]) -> usize {
    let answered = |client: &&TcpStream| {
        client.set_nonblocking(true).expect("an option");
        let there = client.peek(&mut [0; 5]).is_ok_and(|length| length == 5);
        client.set_nonblocking(false).expect("an option");
        there
    };
    clients.iter().filter(answered).count()
}

#[test]
fn without_descriptors_clients_wait_at_no_cost_and_are_served_once_there_are_some() {
    if !needs(&[Need::Tool("prlimit")]) {
        return;
    }
    raise_own_descriptor_limit();
    let mut server = Ipcow::serve(["tcp://127.0.0.1:0"]).start();
    let at = server.ready().tcp();
    let mut old: Vec<_> = (0..5).map(|_| connect(at)).collect();
    for session in &mut old {
        echo_tcp(session, b"before");
    }
    let before = server.descriptor_numbers().len();
    leave_descriptors(&server, 10);
    let mut clients: Vec<_> = (0..200).map(|_| patient(at)).collect();
    assert!(
        eventually(DEADLINE, || server.descriptor_numbers().len() == before + 10),
        "{} of {}",
        server.descriptor_numbers().len(),
        before + 10
    );
    let log_before = server.stderr().lines().count();
    let (start, cpu) = (Instant::now(), cpu_time(&server));
    // Three seconds of the fault are what is measured: nothing announces their end.
    while start.elapsed() < Duration::from_secs(3) {
        for session in &mut old {
            echo_tcp(session, b"undisturbed");
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
    let (lasted, cpu) = (start.elapsed(), cpu_time(&server).saturating_sub(cpu));
    assert!(cpu < lasted / 20, "{cpu:?} of a core in {lasted:?}");
    let lines = server.stderr().lines().count() - log_before;
    assert!(lines as u64 <= lasted.as_secs() + 1, "{lines} lines in {lasted:?}");
    assert_eq!((answered(&clients), server.descriptor_numbers().len()), (10, before + 10));

    leave_descriptors(&server, 1_000);
    let raised = Instant::now();
    assert!(eventually(DEADLINE, || answered(&clients) == 200), "{} served", answered(&clients));
    let after = raised.elapsed();
    // 1.2 s is the promise; the rest is for a machine that is busy.
    assert!(after < Duration::from_millis(2_400), "served after {after:?}");
    for client in &mut clients {
        client.read_exact(&mut [0; 5]).expect("answered");
    }
    drop((old, clients));
    let done = server.terminate().expect_code(0);
    assert_eq!(counts(&done.summary(), "sessions", ["accepted", "closed"]), [205, 205]);
    assert_eq!(lines_at(&done.stderr, "ERROR"), [""; 0]);
}

#[test]
fn three_hundred_listeners_without_descriptors_try_no_more_often_than_one() {
    if !needs(&[Need::Tool("prlimit")]) {
        return;
    }
    raise_own_descriptor_limit();
    let block = Block::new();
    let spec = format!("tcp://{}:18000-18299", block.ip(0));
    let mut server = Ipcow::serve([spec.as_str(), "--workers", "1"]).start();
    assert_eq!(server.ready().endpoints("listening"), 300);
    leave_descriptors(&server, 0);
    let start = Instant::now();
    let mut clients: Vec<_> = (18_000..18_300).map(|port| patient(block.at(port))).collect();
    // Three seconds of the fault are what is measured: nothing announces their end.
    std::thread::park_timeout(Duration::from_secs(3));
    leave_descriptors(&server, 1_000);
    assert!(eventually(DEADLINE, || answered(&clients) == 300), "{} served", answered(&clients));
    let lasted = start.elapsed();
    for client in &mut clients {
        client.read_exact(&mut [0; 5]).expect("answered");
    }
    drop(clients);
    let summary = server.terminate().expect_code(0).summary();
    assert_eq!(counts(&summary, "sessions", ["accepted", "closed"]), [300, 300]);
    let refused = summary["errors"]["by_kind"]["accept_shortage"].as_u64().expect("a count");
    // At 0, 100, 300, 700 and 1500 ms, then each second, less a fifth.
    let most = 6 + lasted.as_millis() / 800;
    assert!((1..=most).contains(&refused.into()), "{refused} tries in {lasted:?}");
}

/// Serves `ports` ports by one worker whose first 20 accepts fail, each in the same way.
fn with_twenty_failures(errno: &str, block: Block, ports: u16, trace: &std::path::Path) -> Running {
    let last = 18_000 + ports - 1;
    let injection = format!("inject=accept4:error={errno}:when=1..20");
    Ipcow::serve([format!("tcp://{}:18000-{last}", block.ip(0)), "--workers".into(), "1".into()])
        .set("log.format=json")
        .traced(trace, &["trace=accept4", &injection])
        .start()
}

/// A hundred clients over `ports` ports, all served; how long that took.
fn serve_a_hundred(block: Block, ports: u16) -> Duration {
    let start = Instant::now();
    let clients: Vec<_> = (0..100).map(|n| patient(block.at(18_000 + n % ports))).collect();
    for mut client in clients {
        let mut back = [0; 5];
        client.read_exact(&mut back).expect("served in the end");
        assert_eq!(&back, b"hello");
    }
    start.elapsed()
}

/// Tries one error number; how often it was logged as this kind, and how long
/// the clients waited.
fn twenty_failures(errno: &str, kind: &str, ports: u16) -> (u64, Duration) {
    let (block, folder) = (Block::new(), tempfile::tempdir().expect("a folder"));
    let trace = folder.path().join("trace");
    let mut server = with_twenty_failures(errno, block, ports, &trace);
    assert_eq!(server.ready().endpoints("listening"), u64::from(ports), "{errno}");
    let took = serve_a_hundred(block, ports);
    let done = server.terminate().expect_code(0);
    let trace = std::fs::read_to_string(trace).expect("a trace");
    assert_eq!(trace.matches("(INJECTED)").count(), 20, "{errno}");
    let summary = done.summary();
    let sessions = counts(&summary, "sessions", ["accepted", "closed", "failed"]);
    assert_eq!(sessions, [100, 100, 0], "{errno}");
    assert_eq!(lines_at(&done.stderr, "ERROR"), [""; 0], "{errno}");
    let logged = summary["errors"]["by_kind"].as_object().expect("counts by kind");
    assert_eq!(logged.len(), 1, "{errno}: {logged:?}");
    (logged[kind].as_u64().expect("a count"), took)
}

#[test]
fn a_machine_without_room_is_asked_less_and_less_often_and_every_client_is_served() {
    if !needs(&[Need::Tool("strace")]) {
        return;
    }
    std::thread::scope(|scope| {
        for errno in ["ENFILE", "ENOBUFS", "ENOMEM"] {
            scope.spawn(move || {
                // Four listeners share the failures and the pauses.
                let (pauses, took) = twenty_failures(errno, "accept_shortage", 4);
                assert_eq!(pauses, 20, "{errno}");
                // 100 + 200 + 400 + 800 and 16 times 1000 ms, less a fifth at most.
                assert!(took >= Duration::from_secs(14), "{errno}: {took:?}");
            });
        }
    });
}

#[test]
fn a_connection_that_is_lost_before_it_is_taken_costs_no_pause() {
    if !needs(&[Need::Tool("strace")]) {
        return;
    }
    std::thread::scope(|scope| {
        for errno in ["ECONNABORTED", "EPROTO", "EPERM", "ENETDOWN", "EHOSTUNREACH"] {
            scope.spawn(move || {
                let (losses, _) = twenty_failures(errno, "accept_lost", 1);
                assert_eq!(losses, 20, "{errno}");
            });
        }
    });
}

#[test]
fn ten_thousand_clients_that_reset_at_once_leave_no_descriptor_and_no_error() {
    let mut server = Ipcow::serve(["tcp://127.0.0.1:0"]).start();
    let at = server.ready().tcp();
    let mut witness = connect(at);
    echo_tcp(&mut witness, b"before");
    let baseline = server.descriptor_numbers().len();
    for number in 0..10_000_u32 {
        let mut stream = connect(at);
        if number % 2 == 0 {
            stream.write_all(b"gone before it is read").expect("connected");
        }
        // Zero linger: close sends RST.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a TCP socket");
    }
    assert!(
        eventually(Duration::from_secs(20), || server.descriptor_numbers().len() == baseline),
        "{} descriptors, {baseline} before",
        server.descriptor_numbers().len()
    );
    echo_tcp(&mut witness, b"after");
    drop(witness);
    let done = server.terminate().expect_code(0);
    let [accepted, closed, failed, forced] =
        counts(&done.summary(), "sessions", ["accepted", "closed", "failed", "forced"]);
    assert_eq!((accepted, forced), (closed + failed, 0), "{done:#?}");
    assert!((1..=10_001).contains(&accepted), "{done:#?}");
    assert_eq!(lines_at(&done.stderr, "ERROR"), [""; 0]);
}

/// Starts to connect, without waiting.
fn begin_to_connect(to: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM.nonblocking(), None);
    let socket = socket.expect("a socket");
    let begun = socket.connect(&to.into()).expect_err("the handshake takes its time");
    assert_eq!(begun.raw_os_error(), Some(nix::libc::EINPROGRESS));
    socket
}

#[test]
fn a_paused_listener_holds_its_backlog_and_serves_it_once_it_resumes() {
    if !needs(&[Need::Tool("prlimit")]) {
        return;
    }
    let mut server = Ipcow::serve(["tcp://127.0.0.1:0"]).set("listen_defaults.backlog=8").start();
    let at = server.ready().tcp();
    let before = server.descriptor_numbers().len();
    leave_descriptors(&server, 0);
    // A queue of 8 holds 9: Linux lets one more in (tcp(7), sk_acceptq_is_full).
    let mut clients: Vec<_> = (0..9).map(|_| patient(at)).collect();
    let tenth = begin_to_connect(at);
    let connected = || tenth.peer_addr().is_ok();
    assert!(!eventually(Duration::from_millis(500), connected), "the tenth waits outside");
    assert_eq!((answered(&clients), server.descriptor_numbers().len()), (0, before));

    leave_descriptors(&server, 100);
    for client in &mut clients {
        let mut back = [0; 5];
        client.read_exact(&mut back).expect("served once the listener resumes");
    }
    // Its handshake is repeated after 1, 3 and 7 seconds.
    assert!(eventually(DEADLINE, connected), "the tenth is let in");
    tenth.set_nonblocking(false).expect("an option");
    let mut tenth = TcpStream::from(tenth);
    tenth.set_read_timeout(Some(DEADLINE)).expect("a legal timeout");
    echo_tcp(&mut tenth, b"the tenth");
    drop((clients, tenth));
    let summary = server.terminate().expect_code(0).summary();
    assert_eq!(counts(&summary, "sessions", ["accepted", "closed"]), [10, 10]);
}

#[test]
fn failed_accepts_are_counted_and_a_lack_of_room_is_told_about_once_a_second() {
    if !needs(&[Need::Tool("strace")]) {
        return;
    }
    for (errno, told) in [("ECONNABORTED", false), ("ENFILE", true)] {
        let (block, folder) = (Block::new(), tempfile::tempdir().expect("a folder"));
        let trace = folder.path().join("trace");
        let mut server = with_twenty_failures(errno, block, 4, &trace);
        server.ready();
        let took = serve_a_hundred(block, 4);
        let done = server.terminate().expect_code(0);
        let lines = lines_at(&done.stderr, "WARN").len() as u64;
        assert_eq!(lines > 0, told, "{errno}: {}", done.stderr);
        assert!(lines <= took.as_secs() + 1, "{errno}: {lines} lines in {took:?}");
        assert_eq!(counts(&done.summary(), "errors", ["logged"]), [20], "{errno}");
    }
}
