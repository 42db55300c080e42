//! Configuration that must be refused (faults 1 and 6): exit 78 from a file or the
//! environment, 2 from an argument, and never a panic, a loop or an open socket.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{Ipcow, NO_SPECS, Need, binary, needs};

fn write(folder: &Path, bytes: &[u8]) -> PathBuf {
    let file = folder.join("ipcow.toml");
    std::fs::write(&file, bytes).expect("the folder is writable");
    file
}

fn serve_with(file: &Path) -> Ipcow {
    Ipcow::new(["serve", "--json", "--config"]).args([file])
}

fn refuse(text: &str, named: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = write(folder.path(), text.as_bytes());
    serve_with(&file).run().expect_refusal(78, &[&["ipcow.toml"], named].concat());
}

#[test]
fn a_termination_longer_than_4096_bytes_is_refused_by_name() {
    let long = "x".repeat(4097);
    refuse(
        &format!("[listen_defaults]\ntermination = \"{long}\"\n"),
        &["termination", "4096", "ipcow.toml:2"],
    );
    let set = format!("listen_defaults.termination={long}");
    Ipcow::serve(NO_SPECS).set(&set).run().expect_refusal(2, &["termination", "4096"]);
    Ipcow::serve(NO_SPECS)
        .env("IPCOW__LISTEN_DEFAULTS__TERMINATION", &long)
        .run()
        .expect_refusal(78, &["IPCOW__LISTEN_DEFAULTS__TERMINATION", "4096"]);
}

#[test]
fn an_unknown_key_is_refused_with_its_place_and_the_nearest_key() {
    refuse("[retry]\nmax_atempts = 3\n", &["max_atempts", "max_attempts", "ipcow.toml:2", "^"]);
    Ipcow::serve(NO_SPECS)
        .set("retry.max_atempts=3")
        .run()
        .expect_refusal(2, &["max_atempts", "max_attempts"]);
    Ipcow::serve(NO_SPECS)
        .env("IPCOW__RETRY__MAX_ATEMPTS", "3")
        .run()
        .expect_refusal(78, &["IPCOW__RETRY__MAX_ATEMPTS", "MAX_ATTEMPTS"]);
}

#[test]
fn a_wrong_type_is_refused_with_what_is_allowed() {
    refuse("[retry]\nmax_attempts = \"many\"\n", &["max_attempts", "many", "ipcow.toml:2", "^"]);
}

#[test]
fn a_value_out_of_bounds_is_refused_with_the_bounds() {
    refuse("[retry]\nmax_attempts = 0\n", &["max_attempts", "0", "1"]);
}

#[test]
fn all_faults_of_all_layers_are_reported_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = write(folder.path(), b"[retry]\nmax_atempts = 3\njitter = 7\n[nowhere]\nkey = 1\n");
    serve_with(&file)
        .env("IPCOW__SESSION__IDLE_TIMEOUT_SECS", "soon")
        .set("coverage.min_bound=lots")
        .run()
        .expect_refusal(
            78,
            &["max_atempts", "jitter", "nowhere", "IDLE_TIMEOUT_SECS", "coverage.min_bound"],
        );
}

#[test]
fn an_access_log_that_cannot_be_opened_is_refused_by_its_key() {
    let path = "/nowhere/at/all/access.log";
    Ipcow::serve(["tcp://127.0.0.1:0"])
        .set(&format!("access_log.path={path}"))
        .run()
        .expect_refusal(78, &["access_log.path", path, "No such file"]);
    refuse("[access_log]\npath = \"\"\n", &["access_log", "path"]);
}

#[test]
fn two_groups_of_one_name_in_one_file_are_refused() {
    let group = "[[listen]]\nname = \"lab\"\nspec = \"tcp://127.0.0.1:18000\"\n";
    refuse(&format!("{group}{group}"), &["lab"]);
}

#[test]
fn an_overlap_of_groups_whose_settings_differ_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = write(
        folder.path(),
        b"[[listen]]\nname = \"one\"\nspec = \"tcp://127.0.0.1:18000-18009\"\n\
         [[listen]]\nname = \"two\"\nspec = \"tcp://127.0.0.1:18009-18019\"\nmode = \"discard\"\n",
    );
    serve_with(&file).run().expect_refusal(78, &["one", "two", "127.0.0.1:18009"]);
}

#[test]
fn a_file_that_is_not_there_ends_with_78_and_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    serve_with(&folder.path().join("ipcow.toml")).run().expect_refusal(78, &["ipcow.toml"]);
}

/// Files that no honest editor writes; each must be refused in less than a second.
fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!("a = {open}{close}\n").into_bytes()
    };
    let dotted = format!("{}a = 1\n", "a.".repeat(100_000)).into_bytes();
    vec![
        ("a NUL byte", b"[retry]\nmax_attempts = 3\n\0\n".to_vec()),
        ("not UTF-8", b"[retry]\nname = \"\xff\xfe\"\n".to_vec()),
        ("10 MB of one key", [b"a = \"".as_slice(), &vec![b'x'; 10_000_000], b"\"\n"].concat()),
        ("10 MB of comments", b"# a comment\n".repeat(833_334)),
        ("10 MB of faults", b"x=1\n".repeat(2_500_000)),
        ("5,000 levels", nested(5_000)),
        ("400,000 levels", nested(400_000)),
        ("100,000 dotted levels", dotted),
    ]
}

#[test]
fn a_hostile_file_is_refused_fast_and_without_a_panic() {
    if !needs(&[Need::Tool("python3")]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clients/measure.py");
    for (what, bytes) in hostile() {
        let file = write(folder.path(), &bytes);
        let output = Command::new("python3")
            .arg(&script)
            .args([binary().as_os_str(), "check".as_ref(), "--config".as_ref()])
            .arg(&file)
            .output()
            .expect("python3 starts");
        let cost: serde_json::Value =
            serde_json::from_slice(&output.stdout).expect("the script prints one document");
        assert_eq!(cost["code"], 78, "{what}: {cost}");
        let said = cost["stderr"].as_str().expect("text");
        assert!(!said.contains("panicked"), "{what}: {said}");
        assert!(said.len() < 100_000, "{what}: {} bytes of message", said.len());
        assert!(cost["cpu_seconds"].as_f64().expect("a number") < 1.0, "{what}: {cost}");
    }
}

#[test]
fn an_empty_file_is_refused_because_it_says_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = write(folder.path(), b"");
    serve_with(&file).args(["--once"]).run().expect_refusal(78, &["ipcow.toml", "empty"]);
}

#[test]
fn a_refused_start_opens_no_socket() {
    if !needs(&[Need::Tool("strace")]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let trace = folder.path().join("trace");
    let file = write(folder.path(), b"[retry]\nmax_atempts = 3\n");
    let traced = serve_with(&file).traced(&trace, &["trace=bind,listen"]);
    traced.run().expect_refusal(78, &["max_atempts"]);
    let calls = std::fs::read_to_string(&trace).expect("strace writes its file");
    assert!(!calls.contains("bind(") && !calls.contains("listen("), "{calls}");
}
