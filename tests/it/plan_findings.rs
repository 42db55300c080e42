//! `ipcow plan --json`: its shape and its findings, each with a fix (interface §4.2).

use std::net::{TcpListener, UdpSocket};

use serde_json::Value;

use crate::common::{Block, Finished, Ipcow, Namespace, Need, needs};

/// The finding of that kind, checked for what every finding has.
fn finding(plan: &Value, kind: &str) -> Value {
    let all = plan["findings"].as_array().expect("a list");
    let found = all.iter().find(|finding| finding["kind"] == kind);
    let found = found.unwrap_or_else(|| panic!("no {kind} in {plan}")).clone();
    assert!(["error", "warning"].contains(&found["level"].as_str().expect("text")), "{found}");
    assert!(found["count"].as_u64().is_some_and(|count| count > 0), "{found}");
    for text in ["message", "fix"] {
        assert!(found[text].as_str().is_some_and(|text| !text.is_empty()), "{found}");
    }
    found
}

/// The plan and its finding of that kind, which is an error: exit 1.
fn error(command: Ipcow, kind: &str) -> Value {
    let plan = command.run().expect_code(1).json();
    assert_eq!(plan["reachable"], false, "{plan}");
    let found = finding(&plan, kind);
    assert_eq!(found["level"], "error", "{found}");
    found
}

/// The finding of that kind, which is a warning: exit 0.
fn warning(command: Ipcow, kind: &str) -> Value {
    let plan = command.run().expect_code(0).json();
    assert_eq!(plan["reachable"], true, "{plan}");
    let found = finding(&plan, kind);
    assert_eq!(found["level"], "warning", "{found}");
    found
}

fn text(found: &Value) -> String {
    format!("{} {}", found["message"], found["fix"])
}

#[test]
fn a_plan_has_every_key_of_the_contract_and_opens_nothing() {
    let block = Block::new();
    let specs = [format!("tcp://{},!{}:18000-18010,!18005", block.cidr(), block.ip(3))];
    let plan = Ipcow::plan(&specs).args(["--workers", "2"]).run().expect_code(0).json();
    assert_eq!(plan["endpoints"], serde_json::json!({"total": 70, "tcp": 70, "udp": 0}));
    let group = serde_json::json!({"name": "cli", "addresses": 7, "ports": 10, "endpoints": 70});
    for (key, value) in group.as_object().expect("an object") {
        assert_eq!(&plan["groups"][0][key], value, "{key}: {plan}");
    }
    assert_eq!(plan["workers"], 2);
    assert_eq!(plan["chunks"], serde_json::json!({"count": 2, "size": 35}));
    for key in ["nofile_soft", "nofile_hard", "fds_needed", "max_sessions", "threads"] {
        assert!(plan["limits"][key].is_u64(), "limits.{key}: {plan}");
    }
    assert_eq!(plan["findings"], serde_json::json!([]));
    assert_eq!(plan["reachable"], true);
    TcpListener::bind(block.at(18_000)).expect("nothing was opened");
}

#[test]
fn a_plan_for_people_names_groups_chunks_and_fixes() {
    let block = Block::new();
    let _taken = TcpListener::bind(block.at(18_000)).expect("a fresh address");
    let spec = format!("tcp://{}:18000-18009", block.ip(0));
    let done: Finished = Ipcow::new(["plan", "--config", "none", &spec]).run().expect_code(1);
    for word in ["cli", "10", "chunk", "in_use", "fix"] {
        assert!(done.stdout.contains(word), "{word}: {done:#?}");
    }
}

#[test]
fn a_port_in_use_is_an_error_that_names_process_and_pid() {
    let block = Block::new();
    let _tcp = TcpListener::bind(block.at(18_000)).expect("a fresh address");
    let _udp = UdpSocket::bind(block.at(18_001)).expect("a fresh address");
    let spec = format!("both://{}:18000-18009", block.ip(0));
    let found = error(Ipcow::plan([spec]), "in_use");
    assert_eq!(found["count"], 2, "{found}");
    let pid = std::process::id().to_string();
    assert!(text(&found).contains(&pid), "{found} does not name pid {pid}");
    let name = std::fs::read_to_string("/proc/self/comm").expect("our own name");
    assert!(text(&found).contains(name.trim()), "{found} does not name {name}");
}

