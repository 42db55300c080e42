//! What strangers and typing errors can put before a person's eyes (fault 56): no byte of
//! a client in a log, no control character on a terminal.

use crate::common::{Ipcow, connect, echo_tcp, echo_udp, udp_client};

/// Turns a terminal red, begins a line, rings, and does the first again in one byte (C1).
const DISTURBING: &str = "\u{1b}[31m\nforged=line\u{7}\u{9b}31m";

/// Fails where `text` could move a cursor; lines may end.
fn assert_calm(text: &str, of: &str) {
    let disturbs = |found: &char| found.is_control() && *found != '\n';
    assert_eq!(text.chars().find(disturbs), None, "{of}\n{text:?}");
    assert!(!text.contains("\nforged"), "{of}\n{text:?}");
}

#[test]
fn what_a_client_sends_is_never_logged_whatever_the_level_and_the_format() {
    for format in ["json", "pretty"] {
        let mut server = Ipcow::serve(["both://127.0.0.1:0"])
            .set("log.level=trace")
            .set(&format!("log.format={format}"))
            .set("listen_defaults.termination=the end")
            .start();
        let ready = server.ready();
        let payload = format!("hunter2{DISTURBING}");
        let mut client = connect(ready.tcp());
        echo_tcp(&mut client, payload.as_bytes());
        echo_udp(&udp_client(ready.udp()), payload.as_bytes());
        drop(client);
        let done = server.terminate().expect_code(0);
        assert!(!done.stderr.is_empty());
        assert_calm(&done.stderr, format);
        for part in ["hunter2", "forged", "31m"] {
            assert!(!format!("{}{}", done.stderr, done.stdout).contains(part), "{done:#?}");
        }
    }
}

#[test]
fn nothing_that_is_typed_or_read_moves_a_cursor() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(format!("{name}{DISTURBING}"));
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let faulty = file("faulty", "[ret\u{1b}ry]\nx = \"\\u001b[31m\"\n");
    let unknown = file("unknown", "[retry]\n\"max\\u001b\" = \"\\u009b\"\n");
    let fine = file("fine", "[[listen]]\nname = \"a\"\nspec = \"tcp://127.0.0.1:0\"\n");
    let list = file("list", &format!("10.0.0.1{DISTURBING}\n"));
    let with = |part: &str| part.replace('_', DISTURBING);
    let commands: Vec<Vec<String>> = vec![
        vec!["check".into(), with("tcp://127.0.0.1:80_")],
        vec!["check".into(), with("tcp://_:80")],
        vec!["check".into(), with("tcp://[fe80::1%_]:80")],
        vec!["plan".into(), with("tcp://if:no_:80")],
        vec!["plan".into(), with("tcp://@no_:80")],
        vec!["plan".into(), format!("tcp://@{list}:80")],
        vec!["check".into(), "--exclude".into(), with("tcp://127.0.0.1:1_")],
        vec!["check".into(), "--set".into(), with("retry.jitter=_")],
        vec!["check".into(), "--set".into(), with("retry._=1")],
        vec!["check".into(), "--config".into(), faulty],
        vec!["check".into(), "--config".into(), unknown],
        vec!["check".into(), "--config".into(), with("none_")],
        vec!["config".into(), "show".into(), "--origin".into(), "--config".into(), fine],
        vec!["config".into(), "show".into(), "--set".into(), with("listen_defaults.termination=_")],
        vec!["serve".into(), "--set".into(), with("process.user=_")],
        vec!["serve".into(), "--set".into(), with("process.group=_")],
        vec!["serve".into(), "--name".into(), with("_")],
        vec!["serve".into(), "--for".into(), with("_")],
        vec!["serve".into(), "--workers".into(), with("_")],
        vec!["serve".into(), with("--_")],
        vec![with("_")],
    ];
    for command in commands {
        let of = format!("{command:?}");
        let done = Ipcow::new(command).env("IPCOW_CONFIG", "none").run();
        assert!(done.code.is_some(), "{done:#?}");
        assert_calm(&done.stderr, &of);
        assert_calm(&done.stdout, &of);
    }
}
