//! What lies in `deploy/` and in the README's table of metrics: it names only what
//! a scrape has, and Prometheus's own tool accepts it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use ipcow::control::metrics::{Format, render};
use ipcow::service::Service;

use crate::common::{Need, needs};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(repository(path)).expect("it is in the repository")
}

/// Every series of a real scrape, as `name{label="value"}`.
async fn series() -> BTreeSet<String> {
    let service = Service::builder().listen("tcp://127.0.0.1:0").expect("a legal spec");
    let handle = service.build().expect("a plan").start().expect("threads");
    handle.wait_ready().await.expect("it runs");
    let page = render(handle.snapshot(), Format::Text);
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
}

fn name_of(series: &str) -> &str {
    series.split('{').next().unwrap_or(series)
}

/// The metrics that a text names, each with what stands in braces behind it.
fn named(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("ipcow_") {
        let rest = &text[at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let (name, rest) = rest.split_at(end.unwrap_or(rest.len()));
        let braces = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        found.push((name.to_owned(), braces.map_or_else(String::new, |it| it.0.to_owned())));
    }
    found
}

/// The values that matchers like `state=~"a|b"` ask for, with their labels.
fn asked(matchers: &str) -> Vec<(String, String)> {
    let plain = matchers.replace("\\\"", "\"").replace("=~", "=");
    let pairs = plain.split(',').filter_map(|matcher| matcher.trim().split_once('='));
    let own = pairs.filter(|(label, _)| !matches!(*label, "job" | "instance"));
    let values = own.flat_map(|(label, values)| {
        let values = values.trim_matches('"').split('|');
        values.map(|value| (label.to_owned(), value.to_owned())).collect::<Vec<_>>()
    });
    values.collect()
}

#[tokio::test]
async fn every_query_of_the_dashboard_and_the_alerts_asks_for_a_series_that_exists() {
    let series = series().await;
    for file in ["deploy/grafana/ipcow.json", "deploy/prometheus/ipcow.rules.yml"] {
        let all = named(&text(file));
        assert!(all.len() >= 7, "{file} was read");
        for (name, matchers) in all {
            let of_it: Vec<_> = series.iter().filter(|it| name_of(it) == name).collect();
            assert!(!of_it.is_empty(), "{file} names {name}, which no scrape has");
            for (label, value) in asked(&matchers) {
                let pair = format!("{label}=\"{value}\"");
                assert!(of_it.iter().any(|it| it.contains(&pair)), "{file}: {name}{{{pair}}}");
            }
        }
    }
}

#[test]
fn the_dashboard_is_json_whose_panels_all_ask_something() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&text("deploy/grafana/ipcow.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let (rows, others): (Vec<_>, Vec<_>) = panels.iter().partition(|it| it["type"] == "row");
    assert!(rows.len() >= 4 && others.len() >= 10, "{} panels", panels.len());
    for panel in others {
        let targets = panel["targets"].as_array().expect("targets");
        let asks = |target: &serde_json::Value| {
            target["expr"].as_str().is_some_and(|query| query.contains("ipcow_"))
        };
        assert!(!targets.is_empty() && targets.iter().all(asks), "{panel}");
    }
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has a number of its own");
}

#[tokio::test]
async fn the_readme_names_every_metric_and_no_other() {
    let readme = text("README.md");
    let rows = readme.lines().filter(|line| line.starts_with("| `ipcow_"));
    let listed: BTreeSet<String> =
        rows.flat_map(|row| named(row).into_iter().take(1)).map(|(name, _)| name).collect();
    let parts = ["_bucket", "_sum", "_count"];
    let base = |name: &str| {
        let part = parts.iter().find_map(|part| name.strip_suffix(part));
        part.unwrap_or(name).to_owned()
    };
    let scraped: BTreeSet<String> = series().await.iter().map(|it| base(name_of(it))).collect();
    assert_eq!(listed, scraped);
}

#[test]
fn promtool_accepts_the_alerts_and_their_tests_hold() {
    if !needs(&[Need::Tool("promtool")]) {
        return;
    }
    for words in [["check", "rules", "ipcow.rules.yml"], ["test", "rules", "ipcow.test.yml"]] {
        let mut tool = Command::new("promtool");
        tool.args(words).current_dir(repository("deploy/prometheus"));
        let done = tool.output().expect("promtool starts");
        assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
}
