//! Clients that are not ours: ncat, socat and Python.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::common::{Block, Ipcow, Need, needs};

/// Feeds `input` to a TCP client that half-closes at its end and ends with the session.
fn talk_tcp(words: &[&str], input: &[u8]) -> Vec<u8> {
    let mut client = start(words);
    client.stdin.take().expect("piped").write_all(input).expect("the client reads");
    let output = client.wait_with_output().expect("our child");
    assert!(output.status.success(), "{words:?}: {:?}", output.status);
    output.stdout
}

/// Feeds `input` to a UDP client and takes as many bytes back. Such a client cannot know
/// that no more comes: its input stays open till then, and it is stopped afterwards.
fn talk_udp(words: &[&str], input: &[u8]) -> Vec<u8> {
    let mut client = start(words);
    client.stdin.as_mut().expect("piped").write_all(input).expect("the client reads");
    let mut back = vec![0; input.len()];
    let read = client.stdout.as_mut().expect("piped").read_exact(&mut back);
    let pid = Pid::from_raw(client.id().try_into().expect("a pid is positive"));
    kill(pid, Signal::SIGTERM).expect("not reaped yet");
    client.wait().expect("our child");
    read.unwrap_or_else(|error| panic!("{words:?}: {error}"));
    back
}

/// Starts a client that is stopped after a minute, whatever happens.
fn start(words: &[&str]) -> Child {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=1", "60"]).args(words);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the client starts")
}

#[test]
fn ncat_gets_back_what_it_sends() {
    if !needs(&[Need::Tool("ncat"), Need::Tool("timeout")]) {
        return;
    }
    let mut server = Ipcow::serve(["both://127.0.0.1:0"]).start();
    let port = server.ready().tcp().port().to_string();
    let back = talk_tcp(&["ncat", "127.0.0.1", &port], b"hello from ncat\n");
    assert_eq!(back, b"hello from ncat\n");
    let back = talk_udp(&["ncat", "-u", "127.0.0.1", &port], b"a datagram from ncat\n");
    assert_eq!(back, b"a datagram from ncat\n");
}

#[test]
fn socat_gets_back_what_it_sends() {
    if !needs(&[Need::Tool("socat"), Need::Tool("timeout")]) {
        return;
    }
    let mut server = Ipcow::serve(["both://127.0.0.1:0"]).start();
    let at = server.ready().tcp();
    let tcp = format!("TCP4:{at}");
    let back = talk_tcp(&["socat", "-t", "30", "-", &tcp], b"hello from socat\n");
    assert_eq!(back, b"hello from socat\n");
    let udp = format!("UDP4:{at}");
    assert_eq!(talk_udp(&["socat", "-", &udp], b"a datagram\n"), b"a datagram\n");
}

/// Lets the Python client speak to `lines` and returns what it counted.
pub(crate) fn python(lines: &str) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clients/echo.py");
    let mut client = Command::new("python3")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 starts");
    client.stdin.take().expect("piped").write_all(lines.as_bytes()).expect("it reads");
    let output = client.wait_with_output().expect("our child");
    serde_json::from_slice(&output.stdout).expect("the script prints one document")
}

#[test]
fn python_reaches_every_endpoint_and_the_totals_agree() {
    if !needs(&[Need::Tool("python3")]) {
        return;
    }
    let block = Block::new();
    let spec = format!("both://{}:18000-18019", block.cidr());
    let mut server = Ipcow::serve([spec]).start();
    assert_eq!(server.ready().endpoints("listening"), 320);
    let span = format!("{}-{} 18000-18019", block.ip(0), block.ip(7));
    let counted = python(&format!("tcp {span}\nudp {span}\n"));
    assert_eq!(counted["failed"], serde_json::json!([]));
    assert_eq!((&counted["tcp"], &counted["udp"]), (&160.into(), &160.into()));
    let summary = server.terminate().expect_code(0).summary();
    assert_eq!(summary["sessions"]["accepted"], 160, "{summary}");
    assert_eq!(summary["sessions"]["closed"], 160, "{summary}");
    assert_eq!(summary["bytes"]["tcp_in"], counted["tcp_bytes"], "{summary}");
    assert_eq!(summary["bytes"]["tcp_out"], counted["tcp_bytes"], "{summary}");
    assert_eq!(summary["bytes"]["udp_in"], counted["udp_bytes"], "{summary}");
    assert_eq!(summary["bytes"]["udp_out"], counted["udp_bytes"], "{summary}");
}
