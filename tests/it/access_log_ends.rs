//! Lines of the access log for sessions that end badly: a client that never reads, and a
//! panic. In process, since faults on demand are.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipcow::config::load_str;
use ipcow::service::{AccessLog, Injection, Service, ServiceHandle};
use ipcow::supervision::EndReason;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::{Block, DEADLINE, connect, echo_tcp, eventually, read_to_fin};

/// A service that records, and where.
struct Recorded {
    handle: ServiceHandle,
    at: SocketAddr,
    folder: TempDir,
}

impl Recorded {
    async fn start(keys: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("access.log");
        let keys = format!("# Keys:\n[access_log]\npath = {path:?}\n{keys}");
        let mut config = load_str("test", &keys).expect("legal keys").config;
        config.groups.clear();
        let log = AccessLog::open(&config.access_log).expect("it can be written").expect("a file");
        log.start().expect("a thread");
        let at = Block::new().at(18_000);
        let builder = Service::builder().config(config).access_log(Arc::new(log));
        let service = builder.listen(&format!("tcp://{at}")).expect("a legal spec").build();
        let handle = service.expect("a plan").start().expect("threads");
        handle.wait_ready().await.expect("it runs");
        Self { handle, at, folder }
    }

    /// The one line that there is once the service has ended.
    async fn only_line(self) -> Value {
        let summary = self.handle.shutdown().await.expect("it drains");
        let counts = summary.access_log.expect("there is one");
        assert_eq!((counts.written, counts.dropped), (1, 0));
        let text = std::fs::read_to_string(self.folder.path().join("access.log"));
        let text = text.expect("a log of text");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}"))
    }
}

fn bytes(line: &Value) -> [u64; 2] {
    ["in", "out"].map(|key| line["bytes"][key].as_u64().expect("a count"))
}

#[tokio::test]
async fn a_client_that_never_reads_has_a_line_when_its_time_is_over() {
    let log = Recorded::start("[session]\nwrite_timeout_secs = 1").await;
    let mut glutton = connect(log.at);
    let peer = glutton.local_addr().expect("an address");
    glutton.set_write_timeout(Some(Duration::from_millis(100))).expect("legal");
    // When both buffers are full, nothing moves any more.
    while glutton.write(&[7; 65_536]).is_ok() {}
    let cut = || log.handle.snapshot().totals.ended(EndReason::WriteTimeout) == 1;
    assert!(eventually(DEADLINE, cut));
    let line = log.only_line().await;
    assert_eq!(
        (&line["reason"], &line["peer"]),
        (&"write_timeout".into(), &peer.to_string().into())
    );
    let [read, sent] = bytes(&line);
    assert!(read > sent && sent > 0, "what waited for the client was not sent: {line}");
    assert!(line["duration_ms"].as_u64().is_some_and(|time| time >= 1_000), "{line}");
}

#[tokio::test]
async fn a_session_that_panics_has_a_line_with_what_it_moved() {
    let log = Recorded::start("").await;
    let mut client = connect(log.at);
    let peer = client.local_addr().expect("an address");
    echo_tcp(&mut client, b"doomed");
    log.handle.inject(Injection::PanicSession(peer));
    assert_eq!(read_to_fin(&mut client), b"");
    let line = log.only_line().await;
    assert_eq!((&line["reason"], &line["peer"]), (&"panic".into(), &peer.to_string().into()));
    assert_eq!(bytes(&line), [6, 6], "{line}");
}
