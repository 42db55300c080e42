//! Listeners whose address leaves while they serve: the endpoint says so within a
//! second, its siblings serve on, and it is back with the address, on the same socket.
//!
//! In network namespaces, on the built program. What it counts is asked for with USR1.

use std::net::{IpAddr, SocketAddr};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::common::{
    Finished, Ipcow, Namespace, Need, Running, connect, counts, echo_tcp, echo_udp, eventually,
    needs, udp_client,
};

/// How soon an address that left shows in the counts. Its news come at once and are
/// read within 20 ms; what the kernel tells too early is read again a second later.
const NOTICED: std::time::Duration = std::time::Duration::from_secs(5);

pub(crate) fn can_run() -> bool {
    needs(&[Need::Root, Need::Tool("ip")])
}

fn at(ip: &str) -> SocketAddr {
    SocketAddr::new(ip.parse::<IpAddr>().expect("an address"), 8_000)
}

/// The line that answers one USR1.
pub(crate) fn asked(server: &Running) -> Value {
    let summaries = || -> Vec<Value> {
        let text = server.stderr();
        let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok());
        lines.filter(|line: &Value| line["message"] == "summary").collect()
    };
    let before = summaries().len();
    server.signal(Signal::SIGUSR1);
    assert!(eventually(crate::common::DEADLINE, || summaries().len() > before));
    summaries().swap_remove(before)
}

/// Waits until so many endpoints listen and so many wait.
pub(crate) fn counts_become(server: &Running, listening: u64, retrying: u64) {
    let mut last = Value::Null;
    let became = eventually(NOTICED, || {
        last = asked(server);
        (&last["endpoints_listening"], &last["endpoints_retrying"])
            == (&listening.into(), &retrying.into())
    });
    assert!(became, "{listening} + {retrying} were expected: {last}");
}

/// The inodes of the listening TCP and the bound UDP sockets of this namespace.
pub(crate) fn sockets() -> Vec<String> {
    let mut inodes = Vec::new();
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        // `/proc/net` is the main thread's namespace; a test runs on another one.
        let text = std::fs::read_to_string(format!("/proc/thread-self/net/{table}"));
        for row in text.expect("the kernel lists its sockets").lines().skip(1) {
            let fields: Vec<_> = row.split_whitespace().collect();
            let open = if table.starts_with("tcp") { "0A" } else { "07" };
            if fields[3] == open && fields[1].ends_with(":1F40") {
                inodes.push(fields[9].to_owned());
            }
        }
    }
    inodes.sort_unstable();
    inodes
}

/// The endpoints of the next `count` `recovered` events.
pub(crate) fn recovered(server: &mut Running, count: usize) -> Vec<String> {
    let name = |event: Value| event["endpoint"].as_str().expect("a name").to_owned();
    let mut names: Vec<_> = (0..count).map(|_| name(server.event("recovered"))).collect();
    names.sort_unstable();
    names
}

fn lines_that_say(done: &Finished, word: &str) -> usize {
    done.stderr.lines().filter(|line| line.contains(word)).count()
}

#[test]
fn an_address_that_leaves_is_missed_and_served_again_on_the_same_sockets_when_it_returns() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    namespace.ip("addr add 10.77.0.1/32 dev lo");
    namespace.ip("addr add 10.77.0.2/32 dev lo");
    namespace.enter(|| {
        let mut server = Ipcow::serve(["both://10.77.0.1,10.77.0.2:8000"]).start();
        assert_eq!(server.ready().state(), "ready");
        let before = sockets();
        assert_eq!(before.len(), 4);
        let mut neighbour = connect(at("10.77.0.1"));
        echo_tcp(&mut neighbour, b"before");
        namespace.ip("addr del 10.77.0.2/32 dev lo");
        counts_become(&server, 2, 2);
        assert_eq!(asked(&server)["chunks_completed"], 0, "completed hides no lost listener");
        echo_tcp(&mut neighbour, b"meanwhile");
        echo_tcp(&mut connect(at("10.77.0.1")), b"a sibling");
        echo_udp(&udp_client(at("10.77.0.1")), b"a sibling");
        namespace.ip("addr add 10.77.0.2/32 dev lo");
        assert_eq!(recovered(&mut server, 2), ["tcp://10.77.0.2:8000", "udp://10.77.0.2:8000"]);
        echo_tcp(&mut connect(at("10.77.0.2")), b"it is back");
        echo_udp(&udp_client(at("10.77.0.2")), b"it is back");
        echo_tcp(&mut neighbour, b"after");
        assert_eq!(sockets(), before, "no socket was made anew");
        counts_become(&server, 4, 0);
        drop(neighbour);
        let done = server.terminate().expect_code(0);
        let summary = done.summary();
        assert_eq!(summary["errors"]["by_kind"]["address_lost"], 2, "{summary}");
        assert_eq!(counts(&summary, "sessions", ["accepted", "closed", "failed"]), [3, 3, 0]);
        assert_eq!(lines_that_say(&done, "address_lost"), 1, "{}", done.stderr);
    });
}

