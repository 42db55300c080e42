//! `ipcow config show`: the effective configuration, and where each value came from.
//!
//! What it prints is a configuration file; loading it gives the same values.

use std::io::{self, Write};

use clap::Args;
use ipcow::config::{EffectiveKey, Inputs, LoadedConfig, load};
use ipcow::control::config_document;

use super::client::RunningArgs;
use super::config_args::ConfigArgs;
use super::diagnostics;

/// Arguments of `ipcow config show`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConfigShowArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,

    /// Says beside each value which file and line, variable or argument set it.
    #[arg(long)]
    pub(crate) origin: bool,

    /// Shows the configuration that a service runs with, instead of what it would be now.
    #[arg(long, conflicts_with_all = ["origin", "specs", "config", "set", "exclude", "workers"])]
    pub(crate) running: bool,

    #[command(flatten)]
    pub(crate) service: RunningArgs,

    /// Prints one JSON document.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How the configuration is shown.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Form {
    /// With the origin of each value.
    pub(crate) origin: bool,
    /// As one JSON document instead of TOML.
    pub(crate) json: bool,
    /// Faults in colour.
    pub(crate) color: bool,
}

/// Prints the configuration to `out`; the exit code is 0, 2 (arguments), 78, or
/// 1 where `out` takes no more. Faults go to `err`.
pub(crate) fn run(inputs: &Inputs, form: Form, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let loaded = match load(inputs) {
        Ok(loaded) => loaded,
        Err(errors) => {
            // The exit code tells it too: a reader that went away misses no verdict.
            drop(write!(err, "{}", diagnostics::config_errors(&errors, form.color)));
            return errors.exit_code();
        }
    };
    let written = match form.json {
        true => writeln!(out, "{}", config_document(&loaded, form.origin)),
        false => toml(&loaded, form.origin, out),
    };
    u8::from(written.is_err())
}

fn toml(loaded: &LoadedConfig, origin: bool, out: &mut dyn Write) -> io::Result<()> {
    for (index, table) in loaded.effective().iter().enumerate() {
        let gap = if index == 0 { "" } else { "\n" };
        match table.name {
            "listen" => writeln!(out, "{gap}[[listen]]")?,
            name => writeln!(out, "{gap}[{name}]")?,
        }
        for key in &table.keys {
            let EffectiveKey { name, origin: from, .. } = key;
            let value = key.to_toml();
            match origin {
                true => writeln!(out, "{name} = {value}  # from {from}")?,
                false => writeln!(out, "{name} = {value}")?,
            }
        }
    }
    for spec in excludes(loaded) {
        writeln!(out, "\n# --exclude {spec}: an argument; in a group it is the spec \"!{spec}\"")?;
    }
    Ok(())
}

/// What `--exclude` removed, without characters that move a terminal's cursor.
fn excludes(loaded: &LoadedConfig) -> Vec<String> {
    let shown = |spec: &ipcow::spec::Spec| spec.to_string().escape_debug().to_string();
    loaded.config.excludes.iter().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn no_file() -> Inputs {
        let mut inputs = Inputs::default();
        inputs.config_files = vec!["none".into()];
        inputs
    }

    /// What a legal configuration prints.
    fn shown(inputs: &Inputs, form: Form) -> String {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(run(inputs, form, &mut out, &mut err), 0);
        assert!(err.is_empty());
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn the_built_in_configuration_is_shown_as_a_file() {
        let text = shown(&no_file(), Form::default());
        let group = "[[listen]]\nname = \"lab\"\naddresses = [\"127.0.0.1\"]\nports = [\"18000-18009\"]\nprotocols = [\"tcp\", \"udp\"]\nmode = \"echo\"\ntermination = \"!!quit!!\"\n";
        assert!(text.starts_with(group), "{text}");
        assert!(text.contains("\n[threads]\nfactor = 1.0\nworkers = \"auto\"\n"), "{text}");
        assert!(text.ends_with("[log]\nlevel = \"info\"\nformat = \"auto\"\n"), "{text}");
    }

    #[test]
    fn what_is_shown_with_origins_loads_to_the_same_configuration() {
        let mut inputs = no_file();
        inputs.specs = vec!["127.0.0.1:1-9".to_owned(), "both://[::1]:0x3".to_owned()];
        inputs.sets = vec!["listen_defaults.termination=\"a\\u0000 # \\r\\nb\"".to_owned()];
        inputs.env = vec![("IPCOW__COVERAGE__MIN_BOUND".to_owned(), "50%".to_owned())];
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("shown.toml");
        let text = shown(&inputs, Form { origin: true, ..Form::default() });
        std::fs::write(&path, &text).expect("a file");
        let mut again = Inputs::default();
        again.config_files = vec![path];
        let config =
            |inputs| load(inputs).unwrap_or_else(|faults| panic!("{faults}\n{text}")).config;
        assert_eq!(config(&again), config(&inputs));
    }

    #[test]
    fn each_line_says_where_its_value_came_from() {
        let mut inputs = no_file();
        inputs.workers = Some("3".to_owned());
        inputs.env = vec![("IPCOW__LISTEN".to_owned(), "127.0.0.1:80".to_owned())];
        let text = shown(&inputs, Form { origin: true, ..Form::default() });
        assert!(text.contains("workers = 3  # from --workers\n"), "{text}");
        assert!(text.contains("spec = \"127.0.0.1:80\"  # from environment IPCOW__LISTEN\n"));
        assert!(text.contains("mode = \"echo\"  # from built-in\n"));
    }

    #[test]
    fn what_an_argument_excludes_is_shown_as_a_comment() {
        let mut inputs = no_file();
        inputs.excludes = vec!["127.0.0.1:18005".to_owned()];
        let text = shown(&inputs, Form::default());
        assert!(text.contains("\n# --exclude 127.0.0.1:18005: "), "{text}");
    }

    #[test]
    fn the_json_form_has_the_same_values() {
        let text = shown(&no_file(), Form { json: true, ..Form::default() });
        let document: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(document["listen"][0]["ports"], json!(["18000-18009"]));
        assert_eq!(document["retry"]["multiplier"], json!(2.0));
        let text = shown(&no_file(), Form { json: true, origin: true, ..Form::default() });
        let document: Value = serde_json::from_str(&text).expect("JSON");
        let expected = json!({ "value": 5, "origin": "built-in" });
        assert_eq!(document["retry"]["max_attempts"], expected);
    }

    #[test]
    fn a_faulty_configuration_shows_its_faults_and_nothing_else() {
        let mut inputs = no_file();
        inputs.sets = vec!["log.level=loud".to_owned()];
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(run(&inputs, Form::default(), &mut out, &mut err), 2);
        assert!(out.is_empty() && !err.is_empty());
    }
}
