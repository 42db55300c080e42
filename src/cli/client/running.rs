//! `ipcow config show --running`: the configuration that a service runs with.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;
use ipcow::config::{Inputs, load};
use serde_json::{Map, Value};

use super::super::args::instance_name;
use super::super::exit;
use super::call::Control;
use super::failure::Failure;
use super::stdout::Stdout;
use super::target::{Target, socket_path};

/// Which service; only beside --running.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunningArgs {
    /// With --running: the instance to ask, else "default".
    #[arg(long, value_name = "NAME", requires = "running", value_parser = instance_name)]
    name: Option<String>,

    /// With --running: its control socket, instead of looking for it by name.
    #[arg(long, value_name = "PATH", requires = "running", value_parser = socket_path)]
    control: Option<PathBuf>,
}

/// Prints it as a configuration file, or as JSON.
pub(super) async fn run(
    args: &RunningArgs,
    json: bool,
    out: &mut Stdout<'_>,
) -> Result<u8, Failure> {
    let target = Target::new(args.name.as_deref(), args.control.clone());
    let mut control = Control::open(&target).await?;
    let answer = control.get("/api/v1/config", &[]).await?;
    let (document, body): (Map<String, Value>, Vec<u8>) = answer.read().await?;
    match json {
        true => out.print_document(&body)?,
        false => out.print(file(&document))?,
    }
    Ok(exit::DONE)
}

/// The document as a file, in the order of the documentation.
fn file(document: &Map<String, Value>) -> String {
    let mut tables: Vec<String> = Vec::new();
    let groups = document.get("listen").and_then(Value::as_array);
    for group in groups.into_iter().flatten().filter_map(Value::as_object) {
        tables.push(table("[[listen]]", group, "listen"));
    }
    let known = known_order().into_iter().map(|(section, _)| section);
    let (mut sections, mut seen): (Vec<&str>, Vec<&str>) = (Vec::new(), vec!["listen", "exclude"]);
    for name in known.chain(document.keys().map(String::as_str)) {
        if document.contains_key(name) && !seen.contains(&name) {
            sections.push(name);
            seen.push(name);
        }
    }
    for name in sections {
        if let Some(keys) = document.get(name).and_then(Value::as_object) {
            tables.push(table(&format!("[{name}]"), keys, name));
        }
    }
    let excludes = document.get("exclude").and_then(Value::as_array);
    for spec in excludes.into_iter().flatten().filter_map(Value::as_str) {
        let spec = spec.escape_debug();
        tables.push(format!("# --exclude {spec}: an argument\n"));
    }
    tables.join("\n")
}

fn table(head: &str, keys: &Map<String, Value>, section: &str) -> String {
    let mut text = format!("{head}\n");
    let order = known_order().into_iter().find(|(name, _)| *name == section);
    let place = |name: &String| {
        // The built-in group has the other form.
        let name = if name == "spec" { "addresses" } else { name };
        order.as_ref().and_then(|(_, keys)| keys.iter().position(|key| *key == name))
    };
    let mut keys: Vec<_> = keys.iter().collect();
    keys.sort_by_key(|(name, _)| place(name).unwrap_or(usize::MAX));
    for (name, value) in keys {
        _ = writeln!(text, "{name} = {}", toml(value));
    }
    text
}

/// Sections and their keys, as the documentation has them.
fn known_order() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut inputs = Inputs::default();
    inputs.config_files = vec!["none".into()];
    let built_in = load(&inputs).map(|loaded| loaded.effective()).unwrap_or_default();
    let names = built_in
        .into_iter()
        .map(|table| (table.name, table.keys.into_iter().map(|key| key.name).collect::<Vec<_>>()));
    names.collect()
}

/// A value of TOML on one line. JSON's escapes of strings are TOML's, but for DEL.
fn toml(value: &Value) -> String {
    match value {
        Value::Array(values) => {
            let items: Vec<String> = values.iter().map(toml).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string().replace('\u{7f}', "\\u007F"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipcow::config::load_str;
    use serde_json::json;

    #[test]
    fn it_is_a_file_in_the_order_of_the_documentation_that_loads_again() {
        let document = json!({
            "exclude": ["127.0.0.1:8005"],
            "retry": { "multiplier": 2.0, "max_attempts": 7 },
            "threads": { "workers": "auto", "factor": 1.0 },
            "listen": [{ "ports": ["8000-8009", "!8005"], "addresses": ["127.0.0.1"], "name": "lab",
                         "protocols": ["tcp"], "termination": "a\u{7f}\"\n" }]
        });
        let text = file(document.as_object().expect("an object"));
        assert!(text.starts_with("[[listen]]\nname = \"lab\"\naddresses = [\"127.0.0.1\"]\nports = [\"8000-8009\", \"!8005\"]\n"), "{text}");
        let (threads, retry) = (text.find("[threads]"), text.find("[retry]"));
        assert!(
            threads < retry && text.contains("[retry]\nmax_attempts = 7\nmultiplier = 2.0\n"),
            "{text}"
        );
        let loaded = load_str("running.toml", &text).unwrap_or_else(|faults| panic!("{faults}"));
        assert_eq!(loaded.config.groups[0].name, "lab");
        assert!(text.ends_with("\n# --exclude 127.0.0.1:8005: an argument\n"), "{text}");
    }
}
