//! Reading the configuration again: the difference is opened and drained, nobody else
//! notices, and what is faulty changes nothing.

use std::path::PathBuf;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{
    Api, Block, DEADLINE, Ipcow, NO_SPECS, Need, Running, connect, echo_tcp, eventually, needs,
    random_bytes, refused,
};

/// A service that a file describes.
struct Lab {
    server: Running,
    api: Api,
    block: Block,
    file: PathBuf,
    _folder: TempDir,
}

impl Lab {
    fn open(ports: &str) -> Option<Self> {
        if !needs(&[Need::Tool("curl")]) {
            return None;
        }
        let (block, folder) = (Block::new(), tempfile::tempdir().expect("a folder"));
        let file = folder.path().join("lab.toml");
        let socket = folder.path().join("a.sock");
        std::fs::write(&file, text(&block, ports, "")).expect("a file");
        let mut server = Ipcow::new(["serve", "--json"])
            .args(NO_SPECS)
            .arg_file(&file)
            .args(["--control".as_ref(), socket.as_os_str()])
            .start();
        server.ready();
        Some(Self { server, api: Api::at(socket), block, file, _folder: folder })
    }

    fn write(&self, ports: &str, more: &str) {
        std::fs::write(&self.file, text(&self.block, ports, more)).expect("a file");
    }

    fn reload(&self, body: Value) -> Value {
        self.api.post("/api/v1/reload", &body).expect(200)
    }
}

fn text(block: &Block, ports: &str, more: &str) -> String {
    let ip = block.ip(0);
    format!("[[listen]]\nname = \"lab\"\naddresses = [\"{ip}\"]\nports = [{ports}]\n{more}")
}

fn counts(diff: &Value) -> [u64; 3] {
    ["opened", "closed", "untouched"].map(|key| diff[key].as_u64().expect("a count"))
}

#[test]
fn a_reload_opens_and_drains_the_difference_and_a_dry_run_only_says_so() {
    let Some(lab) = Lab::open("18000, 18001") else { return };
    lab.write("18001, 18002", "");
    let said = lab.reload(json!({ "dry_run": true }));
    assert_eq!(counts(&said), [1, 1, 1]);
    assert!(said["opened_endpoints"].as_str().expect("text").ends_with(":18002"), "{said}");
    assert!(said["closed_endpoints"].as_str().expect("text").ends_with(":18000"), "{said}");
    assert!(refused(lab.block.at(18_002)) && !refused(lab.block.at(18_000)), "nothing changed");
    let running = || lab.api.get("/api/v1/config").expect(200)["listen"][0]["ports"].clone();
    assert_eq!(running(), json!(["18000", "18001"]));

    assert_eq!(counts(&lab.reload(json!({}))), [1, 1, 1]);
    assert!(eventually(DEADLINE, || !refused(lab.block.at(18_002))));
    assert!(eventually(DEADLINE, || refused(lab.block.at(18_000))));
    assert_eq!(running(), json!(["18001", "18002"]));
    let done = lab.server.terminate().expect_code(0);
    assert!(done.stderr.contains("the configuration was read again"), "{}", done.stderr);
}

#[test]
fn a_session_echoes_byte_exact_through_add_remove_suspend_and_three_reloads() {
    let Some(lab) = Lab::open("18000, 18001") else { return };
    let mut session = connect(lab.block.at(18_000));
    let mut seed = 0;
    let mut echo = || {
        seed += 1;
        echo_tcp(&mut session, &random_bytes(50_000, seed));
    };
    let spec = |port: u16| json!({ "spec": format!("tcp://{}:{port}", lab.block.ip(0)) });
    echo();
    lab.api.post("/api/v1/endpoints", &spec(18_005)).expect(200);
    echo();
    let select = json!({ "select": spec(18_001)["spec"], "sessions": "reset" });
    lab.api.post("/api/v1/suspend", &select).expect(200);
    echo();
    lab.api.delete("/api/v1/endpoints", &spec(18_005)).expect(200);
    echo();
    for (ports, signal) in
        [("18000, 18001, 18002", false), ("18000, 18003", true), ("18000", false)]
    {
        lab.write(ports, "");
        if signal {
            lab.server.signal(Signal::SIGHUP);
            assert!(eventually(DEADLINE, || !refused(lab.block.at(18_003))));
        } else {
            lab.reload(json!({}));
        }
        echo();
    }
    drop(session);
    let summary = lab.server.terminate().expect_code(0).summary();
    assert_eq!(summary["sessions"]["failed"], 0, "{summary}");
    assert_eq!(summary["sessions"]["forced"], 0, "{summary}");
}

