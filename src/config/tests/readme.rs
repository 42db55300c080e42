//! The README's table of keys against the schema and the built-in values.

use crate::config::load::BUILT_IN;
use crate::config::schema::{KEYS, Key, Kind, LISTEN};

const README: &str = include_str!("../../../README.md");

/// A number as the README writes it: `1,000,000`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let (head, rest) = digits.split_at(first);
    let groups = rest.as_bytes().chunks(3).map(|chunk| String::from_utf8_lossy(chunk).into_owned());
    let head = (!head.is_empty()).then(|| head.to_owned());
    head.into_iter().chain(groups).collect::<Vec<_>>().join(",")
}

/// What a key takes and in which unit, as the README says it.
fn allowed(kind: Kind) -> (String, &'static str) {
    let span = |min, max| format!("{} to {}", grouped(min), grouped(max));
    match kind {
        Kind::Flag => ("`true`, `false`".to_owned(), "–"),
        Kind::Text { max_bytes } => (format!("at most {}", grouped(max_bytes as u64)), "bytes"),
        Kind::Choice { words } => {
            let words: Vec<_> = words.iter().map(|word| format!("`\"{word}\"`")).collect();
            (words.join(", "), "–")
        }
        Kind::Whole { min, max, unit } => (span(min, max), unit),
        Kind::AutoOrWhole { min, max, unit } => (format!("`\"auto\"`, {}", span(min, max)), unit),
        Kind::Number { min, max } => (format!("{min} to {max}"), "–"),
        Kind::MinBound => ("a count, or `\"0%\"` to `\"100%\"`".to_owned(), "endpoints"),
        Kind::PortRanges => ("ports and ranges, 0 to 65,535".to_owned(), "–"),
        Kind::Cidrs => ("addresses and CIDRs".to_owned(), "–"),
        Kind::SocketPath => ("`\"auto\"`, `\"none\"`, a path".to_owned(), "–"),
        Kind::FileMode => ("`\"0600\"` to `\"0770\"`".to_owned(), "–"),
        Kind::AddressOrNone => ("`\"none\"`, an address and port".to_owned(), "–"),
        Kind::FilePath => ("`\"none\"`, `\"-\"`, a path".to_owned(), "–"),
        Kind::Group => (String::new(), ""),
    }
}

/// A row up to its meaning, which is free prose.
fn row(key: &Key, built_in: &toml::Table) -> String {
    let (allowed, unit) = allowed(key.kind);
    let default = &built_in[key.section][key.name];
    format!("| `{}` | `{default}` | {allowed} | {unit} | ", key.path())
}

#[test]
fn the_readme_lists_every_key_with_its_default_bounds_and_unit() {
    let built_in: toml::Table = BUILT_IN.parse().expect("TOML");
    let table =
        README.split("| key | default | allowed | unit | meaning |\n|---|---|---|---|---|\n");
    let table = table.last().and_then(|rest| rest.split("\n\n").next()).expect("a table");
    let mut lines = table.lines();
    for key in KEYS.iter().filter(|key| key.section != LISTEN) {
        let expected = row(key, &built_in);
        let line = lines.next().unwrap_or_default();
        assert!(line.starts_with(&expected), "\n   found {line}\nexpected {expected}…");
        assert!(line.len() > expected.len() + 5, "{} has no meaning", key.path());
    }
    assert_eq!(lines.next(), None, "a row that the schema does not know");
}

#[test]
fn the_readme_explains_every_key_of_a_group() {
    for key in KEYS.iter().filter(|key| key.section == LISTEN) {
        assert!(README.contains(&format!("\n{} = ", key.name)), "{} is not shown", key.path());
    }
}
