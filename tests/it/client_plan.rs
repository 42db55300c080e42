//! `ipcow add`, `remove`, `reload` and `set`: the plan and the settings of a running service
//! change, and what stays does not notice (interface §4).

use std::path::Path;

use crate::common::{Block, DEADLINE, Ipcow, Served, connect, echo_tcp, eventually, refused};

fn write(file: &Path, text: &str) {
    std::fs::write(file, text).expect("a file");
}

/// A service that reads one file with a group `lab` of these ports.
fn of_file(block: Block, ports: &str) -> (Served, std::path::PathBuf, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ipcow.toml");
    write(&file, &group(block, ports));
    let command = Ipcow::new(["serve", "--json"]).arg_file(&file);
    let (served, ready) = Served::start(command);
    assert_eq!(ready.state(), "ready");
    (served, file, folder)
}

fn group(block: Block, ports: &str) -> String {
    let address = block.ip(0);
    format!("[[listen]]\nname = \"lab\"\naddresses = [\"{address}\"]\nports = [\"{ports}\"]\n")
}

#[test]
fn what_is_added_is_served_and_what_is_removed_is_gone() {
    let block = Block::new();
    let (served, _file, _folder) = of_file(block, "18000-18001");
    let mut kept = connect(block.at(18_000));
    echo_tcp(&mut kept, b"before");
    let done = served.ask(["add", &format!("{}:18010-18014", block.ip(0)), "--group", "lab"]);
    let done = done.expect_code(0);
    assert!(done.stdout.starts_with("opened 5 endpoints: "), "{done:#?}");
    assert!(done.stdout.contains("18010-18014\nleft alone 2 endpoints"), "{done:#?}");
    served.reach("listening", 7);
    echo_tcp(&mut connect(block.at(18_012)), b"added");
    assert_eq!(served.endpoints(["group:lab"]).len(), 7);
    let done = served.ask(["remove", &format!("{}:18012-18099", block.ip(0))]).expect_code(0);
    assert_eq!(done.stdout, "removed: 3 endpoints");
    assert!(eventually(DEADLINE, || refused(block.at(18_012))));
    assert_eq!(served.endpoints(["*"]).len(), 4);
    echo_tcp(&mut kept, b"after");
}

#[test]
fn what_cannot_be_added_says_why_and_changes_nothing() {
    let block = Block::new();
    let (served, _file, _folder) = of_file(block, "18000-18001");
    let spec = format!("{}:18010", block.ip(0));
    served.ask(["add", &spec, "--group", "nobody"]).expect_refusal(1, &["nobody", "lab"]);
    let wildcard = served.ask(["add", "0.0.0.0:18000"]);
    assert_ne!(wildcard.code, Some(0), "{wildcard:#?}");
    served.ask(["remove", "10.9.9.9:1"]).expect_refusal(1, &["10.9.9.9:1"]);
    assert_eq!(served.endpoints(["*"]).len(), 2);
}

#[test]
fn a_reload_prints_the_difference_and_a_dry_run_changes_nothing() {
    let block = Block::new();
    let (served, file, _folder) = of_file(block, "18000-18004");
    let mut kept = connect(block.at(18_004));
    echo_tcp(&mut kept, b"before");
    write(&file, &(group(block, "18003-18006") + "[threads]\nworkers = 7\n"));
    let done = served.ask(["reload", "--dry-run"]).expect_code(0);
    for line in ["would open 2 endpoints: ", "would close 3 endpoints: ", "would leave alone 2 "] {
        assert!(done.stdout.contains(line), "{line}: {done:#?}");
    }
    assert!(done.stdout.contains("until a restart: threads"), "{done:#?}");
    assert_eq!(served.endpoints(["*"]).len(), 5);
    let json = served.json(["reload"]);
    assert_eq!((&json["opened"], &json["closed"]), (&2.into(), &3.into()));
    assert_eq!(json["needs_restart"], serde_json::json!(["threads"]));
    served.reach("listening", 4);
    echo_tcp(&mut kept, b"did not notice");
    let done = served.ask(["reload"]).expect_code(0);
    assert!(done.stdout.starts_with("nothing changed\n"), "{done:#?}");
}

#[test]
fn a_setting_is_changed_live_and_what_cannot_be_is_named() {
    let block = Block::new();
    let (served, _file, _folder) = of_file(block, "18000-18001");
    let listed = served.ask(["set"]).expect_code(0).stdout;
    assert!(listed.lines().any(|line| line == "session.idle_timeout_secs=3600"), "{listed}");
    let done = served.ask(["set", "session.idle_timeout_secs=30", "limits.max_sessions=100"]);
    let done = done.expect_code(0);
    for line in ["session.idle_timeout_secs: 3600 → 30", "limits.max_sessions: auto → 100"] {
        assert!(done.stdout.lines().any(|found| found == line), "{line}: {done:#?}");
    }
    assert_eq!(served.json(["set"])["limits.max_sessions"], 100);
    // Lists and words, as the file would have them.
    let words = ["set", "udp.refuse_source_ports=[\"0-1023\"]", "limits.max_sessions=auto"];
    assert_eq!(served.json(words)["changed"].as_array().map(Vec::len), Some(2));
    served.ask(["set", "limits.nope=3"]).expect_refusal(2, &["limits.nope"]);
    served.ask(["set", "limits.max_sessions=-3"]).expect_refusal(2, &["limits.max_sessions", "-3"]);
    served.ask(["set", "threads.workers=3"]).expect_refusal(1, &["threads.workers", "start again"]);
    // All or nothing.
    served
        .ask(["set", "session.idle_timeout_secs=5", "limits.nope=3"])
        .expect_refusal(2, &["nope"]);
    assert_eq!(served.json(["set"])["session.idle_timeout_secs"], 30);
}

#[test]
fn a_faulty_file_changes_nothing_and_says_why() {
    let block = Block::new();
    let (served, file, _folder) = of_file(block, "18000-18001");
    write(&file, "[session]\nidle_timeout = 5\n[log]\nlevel = \"loud\"\n");
    for words in [&["reload"][..], &["reload", "--dry-run"]] {
        let done = served.ask(words.iter().copied());
        let named = ["session.idle_timeout", "log.level", "loud", "--dry-run"];
        let done = done.expect_refusal(78, &named);
        assert!(!done.stderr.contains('\x1b'), "{done:#?}");
    }
    assert_eq!(served.endpoints(["*"]).len(), 2);
    echo_tcp(&mut connect(block.at(18_000)), b"as before");
}
