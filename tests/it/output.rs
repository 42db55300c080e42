//! What reaches a terminal, a pipe that nobody reads, and a pipe that is closed
//! (interface §4), and the exit codes of bad usage.

use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::Signal;

use crate::common::{
    Block, DEADLINE, Ipcow, Need, connect, counts, echo_tcp, eventually, needs, refused,
};

#[test]
fn a_closed_stdout_does_not_stop_serving() {
    let block = Block::new();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let server =
        Ipcow::serve([format!("tcp://{}:18000", block.ip(0))]).start_with(Stdio::from(writer));
    assert!(eventually(DEADLINE, || !refused(block.at(18_000))));
    for _ in 0..10 {
        echo_tcp(&mut connect(block.at(18_000)), b"nobody listens to stdout");
    }
    server.terminate().expect_code(0);
}

#[test]
fn a_stalled_stdout_does_not_stop_serving_or_stopping() {
    let block = Block::new();
    let (_reader, mut writer) = std::io::pipe().expect("a pipe");
    let size = fcntl(&writer, FcntlArg::F_GETPIPE_SZ).expect("a pipe");
    // Full to the last byte: whatever is printed first would block.
    writer.write_all(&vec![b'\n'; size.try_into().expect("positive")]).expect("it fits");
    let server =
        Ipcow::serve([format!("tcp://{}:18000", block.ip(0))]).start_with(Stdio::from(writer));
    assert!(eventually(DEADLINE, || !refused(block.at(18_000))));
    echo_tcp(&mut connect(block.at(18_000)), b"nobody reads stdout");
    let start = Instant::now();
    server.terminate().expect_code(0);
    // Half a second is what the reader is given; the rest is for a machine that is busy.
    assert!(start.elapsed() < Duration::from_millis(1_900), "{:?}", start.elapsed());
}

#[test]
fn a_terminal_that_hangs_up_ends_what_it_started() {
    if !needs(&[Need::Tool("setsid")]) {
        return;
    }
    let terminal = nix::pty::openpty(None, None).expect("a pseudo-terminal");
    // The child must not hold the end that hangs up.
    let close_on_exec = FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC);
    fcntl(&terminal.master, close_on_exec).expect("a descriptor");
    let mut server = Ipcow::serve(["tcp://127.0.0.1:0"]).start_from(terminal.slave);
    server.ready();
    drop(terminal.master);
    assert_eq!(server.finish().expect_code(0).events("summary").len(), 1);
}

#[test]
fn a_hang_up_without_a_terminal_ends_nothing() {
    let mut server = Ipcow::serve(["tcp://127.0.0.1:0"]).start();
    let at = server.ready().tcp();
    server.signal(Signal::SIGHUP);
    assert!(eventually(DEADLINE, || server.stderr().contains("the configuration was read again")));
    echo_tcp(&mut connect(at), b"still there");
    server.terminate().expect_code(0);
}

#[test]
fn data_goes_to_stdout_and_logs_go_to_stderr() {
    let mut server = Ipcow::serve(["tcp://127.0.0.1:0"]).set("log.level=debug").start();
    echo_tcp(&mut connect(server.ready().tcp()), b"not logged");
    let done = server.terminate().expect_code(0);
    // `summary` parses every line of stdout; one log line there fails it.
    assert_eq!(done.events("ready").len() + done.events("summary").len(), 2, "{done:#?}");
    assert!(!done.stderr.is_empty());
}

#[test]
fn json_logs_are_one_object_a_line() {
    let mut server = Ipcow::serve(["tcp://127.0.0.1:0"])
        .set("log.format=json")
        .set("log.level=debug")
        .args(["--progress", "none"])
        .start();
    server.ready();
    let done = server.terminate().expect_code(0);
    assert!(!done.stderr.is_empty());
    for line in done.stderr.lines() {
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(line);
        assert!(parsed.is_ok_and(|value| value.is_object()), "{line}");
    }
}

#[test]
fn people_get_a_summary_of_threads_chunks_connections_and_errors() {
    let block = Block::new();
    let _taken = std::net::TcpListener::bind(block.at(18_005)).expect("a fresh address");
    let server = Ipcow::new(["serve", "--config", "none", "--progress", "none"])
        .args([format!("tcp://{}:18000-18009", block.ip(0))])
        .without_retries()
        .start();
    assert!(eventually(DEADLINE, || !refused(block.at(18_000))));
    echo_tcp(&mut connect(block.at(18_000)), b"counted");
    let done = server.terminate().expect_code(0);
    for word in ["thread", "chunk", "connection", "error"] {
        assert!(done.stdout.to_lowercase().contains(word), "{word}: {done:#?}");
    }
    // Grouped by cause, never one line an endpoint.
    assert!(done.stdout.contains("18005"), "{done:#?}");
    assert!(done.stdout.lines().count() < 40, "{done:#?}");
}

#[test]
fn no_color_and_pipes_get_no_escape_codes() {
    let bad = ["serve", "--config", "none", "tcp://127.0.0.1:65536"];
    for command in [Ipcow::new(bad), Ipcow::new(bad).env("NO_COLOR", "1")] {
        let done = command.run().expect_code(2);
        assert!(!done.stderr.contains('\x1b'), "{done:#?}");
    }
    for command in [["plan"], ["check"], ["--help"]] {
        let done = Ipcow::new(command).env("NO_COLOR", "1").run();
        assert!(!format!("{}{}", done.stdout, done.stderr).contains('\x1b'), "{done:#?}");
    }
}

#[test]
fn bad_usage_ends_with_2_and_names_what_is_wrong() {
    Ipcow::new(["serve", "--no-such-flag"]).run().expect_refusal(2, &["--no-such-flag"]);
    Ipcow::new(["no-such-command"]).run().expect_refusal(2, &["no-such-command"]);
    Ipcow::serve(["--workers", "0"]).run().expect_refusal(2, &["workers", "0"]);
    Ipcow::serve(["--for", "soon"]).run().expect_refusal(2, &["soon"]);
    Ipcow::serve(["--set", "no-equals-sign"]).run().expect_refusal(2, &["no-equals-sign"]);
}

#[test]
fn help_and_version_end_with_0() {
    let help = Ipcow::new(["--help"]).run().expect_code(0);
    for command in ["serve", "plan", "check", "config"] {
        assert!(help.stdout.contains(command), "{command}: {help:#?}");
    }
    let version = Ipcow::new(["--version"]).run().expect_code(0);
    assert!(version.stdout.contains(env!("CARGO_PKG_VERSION")), "{version:#?}");
}

#[test]
fn usr1_writes_the_summary_to_the_log_and_serves_on() {
    let mut server = Ipcow::serve(["tcp://127.0.0.1:0"]).start();
    let at = server.ready().tcp();
    echo_tcp(&mut connect(at), b"first");
    let before = server.stderr().len();
    server.signal(Signal::SIGUSR1);
    assert!(eventually(DEADLINE, || server.stderr()[before..].ends_with('\n')));
    let logged: serde_json::Value =
        serde_json::from_str(&server.stderr()[before..]).expect("a log line");
    assert_eq!((&logged["message"], &logged["level"]), (&"summary".into(), &"INFO".into()));
    assert_eq!(logged["sessions_accepted"], 1, "{logged}");
    echo_tcp(&mut connect(at), b"second");
    let summary = server.terminate().expect_code(0).summary();
    assert_eq!(counts(&summary, "sessions", ["accepted", "closed"]), [2, 2]);
}