#[test]
fn a_drain_ends_as_ever_while_an_address_is_away() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    namespace.ip("addr add 10.77.0.2/32 dev lo");
    namespace.enter(|| {
        let mut server = Ipcow::serve(["both://10.77.0.2,127.0.0.1:8000"]).start();
        assert_eq!(server.ready().state(), "ready");
        namespace.ip("addr del 10.77.0.2/32 dev lo");
        counts_become(&server, 2, 2);
        let summary = server.terminate().expect_code(0).summary();
        assert_eq!(counts(&summary, "endpoints", ["listening", "retrying"]), [2, 2]);
        assert_eq!(summary["failures"].as_array().map(Vec::len), Some(2), "{summary}");
        assert!(sockets().is_empty());
    });
}

#[test]
fn an_ipv6_address_that_goes_with_its_link_comes_back_with_it() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    namespace.ip("link add lan0 type veth peer name lan1");
    namespace.ip("link set lan1 up");
    namespace.ip("link set lan0 up");
    namespace.ip("addr add fd77::1/64 dev lan0 nodad");
    namespace.ip("addr add 10.77.0.1/24 dev lan0");
    namespace.enter(|| {
        let mut server = Ipcow::serve(["both://[fd77::1]:8000", "both://10.77.0.1:8000"]).start();
        assert_eq!(server.ready().state(), "ready");
        let before = sockets();
        namespace.ip("link set lan0 down");
        // Linux keeps the IPv4 address, and answers for it on other links.
        counts_become(&server, 2, 2);
        echo_tcp(&mut connect(at("10.77.0.1")), b"still local");
        namespace.ip("link set lan0 up");
        namespace.ip("addr add fd77::1/64 dev lan0 nodad");
        assert_eq!(recovered(&mut server, 2), ["tcp://[fd77::1]:8000", "udp://[fd77::1]:8000"]);
        echo_tcp(&mut connect(at("fd77::1")), b"it is back");
        echo_udp(&udp_client(at("fd77::1")), b"it is back");
        assert_eq!(sockets(), before, "no socket was made anew");
        server.terminate().expect_code(0);
    });
}

#[test]
fn an_interface_that_is_deleted_and_made_again_is_served_again() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    let make = || {
        namespace.ip("link add lan0 type veth peer name lan1");
        namespace.ip("link set lan0 up");
        namespace.ip("addr add 10.77.0.1/24 dev lan0");
    };
    make();
    namespace.enter(|| {
        let mut server = Ipcow::serve(["both://10.77.0.1,127.0.0.1:8000"]).start();
        assert_eq!(server.ready().state(), "ready");
        let before = sockets();
        namespace.ip("link del lan0");
        counts_become(&server, 2, 2);
        make();
        assert_eq!(recovered(&mut server, 2).len(), 2);
        echo_tcp(&mut connect(at("10.77.0.1")), b"it is back");
        echo_udp(&udp_client(at("10.77.0.1")), b"it is back");
        assert_eq!(sockets(), before, "no socket was made anew");
        server.terminate().expect_code(0);
    });
}

