//! `ipcow check`: is the configuration legal?
//!
//! Reads and judges, also whether the specs can make a plan on any machine;
//! asks nothing of this one: resolves no name, reads no @FILE, opens no socket.

use std::io::Write;

use clap::Args;
use ipcow::config::{ConfigErrors, Fault, Inputs, LoadedConfig, Origin, load};
use ipcow::plan::endpoints::{self, PlanError, SpecPlace};
use serde_json::{Value, json};

use super::config_args::ConfigArgs;
use super::{diagnostics, exit};

/// Arguments of `ipcow check`.
#[derive(Debug, Clone, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,

    /// Prints one JSON document.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Judges the configuration; the exit code is 0, 2 (arguments) or 78.
///
/// The verdict goes to `out`; faults go to `err`, or to `out` as JSON.
pub(crate) fn run(
    inputs: &Inputs,
    json: bool,
    color: bool,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let loaded = load(inputs);
    let judged = loaded.as_ref().map(|loaded| (loaded, endpoints::check(&loaded.config)));
    let (code, written) = match (&judged, json) {
        (Ok((loaded, Ok(()))), true) => (0, writeln!(out, "{}", valid(loaded))),
        (Ok((loaded, Ok(()))), false) => {
            (0, writeln!(out, "configuration is valid: {}", summary(loaded)))
        }
        (Ok((loaded, Err(error))), _) => {
            let written = match json {
                true => writeln!(out, "{}", unplanned(error, loaded)),
                false => write!(err, "{}", diagnostics::plan_error(error, loaded, color)),
            };
            (exit::of_plan_error(error, inputs), written)
        }
        (Err(errors), true) => (errors.exit_code(), writeln!(out, "{}", invalid(errors))),
        (Err(errors), false) => {
            (errors.exit_code(), write!(err, "{}", diagnostics::config_errors(errors, color)))
        }
    };
    // The verdict is the exit code: a reader that went away does not change it.
    drop(written);
    code
}

fn summary(loaded: &LoadedConfig) -> String {
    /// Most names that are listed.
    const SHOWN: usize = 10;
    let groups = &loaded.config.groups;
    let mut names: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
    if names.len() > SHOWN {
        names.truncate(SHOWN);
        names.push("…");
    }
    let noun = if groups.len() == 1 { "group" } else { "groups" };
    format!("{} {noun} ({})", groups.len(), names.join(", "))
}

fn valid(loaded: &LoadedConfig) -> Value {
    let group = |group: &ipcow::config::Group| {
        let specs: Vec<String> = group.specs.iter().map(ToString::to_string).collect();
        json!({ "name": group.name, "specs": specs })
    };
    let groups: Vec<Value> = loaded.config.groups.iter().map(group).collect();
    json!({ "valid": true, "groups": groups, "faults": [] })
}

fn invalid(errors: &ConfigErrors) -> Value {
    let faults: Vec<Value> = errors.faults().iter().map(fault).collect();
    json!({ "valid": false, "groups": [], "faults": faults, "omitted": errors.omitted() })
}

/// Specs that are each legal and make no plan together.
fn unplanned(error: &PlanError, loaded: &LoadedConfig) -> Value {
    let origin = match error.spec() {
        Some((SpecPlace::Group { group, .. }, _)) => loaded.group_origin(group).map(str::to_owned),
        Some((SpecPlace::Exclude(_), _)) => Some(Origin::Exclude.to_string()),
        None => None,
    };
    let fault = json!({
        "origin": origin,
        "file": null,
        "line": null,
        "column": null,
        "key": "listen",
        "message": error.to_string(),
        "help": error.help(),
    });
    json!({ "valid": false, "groups": [], "faults": [fault], "omitted": 0 })
}

