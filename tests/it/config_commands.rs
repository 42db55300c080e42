//! `ipcow check` and `ipcow config show`: layers, origins and groups (interface §3).

use std::path::{Path, PathBuf};

use crate::common::{Ipcow, NO_SPECS};

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let file = folder.join(name);
    std::fs::write(&file, text).expect("the folder is writable");
    file
}

/// The line of `config show --origin` that sets `key`, with spaces as they are.
fn shown(command: Ipcow, key: &str) -> String {
    let done = command.run().expect_code(0);
    let mut lines = done.stdout.lines();
    let found = lines.find(|line| line.trim_start().starts_with(key));
    found.unwrap_or_else(|| panic!("{key} is not shown: {done:#?}")).to_owned()
}

fn show() -> Ipcow {
    Ipcow::new(["config", "show", "--origin"])
}

#[test]
fn check_accepts_what_is_valid_and_counts_its_groups() {
    let done = Ipcow::new(["check", "--config", "none"]).run().expect_code(0);
    assert!(done.stdout.contains("valid"), "{done:#?}");
    let report = Ipcow::new(["check", "--json", "--config", "none"]).run().expect_code(0).json();
    assert_eq!(report["valid"], true, "{report}");
}

#[test]
fn check_reports_each_fault_with_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = write(folder.path(), "a.toml", "[retry]\nmax_atempts = 1\n  jitter = \"x\"\n");
    let command = Ipcow::new(["check", "--json", "--config"]).args([file]);
    let report = command.run().expect_code(78).json();
    assert_eq!(report["valid"], false, "{report}");
    let faults = report["faults"].as_array().expect("a list");
    assert_eq!(faults.len(), 2, "{report}");
    assert_eq!((&faults[0]["line"], &faults[0]["column"]), (&2.into(), &1.into()), "{report}");
    assert_eq!(faults[1]["line"], 3, "{report}");
    for fault in faults {
        assert!(fault["file"].as_str().is_some_and(|file| file.ends_with("a.toml")), "{fault}");
        assert!(fault["message"].as_str().is_some_and(|text| !text.is_empty()), "{fault}");
    }
}

#[test]
fn each_layer_overrides_the_one_below_and_show_names_the_winner() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = write(folder.path(), "first.toml", "[retry]\nmax_attempts = 11\n");
    let second = write(folder.path(), "second.toml", "[retry]\nmax_attempts = 12\n");
    let key = "max_attempts";
    let none = || show().args(["--config", "none"]);
    let line = shown(none(), key);
    assert!(line.contains("= 5") && line.contains("built-in"), "{line}");
    let one = || show().arg_file(&first);
    let line = shown(one(), key);
    assert!(line.contains("= 11") && line.contains("first.toml:2"), "{line}");
    let two = || one().arg_file(&second);
    let line = shown(two(), key);
    assert!(line.contains("= 12") && line.contains("second.toml:2"), "{line}");
    let env = || two().env("IPCOW__RETRY__MAX_ATTEMPTS", "13");
    let line = shown(env(), key);
    assert!(line.contains("= 13") && line.contains("IPCOW__RETRY__MAX_ATTEMPTS"), "{line}");
    let line = shown(env().set("retry.max_attempts=14"), key);
    assert!(line.contains("= 14") && line.contains("--set"), "{line}");
}

#[test]
fn the_file_that_the_environment_names_is_read_unless_an_argument_names_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = write(folder.path(), "named.toml", "[retry]\nmax_attempts = 21\n");
    let named = || show().env("IPCOW_CONFIG", file.to_str().expect("UTF-8"));
    assert!(shown(named(), "max_attempts").contains("= 21"));
    assert!(shown(named().args(["--config", "none"]), "max_attempts").contains("= 5"));
}

#[test]
fn single_underscores_are_what_kubernetes_injects_and_are_ignored() {
    let command = show().args(["--config", "none"]);
    let crowded = command.env("IPCOW_PORT", "tcp://10.0.0.1:80").env("IPCOW_SERVICE_HOST", "x");
    assert!(shown(crowded, "max_attempts").contains("= 5"));
}

#[test]
fn what_show_prints_can_be_loaded_again_and_means_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "[[listen]]\nname = \"lab\"\naddresses = [\"127.0.0.0/29\", \"!127.0.0.3\"]\n\
                ports = [\"8000-8010\", \"!8005\", 9000]\nprotocols = [\"tcp\", \"udp\"]\n\
                termination = \"\\u0000end\"\n[coverage]\nmin_bound = \"99%\"\n";
    let file = write(folder.path(), "a.toml", text);
    let print = |file: &Path| Ipcow::new(["config", "show", "--config"]).args([file]).run();
    let first = print(&file).expect_code(0).stdout;
    let again = write(folder.path(), "b.toml", &first);
    assert_eq!(print(&again).expect_code(0).stdout, first);
    let plan = Ipcow::new(["plan", "--json", "--config"]).args([&again]).run().json();
    assert_eq!(plan["endpoints"]["total"], 7 * 11 * 2, "{plan}");
}

#[test]
fn a_group_of_a_file_drops_the_built_in_one_and_groups_join_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let group = |name: &str, port: u16| {
        format!("[[listen]]\nname = \"{name}\"\nspec = \"tcp://127.0.0.1:{port}\"\n")
    };
    let first = write(folder.path(), "1.toml", &format!("{}{}", group("a", 1), group("b", 2)));
    let second = write(folder.path(), "2.toml", &format!("{}{}", group("b", 3), group("c", 4)));
    let plan = Ipcow::new(["plan", "--json"]).arg_file(&first).arg_file(&second).run().json();
    let names: Vec<_> = plan["groups"].as_array().expect("a list").iter().collect();
    let names: Vec<_> = names.iter().map(|group| group["name"].as_str()).collect();
    assert_eq!(names, [Some("a"), Some("b"), Some("c")], "{plan}");
    assert_eq!(plan["endpoints"]["total"], 3, "{plan}");
}

#[test]
fn the_environment_replaces_all_groups_by_one_named_cli() {
    let command = Ipcow::plan(NO_SPECS);
    let plan = command
        .env("IPCOW__LISTEN", "tcp://127.0.0.1:18000-18001 udp://127.0.0.1:18000")
        .run()
        .json();
    assert_eq!(plan["groups"][0]["name"], "cli", "{plan}");
    assert_eq!(plan["endpoints"], serde_json::json!({"total": 3, "tcp": 2, "udp": 1}), "{plan}");
}

#[test]
fn every_example_in_the_repository_is_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let files = std::fs::read_dir(folder).expect("the examples are there");
    let mut seen = 0;
    for file in files.map(|entry| entry.expect("readable").path()) {
        if file.extension().is_some_and(|extension| extension == "toml") {
            Ipcow::new(["check", "--config"]).args([&file]).run().expect_code(0);
            seen += 1;
        }
    }
    assert!(seen >= 2, "{seen} examples");
}
