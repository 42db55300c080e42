//! What the commands for a running service do where there is none, and what needs none
//! (interface §4): paths that were tried, exit codes, completions, manual pages.

use std::os::unix::net::UnixListener;
use std::process::Stdio;

use crate::common::{Ipcow, Need, needs};

/// Every command that talks to a service, with legal arguments.
const COMMANDS: [&[&str]; 15] = [
    &["status"],
    &["list"],
    &["events"],
    &["errors"],
    &["suspend", "*"],
    &["resume", "*"],
    &["drain", "*"],
    &["retry", "*"],
    &["add", "127.0.0.1:80"],
    &["remove", "*"],
    &["reload"],
    &["set"],
    &["mark"],
    &["shutdown"],
    &["config", "show", "--running"],
];

#[test]
fn where_nobody_answers_each_path_is_told_with_its_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = folder.path().to_str().expect("text");
    std::fs::create_dir(folder.path().join("ipcow")).expect("a folder");
    drop(UnixListener::bind(folder.path().join("ipcow/lab.sock")).expect("a dead socket"));
    let done = Ipcow::new(["status", "--name", "lab"])
        .env("RUNTIME_DIRECTORY", text)
        .env("XDG_RUNTIME_DIR", text)
        .run();
    let tried = [
        format!("tried {text}/lab.sock: no such socket"),
        format!("tried {text}/ipcow/lab.sock: refused"),
        "tried /tmp/ipcow-".to_owned(),
    ];
    let done = done.expect_refusal(3, &tried.each_ref().map(String::as_str));
    assert_eq!(done.stdout, "");
}

#[test]
fn only_status_has_a_code_of_its_own_for_nobody() {
    for words in COMMANDS {
        let code = if words == ["status"] { 3 } else { 1 };
        let command = Ipcow::new(words.iter().copied()).args(["--control", "/nowhere/a.sock"]);
        command.run().expect_refusal(code, &["/nowhere/a.sock", "no such socket", "hint: "]);
    }
}

#[test]
fn a_socket_that_may_not_be_used_says_who_may() {
    if !needs(&[Need::Root]) {
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.sock");
    let _socket = UnixListener::bind(&path).expect("a socket");
    let only_root = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&path, only_root).expect("it is ours");
    let path = path.to_str().expect("text");
    let done = Ipcow::new(["status", "--control", path]).by_nobody_in(folder.path()).run();
    done.expect_refusal(3, &["permission denied", "control.mode"]);
}

#[test]
fn bad_arguments_are_found_before_anybody_is_asked() {
    let refused = |words: &[&str], named: &[&str]| {
        let command = Ipcow::new(words.iter().copied()).args(["--control", "/nowhere/a.sock"]);
        let done = command.run().expect_refusal(2, named);
        assert!(!done.stderr.contains("/nowhere"), "{done:#?}");
    };
    refused(&["list", "chunk:0"], &["`0` is no number of a chunk", " |       ^"]);
    refused(&["suspend", "state:listning"], &["`listning` is no state", "^^^^^^^^"]);
    refused(&["drain", "tcp://127.0.0.1:80x"], &["`80x` is no port", "^^^"]);
    refused(&["remove", ""], &["the selector is empty"]);
    refused(&["add", "127.0.0.1:65536"], &["65536", "^^^^^"]);
    refused(&["add", "!127.0.0.1:80"], &["only excludes", "ipcow remove"]);
    refused(&["suspend", "*", "--for", "soon"], &["soon"]);
    refused(&["suspend", "*", "--sessions", "kill"], &["kill", "reset"]);
    refused(&["list", "--touched-by", "10.0.0.1/8"], &["10.0.0.0/8"]);
    refused(&["set", "max_sessions=5"], &["section.key=value"]);
    refused(&["status", "--name", "../x"], &["a name has"]);
    Ipcow::new(["config", "show", "--name", "a"]).run().expect_refusal(2, &["--running"]);
}

#[test]
fn the_help_of_each_command_that_takes_a_selector_shows_examples() {
    for command in ["list", "suspend", "resume", "drain", "retry", "remove"] {
        let help = Ipcow::new([command, "--help"]).run().expect_code(0).stdout;
        for word in ["*://10.0.0.0/24:*", "group:lab", "chunk:3", "state:quarantined"] {
            assert!(help.contains(word), "{command}: {help}");
        }
    }
}

#[test]
fn completions_are_scripts_that_their_shell_can_read() {
    let bash = Ipcow::new(["completions", "bash"]).run().expect_code(0).stdout;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ipcow.bash");
    std::fs::write(&file, bash).expect("a file");
    let ask = "source \"$0\"; COMP_WORDS=(ipcow susp); COMP_CWORD=1; _ipcow ipcow susp ipcow; \
               echo \"${COMPREPLY[@]}\"";
    let asked = std::process::Command::new("bash").args(["-c", ask]).arg(&file).output();
    let asked = asked.expect("bash is on every machine that runs these tests");
    assert_eq!(String::from_utf8_lossy(&asked.stdout), "suspend\n", "{asked:?}");
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let script = Ipcow::new(["completions", shell]).run().expect_code(0).stdout;
        assert!(script.contains("suspend"), "{shell}");
    }
    Ipcow::new(["completions", "tcsh"]).run().expect_refusal(2, &["tcsh", "zsh"]);
}

#[test]
fn there_is_a_manual_page_for_each_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().to_str().expect("text");
    Ipcow::new(["man", "--out", out]).run().expect_code(0);
    let mut names: Vec<String> = std::fs::read_dir(folder.path())
        .expect("a folder")
        .map(|entry| entry.expect("a file").file_name().into_string().expect("text"))
        .collect();
    names.sort();
    let all = Ipcow::new(["man"]).run().expect_code(0).stdout;
    assert_eq!(all.matches("\n.TH ").count(), names.len());
    for name in ["ipcow.1", "ipcow-serve.1", "ipcow-suspend.1", "ipcow-config-show.1"] {
        assert!(names.iter().any(|found| found == name), "{name}: {names:?}");
    }
    Ipcow::new(["man", "--out", "/nowhere/at/all"]).run().expect_refusal(1, &["/nowhere/at/all"]);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    for words in [&["man"][..], &["completions", "zsh"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let command = Ipcow::new(words.iter().copied()).start_with(Stdio::from(writer));
        let done = command.finish().expect_code(0);
        assert_eq!(done.stderr, "");
    }
}
