//! Arbitrary input is refused or loaded; it never panics.

use proptest::prelude::*;

use super::*;

/// Lines that are nearly right.
fn line() -> impl Strategy<Value = String> {
    let key = prop_oneof![
        Just("name".to_owned()),
        Just("spec".to_owned()),
        Just("ports".to_owned()),
        Just("addresses".to_owned()),
        Just("protocols".to_owned()),
        Just("termination".to_owned()),
        Just("min_bound".to_owned()),
        Just("refuse_source_ports".to_owned()),
        Just("max_backoff_ms".to_owned()),
        "[a-z_.\"]{1,8}",
    ];
    let value = prop_oneof![
        "[-0-9.e_]{1,6}",
        "\"[^\"]{0,12}\"",
        "'[0-9!,:*a-z/-]{0,12}'",
        "\"\"\"[^\"]{0,12}\"\"\"",
        "\\[[0-9, \"'-]{0,12}\\]",
        "\\{[a-z =0-9]{0,12}\\}",
        any::<String>(),
    ];
    prop_oneof![
        (key, value).prop_map(|(key, value)| format!("{key} = {value}")),
        Just("[[listen]]".to_owned()),
        Just("[retry]".to_owned()),
        Just("[udp]".to_owned()),
        "\\[{1,2}[a-z_.]{0,8}\\]{1,2}",
        any::<String>(),
    ]
}

/// Every fault has a place inside its text and prints.
fn check(outcome: Result<LoadedConfig, ConfigErrors>) {
    let Err(errors) = outcome else { return };
    assert!(!errors.faults().is_empty());
    for fault in errors.faults() {
        assert!(fault.source.get(fault.span.clone()).is_some(), "{fault:?}");
        assert!(!fault.to_string().contains('\n'), "{fault}");
    }
}

proptest! {
    #[test]
    fn any_text_is_loaded_or_refused(text in any::<String>()) {
        check(load_str("any.toml", &text));
    }

    #[test]
    fn nearly_right_text_is_loaded_or_refused(lines in proptest::collection::vec(line(), 0..12)) {
        check(load_str("any.toml", &lines.join("\n")));
    }

    #[test]
    fn any_bytes_of_a_file_are_loaded_or_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("any.toml");
        std::fs::write(&path, bytes).expect("a file");
        check(load(&Inputs { config_files: vec![path], ..Inputs::default() }));
    }

    #[test]
    fn any_variable_and_argument_is_loaded_or_refused(
        name in "[A-Z_]{0,12}",
        index in 0..schema::KEYS.len(),
        value in any::<String>(),
    ) {
        let key = &schema::KEYS[index];
        let path = key.path();
        let variable = format!("IPCOW__{}__{}", key.section, key.name).to_uppercase();
        let mut inputs = variables(&[(&variable, &value), (&format!("IPCOW__{name}"), &value)]);
        inputs.sets = vec![format!("{path}={value}"), value.clone()];
        inputs.specs = vec![value.clone()];
        inputs.excludes = vec![value.clone()];
        inputs.workers = Some(value);
        check(load(&inputs));
    }
}
