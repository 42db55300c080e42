//! A machine that gives no more threads (fault 48): worker slots that wait for theirs,
//! and an end that needs none.

use crate::common::{Block, DEADLINE, Ipcow, Need, connect, echo_tcp, eventually, needs};

/// The service's own thread starts one thread a worker: strace counts them apart from
/// the program's own four, so that with more workers than that the rest is refused.
fn refused_from(first: u32, workers: &str, folder: &std::path::Path, block: Block) -> Ipcow {
    let inject = format!("inject=clone,clone3:error=EAGAIN:when={first}+");
    Ipcow::serve([format!("tcp://{}:18000-18009", block.ip(0))])
        .args(["--workers", workers])
        .traced(&folder.join("trace"), &["trace=clone,clone3", &inject])
}

#[test]
fn workers_without_a_thread_are_waited_for_and_keep_nobody_from_serving_or_ending() {
    if !needs(&[Need::Tool("strace")]) {
        return;
    }
    let (folder, block) = (tempfile::tempdir().expect("a folder"), Block::new());
    let mut server = refused_from(5, "200", folder.path(), block).start();
    let ready = server.ready();
    assert_eq!((ready.state(), ready.endpoints("listening")), ("ready", 10));
    echo_tcp(&mut connect(block.at(18_009)), b"four of two hundred");
    // The slots ask again; nobody counts lines by the slot.
    let asked = |server: &crate::common::Running| server.stderr().matches("no thread for").count();
    assert!(eventually(DEADLINE, || asked(&server) >= 2), "{}", server.stderr());
    // Nor is there a thread to join the four on.
    let done = server.terminate().expect_code(0);
    let summary = done.summary();
    assert_eq!(summary["sessions"]["accepted"], 1, "{summary}");
    let seconds = summary["uptime_ms"].as_u64().expect("a number") / 1_000;
    let lines = done.stderr.matches("no thread for").count() as u64;
    assert!(lines <= seconds + 2, "{lines} lines in {seconds} s");
}

#[test]
fn a_program_without_a_thread_says_so_and_does_not_panic() {
    if !needs(&[Need::Tool("strace")]) {
        return;
    }
    for first in 1..=4 {
        let (folder, block) = (tempfile::tempdir().expect("a folder"), Block::new());
        let done = refused_from(first, "1", folder.path(), block).run().expect_code(1);
        assert!(done.stderr.contains("Resource temporarily unavailable"), "{done:#?}");
    }
}

#[test]
fn a_service_without_any_worker_waits_for_a_thread_and_ends_when_it_is_told() {
    if !needs(&[Need::Root, Need::Tool("prlimit")]) {
        return;
    }
    let (folder, block) = (tempfile::tempdir().expect("a folder"), Block::new());
    let start = || {
        Ipcow::serve([format!("tcp://{}:18000", block.ip(0))])
            .args(["--workers", "1"])
            .by_user_in(folder.path(), 61_234)
            // The program's own: main, service, stdout, stderr.
            .under(["prlimit", "--nproc=4"])
            .start()
    };
    // The kernel may still count the thread that planned when the service's is made.
    for _ in 0..50 {
        let mut server = start();
        let waits = || server.stderr().contains("no thread for");
        if !eventually(DEADLINE, || waits() || server.stderr().contains("cannot start")) {
            panic!("it neither waits nor ends: {}", server.stderr());
        }
        if waits() {
            assert!(server.is_alive());
            let summary = server.terminate().expect_code(0).summary();
            assert_eq!(summary["endpoints"]["pending"], 1, "{summary}");
            return;
        }
        server.finish().expect_code(1);
    }
    panic!("the service's own thread was never there");
}
