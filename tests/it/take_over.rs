//! `ipcow serve --take-over`: a new program instead of the running one, as an operator
//! does it, and what goes wrong on the way.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::common::{
    Block, DEADLINE, Dialling, Finished, Ipcow, NO_SPECS, Need, Ready, Running, connect, counts,
    echo_tcp, eventually, needs, raise_own_descriptor_limit, read_to_fin, refused,
};

/// A name for instances: a folder with their control socket.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("lab.sock")
    }

    /// `ipcow serve` of these specs here.
    fn serve<I: IntoIterator<Item: Into<std::ffi::OsString>>>(&self, specs: I) -> Ipcow {
        Ipcow::serve(specs).args([std::ffi::OsString::from("--control"), self.socket().into()])
    }

    /// Starts one and waits until it serves.
    fn begin(&self, specs: &[String]) -> (Running, Ready) {
        let mut server = self.serve(specs).start();
        let ready = server.ready();
        (server, ready)
    }

    /// Starts one that takes the running one over, and waits until it serves.
    fn take_over(&self, specs: &[String]) -> (Running, Ready) {
        let mut server = self.serve(specs).args(["--take-over"]).start();
        let ready = server.ready();
        (server, ready)
    }

    /// What a route of whoever serves here answers, headers and all.
    fn get(&self, route: &str) -> std::io::Result<String> {
        let mut stream = UnixStream::connect(self.socket())?;
        stream.set_read_timeout(Some(DEADLINE))?;
        ask(&mut stream, "GET", route)
    }
}

fn ask(stream: &mut UnixStream, method: &str, route: &str) -> std::io::Result<String> {
    let head = format!(
        "{method} {route} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\
         connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn sums<const N: usize>(done: &[Finished], table: &str, keys: [&str; N]) -> [u64; N] {
    let mut sums = [0; N];
    for finished in done {
        for (sum, more) in sums.iter_mut().zip(counts(&finished.summary(), table, keys)) {
            *sum += more;
        }
    }
    sums
}

#[test]
fn five_thousand_endpoints_change_hands_three_times_and_no_client_notices() {
    if !needs(&[Need::Descriptors(12_000)]) {
        return;
    }
    raise_own_descriptor_limit();
    let (block, place) = (Block::new(), Place::new());
    let specs = [format!("both://{}:8000-10498", block.ip(0)), format!("both://{}:0", block.ip(1))];
    let (mut present, ready) = place.begin(&specs);
    assert_eq!(ready.endpoints("listening"), 5_000);
    let chosen = ready.bound();
    let addresses: Vec<SocketAddr> = (8_000..10_499).map(|port| block.at(port)).collect();
    let clients = Dialling::start(addresses.clone(), addresses);
    let asking = Asking::start(&place);
    let mut session = connect(block.at(9_000));
    let mut old = Vec::new();
    for round in 0..3_u8 {
        clients.served(100);
        echo_tcp(&mut session, &[round; 10_000]);
        let (next, ready) = place.take_over(&specs);
        assert_eq!((ready.state(), ready.endpoints("listening")), ("ready", 5_000));
        assert_eq!(ready.bound(), chosen, "the kernel's numbers stay");
        old.push(std::mem::replace(&mut present, next));
        clients.served(100);
        echo_tcp(&mut session, &[round; 10_000]);
    }
    // Those without a session have ended by themselves.
    let first = old.remove(0);
    let mut done: Vec<Finished> = old.into_iter().map(|it| it.finish().expect_code(0)).collect();
    let (connected, answered) = clients.stop();
    asking.stop();
    echo_tcp(&mut session, b"the first one is still there");
    session.shutdown(std::net::Shutdown::Write).expect("still connected");
    assert_eq!(read_to_fin(&mut session), b"");
    done.push(first.finish().expect_code(0));
    assert!(place.socket().exists(), "whoever leaves removes nothing");
    done.push(present.terminate().expect_code(0));
    assert!(!place.socket().exists());
    let [accepted, closed] = sums(&done, "sessions", ["accepted", "closed"]);
    assert_eq!((accepted, closed), (connected + 1, connected + 1));
    let [received, replied] = sums(&done, "datagrams", ["received", "replied"]);
    assert_eq!((received, replied), (answered, answered));
}

/// Somebody who asks for the health of whoever serves, again and again.
struct Asking {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Duration>,
}

impl Asking {
    fn start(place: &Place) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, socket) = (Arc::clone(&stop), place.socket());
        let thread = std::thread::spawn(move || {
            let (mut answered, mut longest) = (Instant::now(), Duration::ZERO);
            while !stopped.load(Ordering::Relaxed) {
                // Never refused; cut off at most, where the one who was asked leaves.
                let mut stream = UnixStream::connect(&socket).expect("somebody listens");
                stream.set_read_timeout(Some(DEADLINE)).expect("a legal timeout");
                if ask(&mut stream, "GET", "/healthz").is_ok_and(|it| it.contains(" 200 ")) {
                    longest = longest.max(answered.elapsed());
                    answered = Instant::now();
                }
            }
            longest
        });
        Self { stop, thread }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        let longest = self.thread.join().expect("it was never refused");
        assert!(longest < Duration::from_secs(10), "no answer for {longest:?}");
    }
}

