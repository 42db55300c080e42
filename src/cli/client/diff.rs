//! What a new plan changes of what is served, for people.

use std::fmt::Write;

use serde::Deserialize;

use super::super::escaped;
use super::super::plan::counted;
use super::call::Answer;
use super::failure::Failure;
use super::stdout::Stdout;

/// The answer to add and reload.
#[derive(Debug, Deserialize)]
pub(super) struct Diff {
    opened: u64,
    closed: u64,
    reopened: u64,
    untouched: u64,
    opened_endpoints: String,
    closed_endpoints: String,
    reopened_endpoints: String,
    #[serde(default)]
    needs_restart: Vec<String>,
}

/// Prints the difference: the service's own document, or lines for a person.
pub(super) async fn print(
    answer: Answer,
    json: bool,
    dry_run: bool,
    out: &mut Stdout<'_>,
) -> Result<(), Failure> {
    let (diff, body): (Diff, Vec<u8>) = answer.read().await?;
    match json {
        true => out.print_document(&body)?,
        false => out.print(diff.text(dry_run))?,
    }
    Ok(())
}

impl Diff {
    fn text(&self, dry_run: bool) -> String {
        let verbs = match dry_run {
            true => ["would open", "would close", "would serve anew", "would leave alone"],
            false => ["opened", "closed", "served anew", "left alone"],
        };
        let mut text = String::new();
        let parts = [
            (verbs[0], self.opened, &self.opened_endpoints),
            (verbs[1], self.closed, &self.closed_endpoints),
            (verbs[2], self.reopened, &self.reopened_endpoints),
        ];
        for (verb, count, endpoints) in parts {
            if count > 0 {
                let count = counted(count, "endpoint");
                _ = writeln!(text, "{verb} {count}: {}", escaped(endpoints));
            }
        }
        if text.is_empty() {
            text.push_str(if dry_run { "would change nothing\n" } else { "nothing changed\n" });
        }
        _ = writeln!(text, "{} {}", verbs[3], counted(self.untouched, "endpoint"));
        if !self.needs_restart.is_empty() {
            let keys: Vec<String> = self.needs_restart.iter().map(|key| escaped(key)).collect();
            _ = writeln!(text, "keeps its old values until a restart: {}", keys.join(", "));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff(opened: u64, needs_restart: &[&str]) -> Diff {
        let document = serde_json::json!({
            "opened": opened, "closed": 0, "reopened": 0, "untouched": 64,
            "opened_endpoints": "127.0.0.1:8000-8004", "closed_endpoints": "",
            "reopened_endpoints": "", "needs_restart": needs_restart
        });
        serde_json::from_value(document).expect("a difference")
    }

    #[test]
    fn what_changes_is_named_and_what_needs_a_restart_too() {
        assert_eq!(
            diff(5, &["threads", "log"]).text(false),
            "opened 5 endpoints: 127.0.0.1:8000-8004\nleft alone 64 endpoints\nkeeps its old \
             values until a restart: threads, log\n"
        );
    }

    #[test]
    fn a_dry_run_says_would() {
        let text = diff(5, &[]).text(true);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.iter().all(|line| line.starts_with("would ")), "{text}");
        assert!(diff(0, &[]).text(true).starts_with("would change nothing\n"));
    }
}
