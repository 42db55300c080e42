//! The control API while thousands of endpoints open and drain: it answers, and how soon.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{Api, Block, DEADLINE, Ipcow, Need, eventually, needs};

/// A client that keeps its connection.
struct Client(BufReader<UnixStream>);

impl Client {
    fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).expect("it listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("a legal timeout");
        Self(BufReader::new(stream))
    }

    fn readyz(&mut self) -> (Duration, Value) {
        let began = Instant::now();
        let request = b"GET /readyz HTTP/1.1\r\nHost: ipcow\r\n\r\n";
        self.0.get_mut().write_all(request).expect("it reads");
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).expect("it answers");
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("the whole body");
        (began.elapsed(), serde_json::from_slice(&body).expect("JSON"))
    }
}

/// Asks again and again until it holds; prints how long answers took.
fn ask_until(client: &mut Client, what: &str, holds: impl Fn(&Value) -> bool) {
    let (mut times, end) = (Vec::new(), Instant::now() + DEADLINE);
    loop {
        let (time, body) = client.readyz();
        times.push(time);
        if holds(&body) {
            break;
        }
        assert!(Instant::now() < end, "{what}: {body}");
    }
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 100];
    eprintln!(
        "{what}: {} answers, p50 {:?}, p99 {:?}, max {:?}",
        times.len(),
        at(50),
        at(99),
        at(100)
    );
}

#[test]
fn probes_are_answered_while_thousands_of_endpoints_open_and_drain() {
    if !needs(&[Need::Tool("curl"), Need::Descriptors(19_000)]) {
        return;
    }
    let (block, folder) = (Block::new(), tempfile::tempdir().expect("a folder"));
    let path = folder.path().join("a.sock");
    let specs = format!("tcp://{}:10000-24999", block.ip(0));
    let mut server =
        Ipcow::serve([specs]).args(["--force", "--control"]).args([path.as_os_str()]).start();
    assert!(eventually(DEADLINE, || UnixStream::connect(&path).is_ok()));
    let mut client = Client::connect(&path);
    // The first answer comes when there is a plan.
    client.readyz();
    ask_until(&mut client, "opening 15,000", |body| body["ready"] == true);
    assert_eq!(server.ready().endpoints("listening"), 15_000);

    let api = Api::at(&path);
    let listed = api.get("/api/v1/endpoints");
    assert_eq!(listed.header("x-total-count"), Some("15000"));
    assert_eq!(listed.json().as_array().map(Vec::len), Some(15_000));
    std::thread::scope(|scope| {
        scope.spawn(|| api.post("/api/v1/drain", &json!({ "select": "*" })).expect(200));
        ask_until(&mut client, "draining 15,000", |body| body["endpoints"]["suspended"] == 15_000);
    });
    server.terminate().expect_code(0);
}
