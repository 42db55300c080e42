//! Any TOML text and any `--set` argument: loaded or refused, and then told faithfully.
//!
//! What loads is written out and loaded again, and is the same. What is refused has faults
//! that lie inside their text and hold no control character. Input: a TOML text; lines that
//! begin with `--set ` are arguments instead.
#![no_main]

use ipcow::config::{ConfigErrors, Inputs, LoadedConfig, load, load_str};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut toml = String::new();
    let mut inputs = Inputs::default();
    inputs.config_files = vec!["none".into()];
    for line in text.split_inclusive('\n') {
        match line.strip_prefix("--set ") {
            Some(argument) => inputs.sets.push(argument.trim_end_matches('\n').to_owned()),
            None => toml.push_str(line),
        }
    }
    judge(load_str("fuzz.toml", &toml));
    if !inputs.sets.is_empty() {
        judge(load(&inputs));
    }
});

fn judge(outcome: Result<LoadedConfig, ConfigErrors>) {
    match outcome {
        Ok(loaded) => {
            let written = written(&loaded);
            match load_str("again.toml", &written) {
                Ok(again) => assert_eq!(again.config, loaded.config, "{written}"),
                Err(errors) => panic!("what was loaded is refused: {errors}\n{written}"),
            }
        }
        Err(errors) => {
            assert!(!errors.faults().is_empty(), "a refusal names a fault");
            for fault in errors.faults() {
                assert!(fault.source.get(fault.span.clone()).is_some(), "{fault:?}");
                assert!(!fault.to_string().chars().any(char::is_control), "{fault:?}");
            }
        }
    }
}

/// The effective configuration, as `ipcow config show` writes it.
fn written(loaded: &LoadedConfig) -> String {
    let mut text = String::new();
    for table in loaded.effective() {
        text += &match table.name {
            "listen" => "[[listen]]\n".to_owned(),
            name => format!("[{name}]\n"),
        };
        for key in &table.keys {
            text += &format!("{} = {}\n", key.name, key.to_toml());
        }
    }
    text
}
