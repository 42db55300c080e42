//! `Type=notify`: what a service manager hears, over a datagram socket that plays it.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::Signal;

use crate::common::{Block, DEADLINE, Ipcow, Need, connect, echo_tcp, needs};

/// A service manager: where it listens, and what it heard.
struct Manager {
    socket: UnixDatagram,
    /// As NOTIFY_SOCKET names it.
    name: String,
}

impl Manager {
    fn new(address: &SocketAddr, name: String) -> Self {
        let socket = UnixDatagram::bind_addr(address).expect("a fresh name");
        socket.set_read_timeout(Some(DEADLINE)).expect("a socket");
        Self { socket, name }
    }

    fn at(path: &Path) -> Self {
        let address = SocketAddr::from_pathname(path).expect("a short path");
        Self::new(&address, path.display().to_string())
    }

    fn abstract_one() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ipcow-it-{}-{number}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a short name");
        Self::new(&address, format!("@{name}"))
    }

    /// The next message.
    fn hear(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).expect("a message in time");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    /// What comes until a message has this line, that one included.
    fn until(&self, line: &str) -> Vec<String> {
        let mut heard = Vec::new();
        loop {
            heard.push(self.hear());
            if heard.last().is_some_and(|last| last.lines().any(|it| it == line)) {
                return heard;
            }
        }
    }
}

fn has(heard: &[String], line: &str) -> bool {
    heard.iter().any(|message| message.lines().any(|it| it == line))
}

#[test]
fn ready_is_told_when_it_is_announced_and_every_phase_has_its_status() {
    let (block, manager) = (Block::new(), Manager::abstract_one());
    let taken = TcpListener::bind(block.at(18_000)).expect("a fresh address");
    let spec = format!("tcp://{}:18000-18002", block.ip(0));
    let mut server = Ipcow::serve([spec])
        .set("retry.max_attempts=3")
        .set("retry.initial_backoff_ms=1500")
        .set("retry.jitter=0")
        .set("retry.quarantine_probe_secs=0")
        .env("NOTIFY_SOCKET", &manager.name)
        .start();
    // Two attempts fail meanwhile, and the last is not made before 4.5 s are over.
    let heard = manager.until("STATUS=opening 2 of 3");
    assert!(!has(&heard, "READY=1"), "{heard:?}");
    let heard = manager.until("READY=1");
    assert!(has(&heard, "STATUS=2 of 3 listen, 0 sessions"), "{heard:?}");
    assert_eq!(server.ready().endpoints("quarantined"), 1);
    let mut client = connect(block.at(18_001));
    echo_tcp(&mut client, b"counted");
    manager.until("STATUS=2 of 3 listen, 1 session");
    server.signal(Signal::SIGTERM);
    let heard = manager.until("STOPPING=1");
    assert!(!has(&heard, "WATCHDOG=1"), "nobody asked for it: {heard:?}");
    drop((client, taken));
    server.finish().expect_code(0);
}

#[test]
fn a_reload_is_told_with_its_time_and_ends_with_ready_whatever_came_of_it() {
    let (block, manager) = (Block::new(), Manager::abstract_one());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ipcow.toml");
    let write = |ports: &str| {
        let group = format!("[[listen]]\nname = \"lab\"\nspec = \"{}:{ports}\"\n", block.ip(0));
        std::fs::write(&file, group).expect("room for a file");
    };
    write("18000");
    let mut server =
        Ipcow::new(["serve", "--json"]).arg_file(&file).env("NOTIFY_SOCKET", &manager.name).start();
    server.ready();
    manager.until("READY=1");
    let mut heard = Vec::new();
    for ports in ["18000-18003", "18000-99999"] {
        write(ports);
        server.signal(Signal::SIGHUP);
        heard = manager.until("RELOADING=1");
        let begun = heard.last().expect("a message");
        let time = begun.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
        assert!(time.is_some_and(|time| time.parse::<u64>().is_ok_and(|it| it > 0)), "{begun}");
        heard = manager.until("READY=1");
    }
    // The second file is at fault: what the first one asked for is served.
    if !has(&heard, "STATUS=4 of 4 listen, 0 sessions") {
        manager.until("STATUS=4 of 4 listen, 0 sessions");
    }
    let done = server.terminate().expect_code(0);
    assert!(done.stderr.contains("99999"), "{done:?}");
}

#[test]
fn a_confined_process_of_another_user_still_reaches_its_manager() {
    if !needs(&[Need::Root]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    // Nobody but root may enter it: what counts is who the process was at first.
    for manager in [Manager::at(&folder.path().join("notify")), Manager::abstract_one()] {
        let mut server = Ipcow::serve(["tcp://127.0.0.1:0"])
            .set("process.user=nobody")
            .env("NOTIFY_SOCKET", &manager.name)
            .env("WATCHDOG_USEC", "200000")
            .start();
        manager.until("READY=1");
        manager.until("WATCHDOG=1");
        server.ready();
        server.signal(Signal::SIGTERM);
        manager.until("STOPPING=1");
        server.finish().expect_code(0);
    }
}

#[test]
fn a_watchdog_of_another_process_is_none_of_ours() {
    let manager = Manager::abstract_one();
    let mut server = Ipcow::serve(["tcp://127.0.0.1:0", "--for", "2s"])
        .env("NOTIFY_SOCKET", &manager.name)
        .env("WATCHDOG_USEC", "100000")
        .env("WATCHDOG_PID", "1")
        .start();
    server.ready();
    let heard = manager.until("STOPPING=1");
    assert!(has(&heard, "READY=1") && !has(&heard, "WATCHDOG=1"), "{heard:?}");
    server.finish().expect_code(0);
}

#[test]
fn a_manager_that_is_not_there_costs_a_warning_and_no_service() {
    for name in ["/nowhere/notify", "vsock:2:9999"] {
        let mut server = Ipcow::serve(["tcp://127.0.0.1:0"]).env("NOTIFY_SOCKET", name).start();
        echo_tcp(&mut connect(server.ready().tcp()), b"served");
        let done = server.terminate().expect_code(0);
        assert!(done.stderr.contains("NOTIFY_SOCKET") && done.stderr.contains(name), "{done:?}");
    }
}

#[test]
fn a_service_below_its_coverage_is_never_ready() {
    let (block, manager) = (Block::new(), Manager::abstract_one());
    let _taken = TcpListener::bind(block.at(18_000)).expect("a fresh address");
    let server = Ipcow::serve([format!("tcp://{}:18000", block.ip(0))])
        .without_retries()
        .env("NOTIFY_SOCKET", &manager.name)
        .start();
    let heard = manager.until("STOPPING=1");
    assert!(!has(&heard, "READY=1"), "{heard:?}");
    server.finish().expect_code(69);
}