#[test]
fn where_nobody_runs_it_simply_starts() {
    let (block, place) = (Block::new(), Place::new());
    let (server, ready) = place.take_over(&[format!("tcp://{}:8000", block.ip(0))]);
    assert_eq!(ready.state(), "ready");
    echo_tcp(&mut connect(block.at(8000)), b"alone");
    server.terminate().expect_code(0);
    // A socket that nobody serves any more is nobody, too.
    drop(std::os::unix::net::UnixListener::bind(place.socket()).expect("free"));
    let (server, _) = place.take_over(&[format!("tcp://{}:8000", block.ip(0))]);
    server.terminate().expect_code(0);
}

#[test]
fn a_new_one_that_cannot_bind_enough_ends_and_the_old_one_serves_on() {
    let (block, place) = (Block::new(), Place::new());
    let (old, _) = place.begin(&[format!("both://{}:8000-8009", block.ip(0))]);
    let addresses: Vec<_> = (8000..8010).map(|port| block.at(port)).collect();
    let clients = Dialling::start(addresses.clone(), addresses);
    let _taken = TcpListener::bind(block.at(9000)).expect("free");
    let specs = [format!("both://{}:8000-8009,9000", block.ip(0))];
    let new = place.serve(specs).args(["--take-over"]).without_retries();
    let failed = new.set("coverage.min_bound=\"100%\"").run().expect_code(69);
    assert_eq!(sums(&[failed], "sessions", ["accepted"]), [0]);
    clients.served(50);
    assert!(place.get("/readyz").expect("it answers").contains(" 200 "));
    let (connected, answered) = clients.stop();
    let done = [old.terminate().expect_code(0)];
    assert!(done[0].stderr.contains("nobody took this instance over"), "{}", done[0].stderr);
    assert_eq!(sums(&done, "sessions", ["accepted", "closed"]), [connected, connected]);
    assert_eq!(sums(&done, "datagrams", ["received", "replied"]), [answered, answered]);
}

#[test]
fn a_new_one_that_is_killed_before_it_is_ready_takes_no_client_along() {
    let (block, place) = (Block::new(), Place::new());
    let (old, _) = place.begin(&[format!("both://{}:8000-8009", block.ip(0))]);
    let addresses: Vec<_> = (8000..8010).map(|port| block.at(port)).collect();
    let clients = Dialling::start(addresses.clone(), addresses);
    // It waits for a port that does not become free.
    let _taken = TcpListener::bind(block.at(9000)).expect("free");
    let specs = [format!("both://{}:8000-8009,9000", block.ip(0))];
    let new = place.serve(specs).args(["--take-over"]).set("retry.max_attempts=1000").start();
    let offered = || old.stderr().contains("another instance is taking this one over");
    assert!(eventually(DEADLINE, offered), "{}", old.stderr());
    clients.served(50);
    // Who comes second is told so.
    let second = place.serve(NO_SPECS).args(["--take-over"]).run();
    second.expect_refusal(1, &["--take-over", "already", "goes on"]);
    for order in [&["suspend", "*"][..], &["set", "session.idle_timeout_secs=30"]] {
        let order = Ipcow::new(order.iter().copied());
        let refused = order.args([std::ffi::OsString::from("--control"), place.socket().into()]);
        refused.run().expect_refusal(1, &["another instance is taking this one over"]);
    }
    new.signal(Signal::SIGKILL);
    assert_eq!(new.finish().signal, Some(9));
    let over = || old.stderr().contains("nobody took this instance over");
    assert!(eventually(DEADLINE, over), "{}", old.stderr());
    clients.served(50);
    let (connected, answered) = clients.stop();
    let done = [old.terminate().expect_code(0)];
    assert_eq!(sums(&done, "sessions", ["accepted", "closed"]), [connected, connected]);
    assert_eq!(sums(&done, "datagrams", ["received", "replied"]), [answered, answered]);
}