#[test]
fn a_freebind_endpoint_is_never_missed() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ipcow.toml");
    let groups = r#"
        listen = [
            { name = "waits", spec = "both://10.77.0.1:8000", freebind = true },
            { name = "is-missed", spec = "tcp://10.77.0.2:8000" },
        ]"#;
    std::fs::write(&file, groups).expect("room for a file");
    namespace.ip("addr add 10.77.0.1/32 dev lo");
    namespace.ip("addr add 10.77.0.2/32 dev lo");
    namespace.enter(|| {
        let mut server = Ipcow::new(["serve", "--json"]).arg_file(&file).start();
        assert_eq!(server.ready().state(), "ready");
        namespace.ip("addr del 10.77.0.1/32 dev lo");
        namespace.ip("addr del 10.77.0.2/32 dev lo");
        // Whoever has seen the second leave has seen the first leave too.
        counts_become(&server, 2, 1);
        let summary = server.terminate().expect_code(0).summary();
        assert_eq!(summary["errors"]["by_kind"], serde_json::json!({"address_lost": 1}));
    });
}

#[test]
fn a_service_that_could_not_watch_says_so_and_judges_no_address_by_what_was() {
    if !can_run() || !needs(&[Need::Tool("strace")]) {
        return;
    }
    let namespace = Namespace::new();
    let folder = tempfile::tempdir().expect("a folder");
    namespace.enter(|| {
        // The third registration of the service's own thread is the watch's.
        let mut server = Ipcow::serve(["tcp://127.0.0.1,10.77.0.1:8000", "--workers", "1"])
            .set("retry.max_attempts=1")
            .set("retry.quarantine_probe_secs=1")
            .traced(
                &folder.path().join("trace"),
                &["trace=epoll_ctl", "inject=epoll_ctl:error=ENOMEM:when=3"],
            )
            .start();
        assert_eq!(server.ready().state(), "degraded");
        let says =
            |words: &str| eventually(crate::common::DEADLINE, || server.stderr().contains(words));
        assert!(says("not noticed for now"), "{}", server.stderr());
        namespace.ip("addr add 10.77.0.1/32 dev lo");
        assert_eq!(recovered(&mut server, 1), ["tcp://10.77.0.1:8000"]);
        counts_become(&server, 2, 0);
        // The shortage is over: the watch is opened after all.
        assert!(
            eventually(crate::common::DEADLINE, || server.stderr().contains("noticed again")),
            "{}",
            server.stderr()
        );
        namespace.ip("addr del 10.77.0.1/32 dev lo");
        counts_become(&server, 1, 1);
        server.terminate().expect_code(0);
    });
}

#[test]
fn two_hundred_addresses_that_flap_end_right_and_write_few_lines() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    let folder = tempfile::tempdir().expect("a folder");
    let batch = |verb: &str| {
        let lines = (1..=200).map(|last| format!("addr {verb} 10.77.1.{last}/32 dev lo\n"));
        let file = folder.path().join(verb);
        std::fs::write(&file, lines.collect::<String>()).expect("room for a list");
        format!("-b {}", file.display())
    };
    let (add, remove) = (batch("add"), batch("del"));
    namespace.ip(&add);
    namespace.enter(|| {
        let mut server =
            Ipcow::serve(["both://10.77.1.1-10.77.1.200:8000", "tcp://127.0.0.1:8000"]).start();
        assert_eq!(server.ready().endpoints("listening"), 401);
        let before = sockets();
        let mut neighbour = connect(at("127.0.0.1"));
        for flap in 0..20_u8 {
            namespace.ip(&remove);
            if flap % 5 == 0 {
                // A long absence among short ones.
                counts_become(&server, 1, 400);
            }
            namespace.ip(&add);
            echo_tcp(&mut neighbour, &[flap]);
        }
        counts_become(&server, 401, 0);
        for last in [1, 100, 200] {
            echo_tcp(&mut connect(at(&format!("10.77.1.{last}"))), b"it is back");
        }
        assert_eq!(sockets(), before, "no socket was made anew");
        drop(neighbour);
        let done = server.terminate().expect_code(0);
        let lines = lines_that_say(&done, "address_lost") + lines_that_say(&done, "recovered");
        assert!((2..=80).contains(&lines), "{lines} lines for 20 flaps of 400 endpoints");
    });
}