#[test]
fn a_faulty_file_changes_nothing_and_says_all_that_is_wrong() {
    let Some(lab) = Lab::open("18000") else { return };
    lab.write("18001, \"x\"", "[retry]\njiter = 1\n[session]\nidle_timeout_secs = -1\n");
    let refused_ = lab.api.post("/api/v1/reload", &json!({}));
    let body = refused_.expect_error(422, "bad_config");
    let message = body["message"].as_str().expect("text");
    for part in ["lab.toml:4", "jiter", "idle_timeout_secs", "ports"] {
        assert!(message.contains(part), "{part} is not named: {message}");
    }
    lab.server.signal(Signal::SIGHUP);
    let said = "nothing changed";
    let twice = || lab.server.stderr().matches(said).count() >= 2;
    assert!(eventually(DEADLINE, twice), "{}", lab.server.stderr());
    assert!(lab.server.stderr().contains("jiter"));
    std::fs::remove_file(&lab.file).expect("a file");
    lab.api.post("/api/v1/reload", &json!({})).expect_error(422, "bad_config");
    echo_tcp(&mut connect(lab.block.at(18_000)), b"as before");
    // What is legal and cannot be served changes nothing either.
    lab.write("18001", "[limits]\nmax_endpoints = 1\n[[listen]]\nname = \"b\"\nspec = \"tcp://no-such-host.invalid:1\"\n");
    lab.api.post("/api/v1/reload", &json!({})).expect_error(422, "bad_config");
    assert!(!refused(lab.block.at(18_000)) && refused(lab.block.at(18_001)));
}

#[test]
fn what_needs_a_restart_is_named_and_keeps_its_value() {
    let Some(lab) = Lab::open("18000") else { return };
    lab.write("18000, 18001", "[threads]\nworkers = 1\n[coverage]\nmin_bound = 2\n");
    let diff = lab.reload(json!({}));
    let named = diff["needs_restart"].to_string();
    assert!(named.contains("threads"), "{diff}");
    let running = lab.api.get("/api/v1/config").expect(200);
    assert_eq!(
        (&running["threads"]["workers"], &running["coverage"]["min_bound"]),
        (&json!("auto"), &json!(2))
    );
    assert_eq!(lab.api.get("/readyz").json()["required"], 2);
    assert!(lab.server.stderr().contains("needs_restart"), "{}", lab.server.stderr());
}

#[test]
fn many_reloads_at_once_are_taken_one_after_the_other() {
    let Some(lab) = Lab::open("18000") else { return };
    lab.write("\"18000-18009\"", "");
    let api = &lab.api;
    let reload = || api.post("/api/v1/reload", &json!({})).expect(200);
    std::thread::scope(|scope| {
        let reloads: Vec<_> = (0..4).map(|_| scope.spawn(reload)).collect();
        let diffs: Vec<_> = reloads.into_iter().map(|it| it.join().expect("an answer")).collect();
        let opened: Vec<_> = diffs.iter().map(|diff| counts(diff)[0]).collect();
        assert_eq!(opened.iter().sum::<u64>(), 9, "one of them did it: {diffs:?}");
    });
    assert!(eventually(DEADLINE, || !refused(lab.block.at(18_009))));
}

#[test]
fn a_service_that_drains_reads_and_changes_nothing_and_still_answers() {
    let Some(lab) = Lab::open("18000") else { return };
    let mut session = connect(lab.block.at(18_000));
    // It never falls quiet, so that the drain lasts.
    echo_tcp(&mut session, b"here");
    let writer = session.try_clone().expect("a socket can be shared");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (stop, mut writer) = (&stop, writer);
        scope.spawn(move || {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                if std::io::Write::write_all(&mut writer, b"x").is_err() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        });
        lab.api.post("/api/v1/shutdown", &json!({})).expect(202);
        let drains = || lab.api.get("/readyz").json()["state"] == "draining";
        assert!(eventually(DEADLINE, drains));
        lab.api.post("/api/v1/reload", &json!({})).expect_error(409, "draining");
        lab.api.post("/api/v1/suspend", &json!({ "select": "*" })).expect_error(409, "draining");
        assert_eq!(lab.api.get("/readyz").expect(503)["ready"], false);
        assert_eq!(lab.api.get("/api/v1/summary").expect(200)["state"], "draining");
        // A second order to end is one to go on.
        lab.api.post("/api/v1/shutdown", &json!({})).expect(202);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    drop(session);
    lab.server.finish().expect_code(0);
}
