//! `ipcow set`: changes settings of a running service.
//!
//! Reads KEY=VALUE as `--set` does. What a key allows, the service knows.

use std::fmt::Write;

use clap::Args;
use hyper::Method;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::{escaped, exit};
use super::call::Control;
use super::failure::Failure;
use super::stdout::Stdout;
use super::target::Target;

const EXAMPLES: &str = "\
EXAMPLES
  ipcow set                                  what can be set, and its present value
  ipcow set limits.max_sessions=100 session.idle_timeout_secs=30
  ipcow set 'udp.refuse_source_ports=[\"0-1023\"]'
  All are set or none. What is set survives a reload, not a restart.";

/// Arguments of `ipcow set`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SetArgs {
    /// section.key=value, in the units of the configuration file.
    #[arg(value_name = "KEY=VALUE", value_parser = assignment)]
    assignments: Vec<(String, Value)>,

    #[command(flatten)]
    target: Target,

    /// Prints one JSON document.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Deserialize)]
struct Done {
    changed: Vec<Change>,
}

#[derive(Debug, Deserialize)]
struct Change {
    key: String,
    from: Value,
    to: Value,
}

/// Sets all, or lists what can be set.
pub(super) async fn run(args: &SetArgs, out: &mut Stdout<'_>) -> Result<u8, Failure> {
    let mut control = Control::open(&args.target).await?;
    let route = "/api/v1/settings";
    let (text, body) = if args.assignments.is_empty() {
        let answer = control.get(route, &[]).await?;
        let (settings, body): (Map<String, Value>, Vec<u8>) = answer.read().await?;
        (list(&settings), body)
    } else {
        // A key that is named twice has the later value, as with --set.
        let wanted: Map<String, Value> = args.assignments.iter().cloned().collect();
        let answer = control.order(Method::PATCH, route, &Value::Object(wanted)).await?;
        let (done, body): (Done, Vec<u8>) = answer.read().await?;
        (changes(&done.changed), body)
    };
    match args.json {
        true => out.print_document(&body)?,
        false => out.print(text)?,
    }
    Ok(exit::DONE)
}

fn list(settings: &Map<String, Value>) -> String {
    let mut text = String::new();
    for (key, value) in settings {
        _ = writeln!(text, "{}={}", escaped(key), shown(value));
    }
    text
}

fn changes(changes: &[Change]) -> String {
    let mut text = String::new();
    for Change { key, from, to } in changes {
        _ = writeln!(text, "{}: {} → {}", escaped(key), shown(from), shown(to));
    }
    match text.is_empty() {
        true => "nothing changed: the values were these already\n".to_owned(),
        false => text,
    }
}

/// As one would type it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => escaped(text),
        other => escaped(&other.to_string()),
    }
}

/// A value that is TOML is what it says, anything else is text: 100, auto, ["0-1023"].
fn assignment(text: &str) -> Result<(String, Value), String> {
    let Some((key, value)) = text.split_once('=').filter(|(key, _)| key.contains('.')) else {
        return Err("write it as section.key=value".to_owned());
    };
    let key = key.trim().to_owned();
    let parsed = toml::from_str::<toml::Table>(&format!("value = {value}"));
    let known = parsed.ok().filter(|table| table.len() == 1);
    let known = known.and_then(|table| table.get("value").and_then(json));
    Ok((key, known.unwrap_or_else(|| value.into())))
}

/// Flags, numbers, strings and lists of them: what keys may be.
fn json(value: &toml::Value) -> Option<Value> {
    match value {
        toml::Value::Boolean(flag) => Some((*flag).into()),
        toml::Value::Integer(number) => Some((*number).into()),
        toml::Value::Float(number) => serde_json::Number::from_f64(*number).map(Value::Number),
        toml::Value::String(text) => Some(text.as_str().into()),
        toml::Value::Array(values) => {
            values.iter().map(json).collect::<Option<Vec<_>>>().map(Value::Array)
        }
        toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_is_what_toml_says_and_else_text() {
        let value = |text: &str| assignment(&format!("a.b={text}")).expect("legal").1;
        assert_eq!(value("100"), json!(100));
        assert_eq!(value("0.5"), json!(0.5));
        assert_eq!(value("true"), json!(true));
        assert_eq!(value("auto"), json!("auto"));
        assert_eq!(value("\"au=to\""), json!("au=to"));
        assert_eq!(value("[\"0-1023\", 2049]"), json!(["0-1023", 2049]));
        assert_eq!(value("50%"), json!("50%"));
        assert_eq!(value("1\nx = 2"), json!("1\nx = 2"));
        assert_eq!(value(""), json!(""));
    }

    #[test]
    fn what_is_no_assignment_is_a_wrong_argument() {
        assert!(assignment("limits.max_sessions").is_err());
        assert!(assignment("max_sessions=1").is_err());
    }

    #[test]
    fn each_change_says_from_and_to() {
        let done: Done = serde_json::from_value(json!({ "changed": [
            { "key": "limits.max_sessions", "from": "auto", "to": 100 }
        ]}))
        .expect("changes");
        assert_eq!(changes(&done.changed), "limits.max_sessions: auto → 100\n");
        assert!(changes(&[]).starts_with("nothing changed"));
    }
}
