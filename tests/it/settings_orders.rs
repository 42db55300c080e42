//! Settings of a running program, changed by curl, by `ipcow set` and by HUP.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{
    Answer, Api, Block, DEADLINE, Ipcow, Namespace, Need, Running, Spoofer, connect, counts,
    echo_tcp, eventually, needs, raise_own_descriptor_limit, udp_client,
};
use crate::limits::admitted;

const SETTINGS: &str = "/api/v1/settings";

/// A service with a control socket of its own.
struct Lab {
    server: Running,
    api: Api,
    folder: TempDir,
}

impl Lab {
    /// `None` where there is no curl.
    fn open(spec: &str, settings: &[&str]) -> Option<Self> {
        let command = Ipcow::serve([spec]);
        Self::start(settings.iter().fold(command, |it, setting| it.set(setting)))
    }

    fn start(command: Ipcow) -> Option<Self> {
        if !needs(&[Need::Tool("curl")]) {
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("lab.sock");
        let mut server = command.args(["--control"]).args([socket.as_os_str()]).start();
        server.ready();
        Some(Self { server, api: Api::at(&socket), folder })
    }

    fn patch(&self, body: &Value) -> Answer {
        self.api.send(SETTINGS, &["-X", "PATCH", "-d", &body.to_string()])
    }

    /// Gives one key another value.
    fn set(&self, key: &str, value: &Value) {
        let changed = self.patch(&json!({ key: value })).expect(200)["changed"].clone();
        assert_eq!((&changed[0]["key"], &changed[0]["to"]), (&json!(key), value), "{changed}");
    }

    /// `ipcow` with these words, spoken to this service.
    fn ipcow(&self, words: &[&str]) -> crate::common::Finished {
        let socket = self.folder.path().join("lab.sock");
        Ipcow::new(words).args(["--control"]).args([socket.as_os_str()]).start().finish()
    }
}

#[test]
fn what_is_live_is_read_and_changed_all_or_nothing() {
    let block = Block::new();
    let Some(lab) = Lab::open(&format!("tcp://{}:18000-18001", block.ip(0)), &[]) else { return };
    let before = lab.api.get(SETTINGS).expect(200);
    assert_eq!(before["limits.max_sessions"], "auto");
    assert_eq!(before["session.idle_timeout_secs"], 3600);
    assert_eq!(before["udp.refuse_source_ports"], json!(["0-1023", "2049"]));
    assert_eq!((&before["log.level"], &before["retry.jitter"]), (&json!("info"), &json!(0.5)));
    let body = json!({ "limits.max_sessions": 7, "coverage.min_bound": "50%" });
    let changed = lab.patch(&body).expect(200);
    let expected = json!({ "changed": [
        { "key": "coverage.min_bound", "from": 1, "to": "50%" },
        { "key": "limits.max_sessions", "from": "auto", "to": 7 },
    ]});
    assert_eq!(changed, expected);
    let running = lab.api.get("/api/v1/config").expect(200);
    assert_eq!(running["limits"]["max_sessions"], 7, "{running}");
    assert_eq!(running["coverage"]["min_bound"], "50%", "{running}");
    lab.set("coverage.min_bound", &json!(3));
    assert_eq!(lab.api.get("/readyz").expect(503)["required"], 3);
    lab.set("coverage.min_bound", &json!("100%"));
    assert_eq!(lab.api.get("/readyz").expect(200)["required"], 2);
    assert_eq!(lab.patch(&json!({})).expect(200), json!({ "changed": [] }));
    let present = lab.api.get(SETTINGS).expect(200);
    for (body, code, words) in [
        (json!({ "limits.max_sessions": 0 }), "bad_setting", ["`limits.max_sessions`", "found 0"]),
        (json!({ "limits.max_sessions": "9" }), "bad_setting", ["found \"9\"", "1 to 10000000"]),
        (json!({ "limits.on_limit": null }), "bad_setting", ["`limits.on_limit`", "close"]),
        (json!({ "session.idle": 9 }), "bad_setting", ["unknown key", "`session.idle`"]),
        (json!({ "session.idle_timeout_secs": [1] }), "bad_setting", ["an array", "seconds"]),
        (json!({ "listen_defaults.mode": "discard" }), "bad_setting", ["groups", "mode"]),
        (json!({ "threads.workers": 2 }), "needs_restart", ["`threads.workers`", "runs"]),
    ] {
        let mut body = body;
        body["session.keepalive_secs"] = json!(9);
        let refusal = lab.patch(&body).expect_error(422, code);
        for word in words {
            assert!(refusal["message"].as_str().is_some_and(|it| it.contains(word)), "{refusal}");
        }
    }
    lab.patch(&json!([])).expect_error(400, "bad_request");
    lab.api.send(SETTINGS, &["-X", "PATCH"]).expect_error(400, "bad_request");
    lab.api.post(SETTINGS, &json!({})).expect_error(405, "method_not_allowed");
    assert_eq!(lab.api.get(SETTINGS).expect(200), present, "faults change nothing");
}

#[test]
fn the_command_sets_lists_and_says_what_is_wrong() {
    let block = Block::new();
    let Some(lab) = Lab::open(&format!("tcp://{}:18000", block.ip(0)), &[]) else { return };
    let done = lab.ipcow(&["set", "limits.max_sessions=3", "limits.on_limit=close"]);
    assert!(done.expect_code(0).stdout.contains("limits.max_sessions: auto → 3"));
    let served: Vec<_> = (0..5).filter_map(|_| admitted(connect(block.at(18_000)))).collect();
    assert_eq!(served.len(), 3);
    let listed = lab.ipcow(&["set", "--json"]).expect_code(0).json();
    assert_eq!(listed["limits.max_sessions"], 3, "{listed}");
    let wrong = lab.ipcow(&["set", "limits.max_sessions=none"]).expect_code(2);
    assert!(wrong.stderr.contains("10000000"), "{wrong:?}");
    drop(served);
    let summary = lab.server.terminate().expect_code(0).summary();
    assert_eq!(counts(&summary, "sessions", ["accepted", "refused", "peak"]), [3, 2, 3]);
}

#[test]
fn of_1500_clients_as_many_are_served_as_the_limit_of_the_moment_says() {
    raise_own_descriptor_limit();
    let block = Block::new();
    let spec = format!("tcp://{}:18000-18003", block.ip(0));
    let settings = ["limits.max_sessions=500", "threads.workers=4"];
    let Some(lab) = Lab::open(&spec, &settings) else { return };
    let mut clients: Vec<_> = (0..1_500)
        .map(|number| connect(block.at(18_000 + number % 4)))
        .inspect(|mut client| client.write_all(b"!").expect("the kernel has accepted"))
        .collect();
    clients.iter().for_each(|client| client.set_nonblocking(true).expect("legal"));
    let mut served = vec![false; clients.len()];
    let mut count = || {
        for (client, served) in clients.iter_mut().zip(&mut served) {
            *served |= client.read(&mut [0; 2]).is_ok_and(|bytes| bytes == 1);
        }
        served.iter().filter(|served| **served).count()
    };
    let active = || lab.api.get("/api/v1/summary").expect(200)["sessions"]["active"].as_u64();
    assert!(eventually(DEADLINE, || count() == 500) && active() == Some(500));
    lab.set("limits.max_sessions", &json!(1_000));
    assert!(eventually(DEADLINE, || count() == 1_000) && active() == Some(1_000));
    lab.set("limits.max_sessions", &json!(900));
    // The rest waits until nobody shall wait any more.
    lab.set("limits.on_limit", &json!("close"));
    let refused = || {
        let summary = lab.api.get("/api/v1/summary").expect(200);
        summary["sessions"]["refused_by_reason"]["limit"].as_u64()
    };
    assert!(eventually(DEADLINE, || refused() == Some(500)), "{:?}", refused());
    assert_eq!((count(), active()), (1_000, Some(1_000)), "nobody is cut");
    drop(clients);
    let summary = lab.server.terminate().expect_code(0).summary();
    let sums = counts(&summary, "sessions", ["accepted", "refused", "peak"]);
    assert_eq!(sums, [1_000, 500, 1_000], "{summary}");
}

fn write(file: &Path, at: &str, keys: &str) {
    let text = format!("[[listen]]\nname = \"lab\"\nspec = \"{at}\"\n{keys}\n");
    std::fs::write(file, text).expect("the folder is ours");
}

#[test]
fn what_was_set_wins_over_the_file_that_a_signal_has_read_again() {
    let (block, files) = (Block::new(), tempfile::tempdir().expect("a folder"));
    let (file, at) = (files.path().join("lab.toml"), format!("tcp://{}:18000", block.ip(0)));
    write(&file, &at, "[session]\nidle_timeout_secs = 50");
    let command = Ipcow::new(["serve", "--json"]).arg_file(&file);
    let Some(lab) = Lab::start(command) else { return };
    lab.set("session.idle_timeout_secs", &json!(60));
    let keys = "[session]\nidle_timeout_secs = 70\nkeepalive_secs = 7\n[threads]\nfactor = 3.0";
    write(&file, &at, keys);
    let dry = lab.api.post("/api/v1/reload", &json!({ "dry_run": true })).expect(200);
    let changes = json!([{ "key": "session.keepalive_secs", "from": 60, "to": 7 }]);
    let kept = json!([{ "key": "session.idle_timeout_secs", "value": 60, "configured": 70 }]);
    assert_eq!((&dry["settings"], &dry["kept"]), (&changes, &kept), "{dry}");
    assert_eq!(dry["needs_restart"], json!(["threads"]));
    lab.server.signal(Signal::SIGHUP);
    let value = |key: &str| lab.api.get(SETTINGS).expect(200)[key].clone();
    assert!(eventually(DEADLINE, || value("session.keepalive_secs") == 7));
    assert_eq!(value("session.idle_timeout_secs"), 60);
    lab.server.terminate().expect_code(0);
}

#[test]
fn the_log_is_as_loud_as_it_was_told_last() {
    let block = Block::new();
    let Some(lab) = Lab::open(&format!("tcp://{}:18000", block.ip(0)), &[]) else { return };
    let reset = || {
        let mut client = connect(block.at(18_000));
        echo_tcp(&mut client, b"and gone");
        let socket = socket2::SockRef::from(&client);
        socket.set_linger(Some(Duration::ZERO)).expect("a TCP socket");
    };
    let said = || lab.server.stderr().matches("connections failed").count();
    reset();
    lab.set("log.level", &json!("debug"));
    assert!(eventually(DEADLINE, || {
        reset();
        said() > 0
    }));
    lab.set("log.level", &json!("error"));
    lab.set("session.keepalive_secs", &json!(59));
    assert!(!lab.server.stderr().contains("session.keepalive_secs"), "that is no error");
    lab.server.terminate().expect_code(0);
}

/// The ends of a cable between two networks.
const HERE: Ipv4Addr = Ipv4Addr::new(10, 79, 0, 1);

#[test]
fn a_rate_that_changes_is_held_by_sources_that_are_known_already() {
    if !needs(&[Need::Root, Need::Tool("ip"), Need::Tool("curl")]) {
        return;
    }
    let (here, there) = (Namespace::new(), Namespace::new());
    here.cable(&there);
    let spec = format!("udp://{HERE}:18000");
    let lab = here.enter(|| Lab::open(&spec, &["udp.loop_breaker_per_sec=0"]));
    let Some(lab) = lab else { return };
    let (flood, source) = (128, (Ipv4Addr::new(10, 80, 0, 1), 40_000));
    let datagrams = |what: &str| {
        let summary = lab.api.get("/api/v1/summary").expect(200);
        match what {
            "source_rate" => summary["datagrams"]["dropped"]["source_rate"].as_u64().unwrap_or(0),
            what => summary["datagrams"][what].as_u64().expect("a count"),
        }
    };
    let send = || {
        let before = datagrams("received");
        there.enter(|| {
            let spoofer = Spoofer::new();
            (0..flood).for_each(|_| spoofer.send(source, (HERE, 18_000), b"flood"));
        });
        assert!(eventually(DEADLINE, || datagrams("received") >= before + flood));
    };
    send();
    assert_eq!(datagrams("source_rate"), 0, "far below 10,000 a second");
    lab.set("udp.rate_per_source", &json!(1));
    send();
    let refused = datagrams("source_rate");
    assert!(refused >= flood - 60, "{refused} of {flood}: one a second may pass");
    there.enter(|| {
        let other: UdpSocket = udp_client((HERE, 18_000).into());
        crate::common::echo_udp(&other, b"another source");
    });
    lab.set("udp.rate_per_source", &json!(0));
    send();
    assert_eq!(datagrams("source_rate"), refused, "no rate any more");
    lab.server.terminate().expect_code(0);
}