#[test]
fn a_low_port_as_nobody_is_an_error_that_names_the_capability() {
    if !needs(&[Need::Root]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    Namespace::new().enter(|| {
        let command = Ipcow::plan(["tcp://127.0.0.1:7,9,18000"]);
        let found = error(command.clone().by_nobody_in(folder.path()), "privileged");
        assert_eq!(found["count"], 2, "{found}");
        assert!(text(&found).contains("CAP_NET_BIND_SERVICE"), "{found}");
        command.run().expect_code(0);
    });
}

#[test]
fn an_ephemeral_port_is_a_warning_that_counts_and_names_the_reservation() {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").expect("Linux");
    let first: u16 = range.split_whitespace().next().expect("two").parse().expect("a port");
    let reserved =
        std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_reserved_ports").expect("Linux");
    if !reserved.trim().is_empty() {
        eprintln!("skips: this machine reserves ports already: {reserved}");
        return;
    }
    let spec = format!("tcp://{}:{}-{}", Block::new().ip(0), first - 5, first + 9);
    let found = warning(Ipcow::plan([spec]), "ephemeral_overlap");
    assert_eq!(found["count"], 10, "{found}");
    assert!(text(&found).contains("ip_local_reserved_ports"), "{found}");
}

#[test]
fn a_duplicate_is_a_warning_and_counted_once() {
    let ip = Block::new().ip(0);
    let specs = [format!("tcp://{ip}:18000-18009"), format!("tcp://{ip}:18005-18014")];
    let command = Ipcow::plan(&specs);
    assert_eq!(warning(command.clone(), "duplicate")["count"], 5);
    assert_eq!(command.run().json()["endpoints"]["total"], 15);
}

#[test]
fn udp_off_loopback_is_a_warning_and_on_loopback_it_is_not() {
    let found = warning(Ipcow::plan(["udp://0.0.0.0:0"]), "udp_exposed");
    assert_eq!(found["count"], 1, "{found}");
    assert!(text(&found).contains("allow_from"), "{found}");
    let plan = Ipcow::plan(["udp://127.0.0.1:0", "tcp://0.0.0.0:0"]).run().expect_code(0).json();
    assert_eq!(plan["findings"], serde_json::json!([]));
}

#[test]
fn udp_for_named_sources_is_no_finding_and_a_deny_list_alone_names_nobody() {
    let command = Ipcow::plan(["udp://0.0.0.0:0"]);
    let named = command.clone().set("listen_defaults.allow_from=[\"10.0.0.0/8\"]");
    assert_eq!(named.run().expect_code(0).json()["findings"], serde_json::json!([]));
    warning(command.set("listen_defaults.deny_from=10.0.0.0/8"), "udp_exposed");
}

#[test]
fn an_address_that_is_not_here_is_an_error_unless_freebind() {
    // 192.0.2.0/24 and its like are for documentation (RFC 5737): no machine has them.
    let command = Ipcow::plan(["tcp://198.51.100.7:18000-18004"]);
    assert_eq!(error(command.clone(), "not_local")["count"], 5);
    let plan = command.set("listen_defaults.freebind=true").run().expect_code(0).json();
    assert_eq!(plan["reachable"], true, "{plan}");
}

#[test]
fn a_broadcast_or_multicast_address_is_an_error() {
    let command = Ipcow::plan(["tcp://127.255.255.255,224.0.0.1:18000"]);
    assert_eq!(error(command, "unreachable_address")["count"], 2);
}

#[test]
fn too_few_descriptors_are_an_error_that_names_need_have_and_fix() {
    if !needs(&[Need::Tool("prlimit")]) {
        return;
    }
    let spec = format!("tcp://{}:18000-18999", Block::new().ip(0));
    let command = Ipcow::plan([spec]).under(["prlimit", "--nofile=256:256"]);
    let found = error(command.clone(), "fd_limit");
    assert!(text(&found).contains("256"), "{found}");
    let plan = command.run().json();
    assert_eq!(plan["limits"]["nofile_hard"], 256, "{plan}");
    assert!(plan["limits"]["fds_needed"].as_u64().expect("a number") > 1_000, "{plan}");
}

#[test]
fn ten_million_endpoints_are_planned_without_building_them() {
    let command = Ipcow::plan(["tcp://10.0.0.0/16:1-160"]).set("limits.max_endpoints=20000000");
    let plan = command.run().expect_code(1).json();
    assert_eq!(plan["endpoints"]["total"], 65_536 * 160, "{plan}");
}

#[test]
fn in_use_ports_can_be_excluded_by_that_word() {
    let block = Block::new();
    // The word speaks of the whole machine: ports that no other test names.
    let _taken = TcpListener::bind(block.at(27_042)).expect("a fresh address");
    let count = |spec: String| -> u64 {
        let plan = Ipcow::plan([spec]).run().expect_code(0).json();
        plan["endpoints"]["total"].as_u64().expect("a number")
    };
    let left = count(format!("tcp://{}:27000-27099,!in-use", block.ip(1)));
    assert!((1..100).contains(&left), "{left} of 100 are left");
    let taken = count(format!("tcp://{}:in-use,!1-27041,!27043-", block.ip(1)));
    assert_eq!(taken, 1);
}
