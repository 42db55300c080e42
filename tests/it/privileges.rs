//! `[process] user` and `group`: what every thread may do once root has been given up
//! (fault 55), and what is refused.

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;

use crate::common::{
    Block, DEADLINE, Ipcow, Need, Running, connect, echo_tcp, echo_udp, eventually, needs,
    udp_client,
};

/// CAP_NET_BIND_SERVICE in a mask of `/proc/PID/status`.
const BIND: u64 = 1 << 10;

/// `/proc/PID/task/*/status` of every thread.
fn threads(server: &Running) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).expect("it runs");
    let status = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("status"));
    // A thread may end between the two calls.
    tasks.flatten().filter_map(|task| status(task).ok()).collect()
}

/// The words behind that name in a thread's status.
fn field<'a>(status: &'a str, name: &str) -> Vec<&'a str> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.expect("the kernel tells it").split_whitespace().collect()
}

fn mask(status: &str, name: &str) -> u64 {
    u64::from_str_radix(field(status, name)[0], 16).expect("a mask")
}

/// Fails unless every thread is `nobody`, in no group, and may bind low ports at most.
fn assert_unprivileged(server: &Running) {
    let threads = threads(server);
    assert!(threads.len() >= 5, "main, outlets, service and workers");
    for status in threads {
        assert_eq!(field(&status, "Uid"), ["65534"; 4], "{status}");
        assert_eq!(field(&status, "Gid"), ["65534"; 4], "{status}");
        assert_eq!(field(&status, "Groups"), [""; 0], "{status}");
        assert_eq!(field(&status, "NoNewPrivs"), ["1"], "{status}");
        for set in ["CapEff", "CapInh", "CapAmb"] {
            assert_eq!(mask(&status, set), 0, "{set}\n{status}");
        }
        assert_eq!(mask(&status, "CapPrm") & !BIND, 0, "{status}");
    }
}

#[test]
fn every_thread_of_a_user_serves_low_ports_and_has_no_right_but_to_bind_them() {
    if !needs(&[Need::Root]) {
        return;
    }
    let block = Block::new();
    let mut server =
        Ipcow::serve([format!("both://{}:7,18000", block.ip(0)), "--workers".into(), "2".into()])
            .set("process.user=nobody")
            .start();
    assert_eq!(server.ready().endpoints("listening"), 4);
    assert_unprivileged(&server);
    assert!(threads(&server).iter().all(|status| mask(status, "CapBnd") & !BIND == 0));
    for port in [7, 18_000] {
        echo_tcp(&mut connect(block.at(port)), b"without root");
        echo_udp(&udp_client(block.at(port)), b"without root");
    }
    let log = server.terminate().expect_code(0).stderr;
    assert!(log.contains("\"capabilities\":\"CAP_NET_BIND_SERVICE\""), "{log}");
}

#[test]
fn a_low_port_that_dies_is_bound_again_without_root() {
    if !needs(&[Need::Root, Need::Tool("strace")]) {
        return;
    }
    let (block, folder) = (Block::new(), tempfile::tempdir().expect("a folder"));
    let trace = folder.path().join("trace");
    let mut server = Ipcow::serve([format!("tcp://{}:7", block.ip(0))])
        .set("process.user=65534")
        .set("process.group=65534")
        .traced(&trace, &["trace=accept4,bind,capset", "inject=accept4:error=EINVAL:when=1"])
        .start();
    assert_eq!(server.ready().endpoints("listening"), 1);
    // The first client finds the socket dead; it is bound anew, by a worker's thread.
    let first = connect(block.at(7));
    server.event("recovered");
    drop(first);
    echo_tcp(&mut connect(block.at(7)), b"bound again");
    assert_unprivileged(&server);
    let summary = server.terminate().expect_code(0).summary();
    assert_eq!(summary["errors"]["by_kind"]["listener"], 1, "{summary}");
    let trace = std::fs::read_to_string(trace).expect("a trace");
    let binds = trace.lines().filter(|line| line.contains("htons(7)"));
    let (refused, bound): (Vec<_>, Vec<_>) = binds.partition(|line| line.contains("EACCES"));
    assert_eq!((refused.len(), bound.len()), (2, 2), "refused, then raised, twice\n{trace}");
}

#[test]
fn a_capability_that_was_given_is_kept_for_binding_and_not_in_force() {
    if !needs(&[Need::Root, Need::Tool("setpriv")]) {
        return;
    }
    let (block, folder) = (Block::new(), tempfile::tempdir().expect("a folder"));
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).expect("the folder is ours");
    let copy = folder.path().join("ipcow");
    std::fs::copy(crate::common::binary(), &copy).expect("room for a copy of the binary");
    let caps = "+net_bind_service,+sys_time";
    let mut server = Ipcow::serve([format!("tcp://{}:7,18000", block.ip(0))])
        .instead_of_the_built_one(&copy)
        .under(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"].into_iter().chain([
            &*format!("--inh-caps={caps}"),
            &*format!("--ambient-caps={caps}"),
            &*format!("--bounding-set=-all,{caps}"),
        ]))
        .start();
    assert_eq!(server.ready().endpoints("listening"), 2);
    assert_unprivileged(&server);
    echo_tcp(&mut connect(block.at(7)), b"as systemd would start it");
}

#[test]
fn who_is_not_known_is_a_configuration_error_that_names_the_key() {
    let refuse = |set: &str, named: &[&str]| {
        Ipcow::serve(["tcp://127.0.0.1:0"]).set(set).run().expect_refusal(78, named);
    };
    refuse("process.user=no-such-user", &["process.user", "no-such-user", "no such user"]);
    refuse("process.user=3999999999", &["process.user", "3999999999", "process.group"]);
    refuse("process.group=no-such-group", &["process.group", "no-such-group"]);
    refuse("process.user=root", &["process.user", "root", "gives up nothing"]);
}

#[test]
fn who_is_not_root_cannot_become_another_and_is_told() {
    if !needs(&[Need::Root]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    Ipcow::serve(["tcp://127.0.0.1:0"])
        .set("process.user=1")
        .by_nobody_in(folder.path())
        .run()
        .expect_refusal(1, &["process.", "start it as root"]);
}

#[test]
fn a_file_that_only_root_may_read_is_refused_at_the_start() {
    if !needs(&[Need::Root]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let list = folder.path().join("secret-list");
    std::fs::write(&list, Ipv4Addr::LOCALHOST.to_string()).expect("a list");
    let own = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&list, own).expect("the list is ours");
    Ipcow::serve([format!("tcp://@{}:0", list.display())])
        .set("process.user=nobody")
        .run()
        .expect_refusal(2, &["secret-list", "cannot be read"]);
}

#[test]
fn a_taken_low_port_is_bound_without_root_once_it_is_free() {
    if !needs(&[Need::Root]) {
        return;
    }
    let block = Block::new();
    let taken = std::net::TcpListener::bind(block.at(7)).expect("a fresh address");
    let mut server = Ipcow::serve([format!("tcp://{}:7", block.ip(0))])
        .set("process.user=nobody")
        .set("coverage.min_bound=0")
        .set("retry.max_attempts=1")
        .set("retry.quarantine_probe_secs=1")
        .start();
    assert_eq!(server.ready().endpoints("listening"), 0);
    drop(taken);
    server.event("recovered");
    echo_tcp(&mut connect(block.at(7)), b"at last");
    assert!(eventually(DEADLINE, || threads(&server).iter().all(|one| mask(one, "CapEff") == 0)));
}
