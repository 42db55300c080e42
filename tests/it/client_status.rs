//! `ipcow status`, `list`, `errors` and `config show --running` against a running
//! service: what one reads at three in the morning (interface §4).

use std::process::Stdio;

use nix::sys::signal::Signal;

use crate::common::{Api, Block, Ipcow, Need, Served, connect, echo_tcp, needs};

#[test]
fn status_says_ready_first_and_ends_with_0() {
    let block = Block::new();
    let spec = format!("both://{}:18000-18004", block.ip(0));
    let (served, _) = Served::start(Ipcow::serve([&spec]).args(["--name", "lab"]));
    let mut client = connect(block.at(18_000));
    echo_tcp(&mut client, b"hello");
    let done = served.ask(["status"]).expect_code(0);
    assert!(done.stdout.starts_with("ready: 10 of 10 endpoints listen\n"), "{done:#?}");
    for word in ["instance   lab, up ", "endpoints  10: 10 listening", "1 active", "control"] {
        assert!(done.stdout.contains(word), "{word}: {done:#?}");
    }
    assert!(!done.stdout.contains('\x1b'), "a pipe gets no colour: {done:#?}");
    let json = served.json(["status"]);
    assert_eq!((&json["state"], &json["instance"]), (&"ready".into(), &"lab".into()));
    assert_eq!(json["pid"], served.process.pid());
    assert_eq!(json["sessions"]["active"], 1);
}

#[test]
fn status_is_degraded_where_an_endpoint_does_not_listen_and_errors_names_the_holder() {
    let block = Block::new();
    let _taken = std::net::TcpListener::bind(block.at(18_001)).expect("a fresh address");
    let spec = format!("tcp://{}:18000-18002", block.ip(0));
    let command = Ipcow::serve([&spec]).without_retries();
    let (served, ready) = Served::start(command);
    assert_eq!(ready.state(), "degraded");
    let done = served.ask(["status"]).expect_code(1);
    assert!(done.stdout.starts_with("DEGRADED: 2 of 3 endpoints listen\n"), "{done:#?}");
    let done = served.ask(["errors"]).expect_code(0);
    let first = "1 endpoint quarantined, bind_in_use (EADDRINUSE): ";
    assert!(done.stdout.starts_with(first), "{done:#?}");
    let pid = format!("(pid {})", std::process::id());
    for word in ["18001", "held by", &pid, "fix", "1 time"] {
        assert!(done.stdout.contains(word), "{word}: {done:#?}");
    }
    let json = served.json(["errors"]);
    assert_eq!((&json[0]["scope"], &json[0]["count"]), (&"chunk".into(), &1.into()));
}

#[test]
fn errors_of_a_service_without_any_says_so() {
    let (served, _) = Served::start(Ipcow::serve(["127.0.0.1:0"]));
    let done = served.ask(["errors"]).expect_code(0);
    assert!(done.stdout.starts_with("nothing is wrong"), "{done:#?}");
    assert_eq!(served.json(["errors"]), serde_json::json!([]));
}

#[test]
fn a_service_that_is_stopped_does_not_answer_and_that_is_3() {
    let (served, _) = Served::start(Ipcow::serve(["127.0.0.1:0"]));
    served.process.signal(Signal::SIGSTOP);
    let done = served.ask(["status"]);
    served.process.signal(Signal::SIGCONT);
    done.expect_refusal(3, &["connected, and no answer came within 10 s", "hint: "]);
}

#[test]
fn json_is_the_document_of_the_api_to_the_byte() {
    if !needs(&[Need::Tool("curl")]) {
        return;
    }
    let block = Block::new();
    let spec = format!("both://{}:18000-18099", block.ip(0));
    let (served, _) = Served::start(Ipcow::serve([&spec]));
    let api = Api::at(served.control());
    for (words, route) in [
        (&["list", "--json"][..], "/api/v1/endpoints"),
        (&["list", "-o", "json", "chunk:1"], "/api/v1/endpoints?select=chunk:1"),
        (&["errors", "--json"], "/api/v1/errors"),
        (&["config", "show", "--running", "--json"], "/api/v1/config"),
    ] {
        let printed = served.ask(words.iter().copied()).expect_code(0).stdout;
        assert!(printed.trim_end() == api.get(route).body.trim_end(), "{words:?}");
    }
}

#[test]
fn csv_is_rfc_4180_with_a_header() {
    let block = Block::new();
    let _taken = std::net::TcpListener::bind(block.at(18_001)).expect("a fresh address");
    let spec = format!("both://{}:18000-18001", block.ip(0));
    let (served, _) = Served::start(Ipcow::serve([&spec]).without_retries());
    // The bytes as they are: lines end with CRLF.
    let list = std::process::Command::new(crate::common::binary())
        .args(["list", "-o", "csv", "--control"])
        .arg(served.control())
        .output();
    let text = String::from_utf8(list.expect("it runs").stdout).expect("text");
    let mut reader = csv_lines(&text);
    let header = reader.remove(0);
    assert_eq!(header[..5], ["endpoint", "group", "chunk", "workers", "state"]);
    assert_eq!(reader.len(), 4, "{text}");
    for row in &reader {
        assert_eq!(row.len(), header.len(), "{row:?}");
    }
    let failed = reader.iter().find(|row| row[0].ends_with("18001") && row[0].starts_with("tcp"));
    let failed = failed.expect("it is listed");
    assert_eq!((&*failed[4], &*failed[7]), ("quarantined", "EADDRINUSE"));
}

