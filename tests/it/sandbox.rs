//! `[process] sandbox`: what is in force is said, what works without it still works, and
//! a kernel that lacks it is met as the key says.

use std::net::TcpListener;

use crate::common::{Block, Finished, Ipcow, Need, Running, connect, echo_tcp, needs};

/// What strace makes the kernel say, so that it looks older than it is.
const NO_LANDLOCK: &str = "inject=landlock_create_ruleset:error=ENOSYS";
const NO_SECCOMP: &str = "inject=seccomp:error=EINVAL";

/// Landlock and seccomp, as far as this kernel and what contains it have them.
pub(crate) fn has_both() -> bool {
    let probe = Ipcow::serve(["tcp://127.0.0.1:0", "--once"]).set("process.sandbox=on").run();
    if probe.code != Some(0) {
        eprintln!("a test of the sandbox skips: {}", probe.stderr);
    }
    probe.code == Some(0)
}

/// The `Seccomp` mode of every thread: 2 where filters are in force.
fn seccomp(server: &Running) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).expect("it runs");
    let statuses =
        tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok());
    let mode = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
        line.map(|line| line.trim().to_owned())
    };
    statuses.filter_map(mode).collect()
}

fn log_line(done: &Finished, message: &str) -> Option<serde_json::Value> {
    let mut lines = done.stderr.lines().filter_map(|line| serde_json::from_str(line).ok());
    lines.find(|line: &serde_json::Value| line["message"] == message)
}

#[test]
fn the_log_says_what_is_denied_and_every_thread_is_held_to_it() {
    if !has_both() {
        return;
    }
    let mut server = Ipcow::serve(["tcp://127.0.0.1:0"]).start();
    echo_tcp(&mut connect(server.ready().tcp()), b"inside");
    let modes = seccomp(&server);
    assert!(modes.len() >= 5 && modes.iter().all(|mode| mode == "2"), "{modes:?}");
    let done = server.terminate().expect_code(0);
    let said = log_line(&done, "privileges").expect("it is said");
    let denied = said["sandbox_denies"].as_str().expect("words");
    assert!(denied.contains("writing files") && denied.contains("system calls"), "{said}");
    assert_eq!(said["no_new_privs"], true, "{said}");
}

#[test]
fn files_names_and_ports_that_come_late_are_served_inside_the_sandbox() {
    if !has_both() {
        return;
    }
    let (block, folder) = (Block::new(), tempfile::tempdir().expect("a folder"));
    let list = folder.path().join("list");
    std::fs::write(&list, block.ip(0).to_string()).expect("a list");
    let taken = TcpListener::bind(block.at(18_000)).expect("a fresh address");
    let file = format!("tcp://@{}:18000-18001", list.display());
    let mut server = Ipcow::serve([file.as_str(), "tcp://localhost:0"])
        .set("process.sandbox=on")
        .set("retry.max_attempts=1")
        .set("retry.quarantine_probe_secs=1")
        .start();
    assert_eq!(server.ready().endpoints("quarantined"), 1);
    drop(taken);
    server.event("recovered");
    for port in [18_000, 18_001] {
        echo_tcp(&mut connect(block.at(port)), b"inside");
    }
    server.terminate().expect_code(0);
}

#[test]
fn off_denies_nothing_and_says_so() {
    let mut server = Ipcow::serve(["tcp://127.0.0.1:0"]).set("process.sandbox=off").start();
    server.ready();
    // Whoever runs the tests may have filters of their own.
    let own = std::fs::read_to_string("/proc/self/status").expect("proc(5)");
    if own.lines().any(|line| line.starts_with("Seccomp:") && line.ends_with('0')) {
        assert!(seccomp(&server).iter().all(|mode| mode == "0"));
    }
    let done = server.terminate().expect_code(0);
    let said = log_line(&done, "privileges").expect("it is said");
    assert_eq!(said["sandbox_denies"], "nothing", "{said}");
    assert_eq!(log_line(&done, "the sandbox is not complete"), None);
}

#[test]
fn a_kernel_without_it_is_refused_by_on_and_named_by_auto() {
    if !needs(&[Need::Tool("strace")]) || !has_both() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    for (injection, call, named) in [
        (NO_LANDLOCK, "trace=landlock_create_ruleset", "Landlock"),
        (NO_SECCOMP, "trace=seccomp", "seccomp"),
    ] {
        let run = |mode: &str| {
            let command = Ipcow::serve(["tcp://127.0.0.1:0", "--once"]);
            let traced = command.set(mode).traced(&folder.path().join("trace"), &[call, injection]);
            traced.run()
        };
        run("process.sandbox=on").expect_refusal(1, &["process.sandbox", named, "auto"]);
        let done = run("process.sandbox=auto").expect_code(0);
        let said = log_line(&done, "the sandbox is not complete").expect("it is said");
        assert!(said["missing"].as_str().is_some_and(|what| what.contains(named)), "{said}");
        assert_eq!(said["level"], "WARN", "{said}");
    }
}
