//! Files that are wrong before they are TOML, and the machine's own files.

use std::path::Path;
use std::time::{Duration, Instant};

use super::*;
use crate::config::fault::{Document, Faults};
use crate::config::sources::read_below;

/// The one fault of a file with these bytes, found in bounded time.
fn fault_of(bytes: &[u8]) -> Fault {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("a.toml");
    std::fs::write(&path, bytes).expect("a file");
    let began = Instant::now();
    let errors = load(&Inputs { config_files: vec![path], ..Inputs::default() })
        .expect_err("the file must be refused");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(errors.exit_code(), 78);
    errors.faults()[0].clone()
}

#[test]
fn a_file_of_ten_megabytes_is_refused_unread() {
    assert!(fault_of(&vec![b'#'; 10 << 20]).message.contains("longer than 1048576 bytes"));
}

#[test]
fn a_file_with_a_nul_byte_is_refused_at_its_place() {
    let fault = fault_of(b"[log]\nlevel = \"in\0fo\"\n");
    assert_eq!(fault.message, "found a NUL byte; a configuration is TOML text");
    assert_eq!((fault.line, fault.column), (2, 12));
}

#[test]
fn a_file_that_is_not_utf_8_is_refused_at_its_place() {
    let fault = fault_of(b"[log]\nlevel = \"\xff\"\n");
    assert_eq!(fault.message, "found bytes that are not UTF-8");
    assert_eq!((fault.line, fault.column), (2, 10));
}

#[test]
fn a_deeply_nested_file_is_refused() {
    let deep = 500_000;
    for text in [
        format!("a = {}{}", "[".repeat(deep), "]".repeat(deep)),
        format!("a = {}", "[".repeat(deep)),
        format!("a = {}", "{a=".repeat(deep / 2)),
        format!("[{}a]", "a.".repeat(deep)),
        format!("{}a = 1", "a.".repeat(deep)),
        "[[a]]\n".repeat(deep / 4),
        "]".repeat(60_000),
        "\"\n".repeat(30_000),
    ] {
        assert!(!fault_of(text.as_bytes()).message.is_empty());
    }
}

#[test]
fn a_file_of_many_legal_groups_is_read() {
    let began = Instant::now();
    let text: String = (0..20_000)
        .map(|index| format!("[[listen]]\nname = \"g{index}\"\nspec = \":80\"\n"))
        .collect();
    assert_eq!(load_str("test.toml", &text).expect("legal").config.groups.len(), 20_000);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn a_file_that_is_missing_or_a_directory_is_refused_by_name() {
    let directory = tempfile::tempdir().expect("a directory");
    for path in [directory.path().to_owned(), directory.path().join("missing.toml")] {
        let errors = load(&Inputs { config_files: vec![path.clone()], ..Inputs::default() })
            .expect_err("unreadable");
        assert!(errors.to_string().starts_with(&path.display().to_string()), "{errors}");
        assert_eq!(errors.faults()[0].line, 0);
    }
}

#[test]
fn an_empty_file_is_refused_as_the_mistake_that_it_is() {
    for text in ["", " \n\n"] {
        let errors = load_str("test.toml", text).expect_err("nothing is said");
        assert!(errors.to_string().contains("the file is empty"), "{errors}");
    }
}

#[test]
fn a_file_of_comments_and_one_with_a_byte_order_mark_change_nothing() {
    for text in ["\n\n# nothing\n", "\u{feff}[log]\nlevel = \"info\"\n"] {
        assert_eq!(load_str("test.toml", text).expect("legal").config, Config::default());
    }
}

#[test]
fn every_example_of_the_repository_loads() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut loaded = 0;
    for entry in std::fs::read_dir(directory).expect("the directory") {
        let path = entry.expect("an entry").path();
        let inputs = Inputs { config_files: vec![path.clone()], ..Inputs::default() };
        assert!(
            !load(&inputs).unwrap_or_else(|faults| panic!("{faults}")).config.groups.is_empty()
        );
        loaded += 1;
    }
    assert_eq!(loaded, 4);
}

fn origins(documents: &[Document]) -> Vec<String> {
    let name = |document: &Document| {
        let path = document.origin.to_string();
        Path::new(&path).file_name().expect("a name").to_string_lossy().into_owned()
    };
    documents.iter().map(name).collect()
}

#[test]
fn the_machines_own_files_are_read_in_the_order_of_their_names() {
    let system = tempfile::tempdir().expect("a directory");
    let parts = system.path().join("conf.d");
    std::fs::create_dir(&parts).expect("a directory");
    for name in ["20.toml", "10.toml", ".hidden.toml", "10.toml.bak", "README"] {
        std::fs::write(parts.join(name), "").expect("a file");
    }
    std::fs::write(system.path().join("ipcow.toml"), "").expect("a file");
    let mut faults = Faults::new();
    let documents = read_below(system.path(), &[], &[], &mut faults);
    assert_eq!(origins(&documents), ["ipcow.toml", "10.toml", "20.toml"]);
    assert!(faults.into_result().is_ok());
}

#[test]
fn a_machine_without_files_has_none() {
    let system = tempfile::tempdir().expect("a directory");
    let mut faults = Faults::new();
    assert!(read_below(system.path(), &[], &[], &mut faults).is_empty());
    assert!(read_below(&system.path().join("x"), &[], &[], &mut faults).is_empty());
    assert!(faults.into_result().is_ok());
}

#[test]
fn a_named_file_stands_for_the_machines_own_and_none_for_no_file() {
    let system = tempfile::tempdir().expect("a directory");
    for name in ["ipcow.toml", "mine.toml", "other.toml"] {
        std::fs::write(system.path().join(name), "").expect("a file");
    }
    let mine = system.path().join("mine.toml");
    let variable = vec![("IPCOW_CONFIG".to_owned(), mine.display().to_string())];
    let mut faults = Faults::new();
    let mut read = |files: &[std::path::PathBuf], env: &[(String, String)]| {
        origins(&read_below(system.path(), files, env, &mut faults))
    };
    assert_eq!(read(&[], &variable), ["mine.toml"]);
    assert_eq!(read(&[system.path().join("other.toml")], &variable), ["other.toml"]);
    assert!(read(&["none".into()], &variable).is_empty());
    assert!(read(&[], &[("IPCOW_CONFIG".to_owned(), "none".to_owned())]).is_empty());
}