/// Records of CSV whose fields hold no line end; checks that lines end with CRLF.
fn csv_lines(text: &str) -> Vec<Vec<String>> {
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count(), "{text:?}");
    let field = |line: &mut std::iter::Peekable<std::str::Chars<'_>>| {
        let mut field = String::new();
        let quoted = line.next_if_eq(&'"').is_some();
        while let Some(found) = line.next() {
            match found {
                '"' if quoted && line.next_if_eq(&'"').is_none() => {
                    line.next();
                    break;
                }
                ',' if !quoted => break,
                found => field.push(found),
            }
        }
        field
    };
    let record = |line: &str| {
        let ends_empty = line.ends_with(',');
        let mut line = line.chars().peekable();
        let mut fields = Vec::new();
        while line.peek().is_some() {
            fields.push(field(&mut line));
        }
        fields.extend(ends_empty.then(String::new));
        fields
    };
    text.lines().map(record).collect()
}

#[test]
fn selectors_states_and_pages_narrow_a_list() {
    let block = Block::new();
    let spec = format!("both://{}-{}:18000-18009", block.ip(0), block.ip(1));
    let (served, _) = Served::start(Ipcow::serve([&spec]).set("chunks.size=10"));
    let (first, second) = (block.ip(0), block.ip(1));
    let count = |words: &[&str]| served.endpoints(words.iter().copied()).len();
    assert_eq!(count(&[]), 40);
    assert_eq!(count(&["*"]), 40);
    assert_eq!(count(&["group:cli"]), 40);
    assert_eq!(count(&["chunk:2"]), 10);
    assert_eq!(count(&["state:listening"]), 40);
    assert_eq!(count(&[&format!("{first}:*")]), 10);
    assert_eq!(count(&["*://*:18003"]), 4);
    assert_eq!(count(&[&format!("udp://*,!{second}:18000-18001")]), 2);
    assert_eq!(count(&["--state", "listening", "--limit", "7"]), 7);
    assert_eq!(count(&["--state", "suspended"]), 0);
    assert_eq!(
        served.endpoints(["*", "--limit", "1", "--offset", "39"]),
        [format!("udp://{second}:18009")]
    );
    let done = served.ask(["list", "--limit", "3"]).expect_code(0);
    assert_eq!(done.stdout.lines().count(), 4, "{done:#?}");
    assert!(done.stderr.contains("3 of 40"), "{done:#?}");
}

#[test]
fn a_selector_that_names_nothing_ends_with_1_and_an_empty_document() {
    let (served, _) = Served::start(Ipcow::serve(["127.0.0.1:0"]));
    for selector in ["group:nobody", "chunk:99", "state:quarantined", "10.9.9.9:80"] {
        let done = served.ask(["list", selector, "--json"]);
        let done = done.expect_refusal(1, &[selector, "names no endpoint"]);
        assert_eq!(done.stdout.trim_end(), "[]");
        served.ask(["suspend", selector]).expect_refusal(1, &[selector]);
        served.ask(["list", selector, "--untouched"]).expect_refusal(1, &[selector]);
    }
    // A state in which nothing is, is an answer.
    served.ask(["list", "--state", "quarantined"]).expect_code(0);
}

#[test]
fn a_reader_of_a_list_that_goes_away_is_no_failure() {
    let block = Block::new();
    let spec = format!("tcp://{}:18000-18999", block.ip(0));
    let (served, _) = Served::start(Ipcow::serve([&spec]));
    for words in [&["list"][..], &["list", "--json"], &["list", "-o", "csv"], &["status"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let done = served.command(words.iter().copied()).start_with(Stdio::from(writer)).finish();
        assert_eq!(done.expect_code(0).stderr, "", "{words:?}");
    }
}

#[test]
fn two_services_are_told_apart_by_their_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().to_str().expect("text");
    let start = |name: &str| {
        let command = Ipcow::serve(["127.0.0.1:0", "--name", name]);
        let mut server =
            command.env("XDG_RUNTIME_DIR", home).env("IPCOW__CONTROL__PATH", "auto").start();
        let at = server.ready().tcp();
        (server, at)
    };
    let ask = |words: &[&str]| Ipcow::new(words.iter().copied()).env("XDG_RUNTIME_DIR", home).run();
    let ((first, at), (second, _)) = (start("one"), start("two"));
    let done = ask(&["list", "--name", "one", "--json"]).expect_code(0);
    assert_eq!(done.json()[0]["endpoint"], format!("tcp://{at}"));
    assert_eq!(ask(&["status", "--name", "two", "--json"]).json()["pid"], second.pid());
    ask(&["status", "--name", "three"]).expect_refusal(3, &["three", "three.sock"]);
    ask(&["shutdown", "--name", "one"]).expect_code(0);
    first.finish().expect_code(0);
    ask(&["status", "--name", "one"]).expect_refusal(3, &["one.sock"]);
    ask(&["status", "--name", "two"]).expect_code(0);
    second.terminate().expect_code(0);
}

#[test]
fn the_running_configuration_loads_again_as_a_file() {
    let block = Block::new();
    let spec = format!("tcp://{}:18000", block.ip(0));
    let (served, _) = Served::start(Ipcow::serve([&spec]).set("session.idle_timeout_secs=77"));
    let text = served.ask(["config", "show", "--running"]).expect_code(0).stdout;
    assert!(text.starts_with("[[listen]]\nname = \"cli\"\n"), "{text}");
    let file = served.folder().join("running.toml");
    std::fs::write(&file, &text).expect("a file");
    let shown = Ipcow::new(["config", "show"]).arg_file(&file).run().expect_code(0);
    assert!(shown.stdout.contains("idle_timeout_secs = 77\n"), "{shown:#?}");
    assert!(shown.stdout.contains(&spec), "{shown:#?}");
}