#[test]
fn another_configuration_drains_what_is_gone_and_binds_what_is_new() {
    let (block, place) = (Block::new(), Place::new());
    let (old, _) = place.begin(&[format!("tcp://{}:8000-8003", block.ip(0))]);
    let mut stays = connect(block.at(8002));
    echo_tcp(&mut stays, b"here");
    let specs = [format!("tcp://{}:8002-8005", block.ip(0))];
    let (new, ready) = place.take_over(&specs);
    assert_eq!((ready.state(), ready.endpoints("listening")), ("ready", 4));
    for port in 8002..8006 {
        echo_tcp(&mut connect(block.at(port)), b"served");
    }
    for port in 8000..8002 {
        assert!(eventually(DEADLINE, || refused(block.at(port))), "{port}");
    }
    echo_tcp(&mut stays, b"still here");
    drop(stays);
    old.finish().expect_code(0);
    new.terminate().expect_code(0);
}

#[test]
fn sessions_that_outlive_their_time_are_drained() {
    let (block, place) = (Block::new(), Place::new());
    let specs = [format!("tcp://{}:8000", block.ip(0))];
    let mut old = place.serve(&specs).args(["--handover-timeout", "300ms"]).start();
    old.ready();
    let mut session = connect(block.at(8000));
    echo_tcp(&mut session, b"here");
    let (new, _) = place.take_over(&specs);
    assert_eq!(read_to_fin(&mut session), b"");
    let done = old.finish().expect_code(0);
    assert_eq!(counts(&done.summary(), "sessions", ["closed", "forced"]), [1, 0]);
    new.terminate().expect_code(0);
}

#[test]
fn users_and_sandboxes_are_no_obstacle() {
    if !needs(&[Need::Root]) {
        return;
    }
    let (block, place) = (Block::new(), Place::new());
    let confined = |ipcow: Ipcow| ipcow.set("process.user=nobody").set("process.sandbox=auto");
    // A low port, too, which the new one could bind only as root.
    let specs = [format!("both://{}:80,8000", block.ip(0))];
    let nobodys = std::os::unix::fs::chown(place.folder.path(), Some(65_534), None);
    nobodys.expect("root may");
    let mut present = confined(place.serve(&specs)).start();
    present.ready();
    for _ in 0..2 {
        let mut next = confined(place.serve(&specs)).args(["--take-over"]).start();
        assert_eq!(next.ready().endpoints("listening"), 4);
        std::mem::replace(&mut present, next).finish().expect_code(0);
        echo_tcp(&mut connect(block.at(80)), b"nobody's");
        assert!(place.get("/readyz").expect("it answers").contains(" 200 "));
    }
    present.terminate().expect_code(0);
}

#[test]
fn the_service_manager_is_told_of_its_new_main_process_and_not_of_the_end_of_the_old_one() {
    let (block, place) = (Block::new(), Place::new());
    let manager = place.folder.path().join("notify");
    let hears = UnixDatagram::bind(&manager).expect("free");
    hears.set_read_timeout(Some(DEADLINE)).expect("a legal timeout");
    let told = |ipcow: Ipcow| ipcow.env("NOTIFY_SOCKET", manager.to_str().expect("text"));
    let specs = [format!("tcp://{}:8000", block.ip(0))];
    let mut old = told(place.serve(&specs)).start();
    old.ready();
    let mut new = told(place.serve(&specs).args(["--take-over"])).start();
    new.ready();
    old.finish().expect_code(0);
    let pid = new.pid();
    let main = format!("MAINPID={pid}");
    let mut heard = String::new();
    while !heard.contains(&main) {
        let mut buffer = [0; 4096];
        let length = hears.recv(&mut buffer).expect("it speaks");
        heard.push_str(&String::from_utf8_lossy(&buffer[..length]));
        heard.push('\n');
    }
    assert!(!heard.contains("STOPPING=1"), "{heard}");
    new.terminate().expect_code(0);
}
