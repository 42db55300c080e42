//! `log.format = "journald"`: what reaches the journal's socket, and what happens
//! where there is none.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use crate::common::{DEADLINE, Ipcow, Need, Running, connect, echo_tcp, needs};

/// Becomes the program.
const EXEC: &str = "exec \"$0\" \"$@\"";

/// Whether a mount namespace can be had, with a `/run` of the test's own.
fn has_own_run() -> bool {
    let probe = std::process::Command::new("unshare")
        .args(["--mount", "mount", "-t", "tmpfs", "tmpfs", "/run"])
        .output();
    let can = probe.as_ref().is_ok_and(|done| done.status.success());
    if !can {
        eprintln!("a test of the journal skips: {probe:?}");
    }
    can
}

/// Runs where `/run` is empty but for a journal's socket, which leads to `socket`.
fn with_journal(command: Ipcow, socket: Option<&Path>, then: &str) -> Ipcow {
    let link = socket.map_or_else(String::new, |socket| {
        format!("ln -s {} /run/systemd/journal/socket &&", socket.display())
    });
    let script =
        format!("mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && {link} {then}");
    command.under(["unshare", "--mount", "sh", "-c", &script])
}

/// A journal that the test reads.
struct Journal {
    socket: UnixDatagram,
    folder: tempfile::TempDir,
}

impl Journal {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))
            .expect("it is ours");
        let path = folder.path().join("journal");
        let socket = UnixDatagram::bind(&path).expect("a fresh path");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666))
            .expect("it is ours");
        socket.set_read_timeout(Some(DEADLINE)).expect("a socket");
        Self { socket, folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    /// The next line whose message begins like this.
    fn until(&self, message: &str) -> BTreeMap<String, String> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let length = self.socket.recv(&mut buffer).expect("a line in time");
            let line = fields(&buffer[..length]);
            if line.get("MESSAGE").is_some_and(|text| text.starts_with(message)) {
                return line;
            }
        }
    }
}

/// The fields of a line in the journal's native protocol: `NAME=value`, or the name,
/// the length as eight bytes, and the value.
fn fields(mut line: &[u8]) -> BTreeMap<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut fields = BTreeMap::new();
    while let Some(end) = line.iter().position(|byte| matches!(byte, b'=' | b'\n')) {
        let (name, rest) = (text(&line[..end]), &line[end + 1..]);
        let (value, rest) = if line[end] == b'=' {
            rest.split_at(rest.iter().position(|byte| *byte == b'\n').expect("a whole field"))
        } else {
            let (length, rest) = rest.split_first_chunk::<8>().expect("a length");
            rest.split_at(usize::try_from(u64::from_le_bytes(*length)).expect("a short one"))
        };
        fields.insert(name, text(value));
        line = rest.split_first().expect("each field ends its line").1;
    }
    fields
}

fn serve() -> Ipcow {
    Ipcow::serve(["tcp://127.0.0.1:0"]).args(["--name", "herd"])
}

fn served(server: &mut Running) {
    let at = server.ready().tcp();
    echo_tcp(&mut connect(at), b"served");
}

#[test]
fn without_a_journal_the_format_is_refused_and_auto_takes_another() {
    if !needs(&[Need::Root, Need::Tool("unshare")]) || !has_own_run() {
        return;
    }
    let refused = with_journal(serve(), None, EXEC).set("log.format=journald").run();
    refused.expect_refusal(78, &["log.format", "journald", "/run/systemd/journal/socket", "json"]);
    // A journal that went away after it had given its stream.
    let mut server = with_journal(serve(), None, EXEC).env("JOURNAL_STREAM", "0:0").start();
    served(&mut server);
    let done = server.terminate().expect_code(0);
    assert!(done.stderr.contains("\"message\":\"draining\""), "{done:?}");
}

#[test]
fn a_line_has_its_priority_its_fields_and_a_message_that_says_all() {
    if !needs(&[Need::Root, Need::Tool("unshare")]) || !has_own_run() {
        return;
    }
    let journal = Journal::new();
    let mut server = with_journal(serve(), Some(&journal.path()), EXEC)
        .set("log.format=journald")
        .set("process.user=nobody")
        .start();
    served(&mut server);
    let line = journal.until("privileges");
    for (name, value) in [
        ("PRIORITY", "6"),
        ("SYSLOG_IDENTIFIER", "ipcow"),
        ("IPCOW_INSTANCE", "herd"),
        ("IPCOW_NO_NEW_PRIVS", "true"),
    ] {
        assert_eq!(line.get(name).map(String::as_str), Some(value), "{line:#?}");
    }
    assert!(line["MESSAGE"].contains("no_new_privs=true"), "{line:#?}");
    let done = server.terminate().expect_code(0);
    journal.until("draining");
    assert!(!done.stderr.contains("\"level\""), "nothing is logged twice: {done:?}");
}

#[test]
fn auto_takes_the_journal_where_stderr_leads_to_it() {
    if !needs(&[Need::Root, Need::Tool("unshare")]) || !has_own_run() {
        return;
    }
    let journal = Journal::new();
    // What systemd does for a unit, told of this child's own pipe.
    let told = "export JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2); exec \"$0\" \"$@\"";
    let mut server = with_journal(serve(), Some(&journal.path()), told).start();
    served(&mut server);
    journal.until("privileges");
    server.terminate().expect_code(0);
    journal.until("draining");
}

#[test]
fn a_journal_that_does_not_read_costs_lines_and_no_service() {
    if !needs(&[Need::Root, Need::Tool("unshare")]) || !has_own_run() {
        return;
    }
    let journal = Journal::new();
    let mut server = with_journal(serve(), Some(&journal.path()), EXEC)
        .set("log.format=journald")
        .set("log.level=trace")
        .start();
    let at = server.ready().tcp();
    for _ in 0..200 {
        echo_tcp(&mut connect(at), b"served");
    }
    // USR1 writes a line each time: far more than the journal's queue holds.
    for _ in 0..200 {
        server.signal(Signal::SIGUSR1);
        echo_tcp(&mut connect(at), b"served");
    }
    server.terminate().expect_code(0);
}
