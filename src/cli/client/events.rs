//! `ipcow events`: what happened in a running service, and what happens.
//!
//! One line an event, as it comes.

use std::fmt::Write;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::super::{escaped, exit};
use super::call::{Answer, Control};
use super::failure::Failure;
use super::sse;
use super::stdout::Stdout;
use super::target::Target;

/// A service says something each 15 s; one that is silent for longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Arguments of `ipcow events`.
#[derive(Debug, Clone, Args)]
pub(crate) struct EventsArgs {
    #[command(flatten)]
    target: Target,

    /// Prints what happens from now on, until the service ends.
    ///
    /// Without it: the newest 1,024 events that the service remembers.
    #[arg(short, long)]
    follow: bool,

    /// Begins after the event of this number (`id` in the JSON).
    #[arg(long, value_name = "ID")]
    since: Option<u64>,

    /// Prints one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Prints events until there are no more, or nobody reads them.
pub(super) async fn run(args: &EventsArgs, out: &mut Stdout<'_>) -> Result<u8, Failure> {
    let mut control = Control::open(&args.target).await?;
    let since = args.since.map(|since| since.to_string());
    let mut query = vec![("follow", if args.follow { "true" } else { "false" })];
    query.extend(since.as_deref().map(|since| ("since", since)));
    let mut answer = control.get("/api/v1/events", &query).await?;
    let mut reader = sse::Reader::default();
    while let Some(piece) = next_piece(&mut answer).await? {
        reader.feed(&piece).map_err(|_| answer.strange("an event of more than a mebibyte"))?;
        while let Some(data) = reader.next() {
            let line = if args.json { data } else { line(&data) };
            out.print(format!("{line}\n"))?;
        }
        if out.is_closed() {
            break;
        }
    }
    Ok(exit::DONE)
}

async fn next_piece(answer: &mut Answer) -> Result<Option<hyper::body::Bytes>, Failure> {
    match timeout(PATIENCE, answer.piece()).await {
        Ok(piece) => piece,
        Err(_) => Err(answer.silent(PATIENCE)),
    }
}

/// When, what, whose, from which state to which, then the rest by name.
fn line(data: &str) -> String {
    let Ok(Value::Object(mut event)) = serde_json::from_str(data) else { return escaped(data) };
    let mut take = |name: &str| event.remove(name).map(|value| word(&value));
    let ts = take("ts").unwrap_or_default();
    let what = take("event").unwrap_or_default();
    let (_instance, _id) = (take("instance"), take("id"));
    let mut line = format!("{ts}  {what}");
    for name in ["endpoint", "endpoints", "chunk", "chunks", "worker"] {
        // `ready` and `draining` count endpoints and chunks, in objects.
        if event.get(name).is_some_and(|value| !value.is_object() && !value.is_null()) {
            let whose = event.remove(name).map(|value| word(&value)).unwrap_or_default();
            let label = if name.starts_with("endpoint") { "" } else { name };
            _ = write!(line, "  {}", format!("{label} {whose}").trim());
        }
    }
    if let (Some(from), Some(to)) = (event.remove("from"), event.remove("to")) {
        _ = write!(line, "  {} → {}", word(&from), word(&to));
    }
    rest("", &event, &mut line);
    line
}

/// `name=value` of what there is, objects within objects by their path.
fn rest(path: &str, values: &Map<String, Value>, line: &mut String) {
    for (name, value) in values {
        match value {
            Value::Null => {}
            Value::Object(inner) => rest(&format!("{path}{name}."), inner, line),
            value => _ = write!(line, "  {path}{}={}", escaped(name), word(value)),
        }
    }
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => escaped(text),
        other => escaped(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_when_what_and_whose() {
        let data = r#"{"event":"endpoints_changed","ts":"2026-11-28T00:00:00.000Z","instance":"a","id":7,
            "from":"listening","to":"suspended","kind":null,"count":3,"endpoints":"127.0.0.1:80-82"}"#;
        let expected = "2026-11-28T00:00:00.000Z  endpoints_changed  127.0.0.1:80-82  \
                        listening → suspended  count=3";
        assert_eq!(line(data), expected);
        let data = r#"{"event":"worker_lost","worker":2,"outlook":"restarting"}"#;
        assert_eq!(line(data), "  worker_lost  worker 2  outlook=restarting");
        let data =
            r#"{"event":"draining","endpoints":{"total":7,"listening":7},"chunks":{"total":1}}"#;
        assert_eq!(
            line(data),
            "  draining  chunks.total=1  endpoints.listening=7  endpoints.total=7"
        );
    }

    #[test]
    fn what_is_no_event_is_shown_harmlessly() {
        assert_eq!(line("\u{1b}[2J"), "\\u{1b}[2J");
        assert_eq!(line(r#"{"event":"a\u001bb"}"#), "  a\\u{1b}b");
    }
}