fn fault(fault: &Fault) -> Value {
    let file = match &fault.origin {
        Origin::File(path) => Some(path),
        _ => None,
    };
    let place = |number: usize| (number > 0).then_some(number);
    json!({
        "origin": fault.origin.to_string(),
        "file": file,
        "line": place(fault.line),
        "column": place(fault.column),
        "key": fault.key,
        "message": fault.message,
        "help": fault.help,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exit code, standard output and standard error of a check.
    fn check(file: Option<&str>, sets: &[&str], json: bool) -> (u8, String, String) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a.toml");
        std::fs::write(&path, file.unwrap_or("# nothing\n")).expect("a file");
        let mut inputs = Inputs::default();
        inputs.config_files = vec![path];
        inputs.sets = sets.iter().map(|set| (*set).to_owned()).collect();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = run(&inputs, json, false, &mut out, &mut err);
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (code, text(out), text(err))
    }

    #[test]
    fn a_legal_configuration_is_said_to_be() {
        let (code, out, err) = check(None, &[], false);
        assert_eq!((code, err.as_str()), (0, ""));
        assert_eq!(out, "configuration is valid: 1 group (lab)\n");
    }

    #[test]
    fn a_legal_configuration_lists_its_groups_as_json() {
        let (code, out, _) = check(None, &[], true);
        assert_eq!(code, 0);
        let expected = r#"{"faults":[],"groups":[{"name":"lab","specs":["both://127.0.0.1:18000-18009"]}],"valid":true}"#;
        assert_eq!(out.trim_end(), expected);
    }

    #[test]
    fn a_faulty_file_ends_with_78_and_a_faulty_argument_with_2() {
        let (code, out, err) = check(Some("[log]\nlevle = 1\n"), &[], false);
        assert_eq!((code, out.as_str()), (78, ""));
        assert!(err.contains("a.toml:2:1") && err.contains("^^^^^"), "{err}");
        assert_eq!(check(None, &["log.level=loud"], false).0, 2);
        assert_eq!(check(Some("x = 1"), &["log.level=loud"], true).0, 78);
    }

    #[test]
    fn faults_as_json_have_file_line_column_message_and_help() {
        let (code, out, err) = check(Some("[log]\nlevle = 1\n"), &["log.level=loud"], true);
        assert_eq!((code, err.as_str()), (78, ""));
        let document: Value = serde_json::from_str(&out).expect("JSON");
        assert_eq!(document["valid"], json!(false));
        let first = &document["faults"][0];
        assert!(first["file"].as_str().is_some_and(|path| path.ends_with("a.toml")));
        assert_eq!((&first["line"], &first["column"]), (&json!(2), &json!(1)));
        assert_eq!(first["message"], json!("unknown key `log.levle`"));
        assert_eq!(first["help"], json!("did you mean `log.level`?"));
        let second = &document["faults"][1];
        assert_eq!((&second["file"], &second["origin"]), (&Value::Null, &json!("--set")));
    }

    #[test]
    fn specs_that_no_machine_could_serve_are_refused_with_their_group_and_place() {
        let wide = "[log]\nlevel = \"info\"\n[[listen]]\nname = \"wide\"\nspec = \"[::/0]:*\"\n";
        let (code, out, err) = check(Some(wide), &[], false);
        assert_eq!((code, out.as_str()), (78, ""));
        for part in ["group `wide`", "a.toml:3)", "limits.max_endpoints", "^^^", "help: "] {
            assert!(err.contains(part), "{part}: {err}");
        }
        let (code, out, err) = check(Some(wide), &[], true);
        assert_eq!((code, err.as_str()), (78, ""));
        let document: Value = serde_json::from_str(&out).expect("JSON");
        assert_eq!(document["valid"], json!(false));
        assert!(document["faults"][0]["origin"].as_str().is_some_and(|at| at.ends_with(".toml:3")));
    }

    #[test]
    fn groups_that_contradict_each_other_are_refused_with_a_fix() {
        let text = "[[listen]]\nname = \"a\"\nspec = \"0.0.0.0:80\"\n[[listen]]\nname = \"b\"\n\
                    spec = \"127.0.0.1:80\"\n";
        let (code, _, err) = check(Some(text), &[], false);
        assert_eq!(code, 78);
        assert!(err.starts_with("error: tcp://0.0.0.0:80 (group `a`)"), "{err}");
        assert!(err.contains("help: name the wildcard or the address"), "{err}");
    }

    #[test]
    fn a_reader_that_went_away_does_not_change_the_verdict() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let mut inputs = Inputs::default();
        inputs.config_files = vec!["none".into()];
        assert_eq!(run(&inputs, false, false, &mut Closed, &mut Closed), 0);
    }
}
