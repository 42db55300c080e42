//! `ipcow plan`: what would be served, and what is in the way.
//!
//! Prints a plan for a person or as one JSON document. Never opens an
//! endpoint, never computes what it prints.

use std::io::{self, Write};

use ipcow::config::{self, Inputs};
use ipcow::plan::report::{GroupReport, Report};
use ipcow::service::planning;

use super::args::PlanArgs;
use super::exit;

/// Plans and prints; returns the exit code: 0, or 1 where `serve` could not
/// reach full coverage.
///
/// An `out` that cannot be written to (a closed pipe) changes nothing: the
/// exit code is what a script waits for.
pub(crate) fn run(args: &PlanArgs, inputs: &Inputs, color: bool, out: &mut dyn Write) -> u8 {
    let loaded = match config::load(inputs) {
        Ok(loaded) => loaded,
        Err(errors) => return exit::config_errors(&errors, color),
    };
    let report = match planning::plan(&loaded.config, args.force) {
        Ok(plan) => plan.report(),
        Err(error) => return exit::plan_error(&error, &loaded, inputs, color),
    };
    let _closed = if args.json { write_json(&report, out) } else { write_text(&report, out) };
    if report.reachable { exit::DONE } else { exit::FAILED }
}

fn write_json(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, report)?;
    writeln!(out)?;
    out.flush()
}

fn write_text(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let counts = report.endpoints;
    let total = counted(counts.total, "endpoint");
    writeln!(out, "{total}: {} TCP, {} UDP", counts.tcp, counts.udp)?;
    writeln!(out)?;
    write_groups(&report.groups, out)?;
    for name in &report.resolved {
        let addresses: Vec<String> = name.addresses.iter().map(ToString::to_string).collect();
        writeln!(out, "{} is {}", name.name, addresses.join(", "))?;
    }
    writeln!(out)?;
    let limits = report.limits;
    let chunks = report.chunks;
    writeln!(
        out,
        "threads   {}, {} of {}; {} more threads may start",
        counted(report.workers, "worker"),
        counted(chunks.count, "chunk"),
        counted(chunks.size, "endpoint"),
        limits.threads
    )?;
    writeln!(
        out,
        "files     {} needed, {} allowed (soft limit {}); room for {} sessions",
        limits.fds_needed, limits.nofile_hard, limits.nofile_soft, limits.max_sessions
    )?;
    writeln!(out)?;
    for finding in &report.findings {
        writeln!(out, "{} [{}]: {}", finding.level, finding.kind.as_str(), finding.message)?;
        writeln!(out, "  fix: {}", finding.fix)?;
    }
    match report.reachable {
        true => writeln!(out, "every endpoint can be served")?,
        false => writeln!(out, "not every endpoint can be served on this machine as it is now")?,
    }
    out.flush()
}

/// "1 chunk", "2 chunks".
pub(super) fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// A table that is as wide as its longest name.
fn write_groups(groups: &[GroupReport], out: &mut dyn Write) -> io::Result<()> {
    let width = groups.iter().map(|group| group.name.len()).max().unwrap_or(0).max(5);
    writeln!(out, "{:width$}  {:>9}  {:>5}  {:>9}", "group", "addresses", "ports", "endpoints")?;
    for GroupReport { name, addresses, ports, endpoints } in groups {
        writeln!(out, "{name:width$}  {addresses:>9}  {ports:>5}  {endpoints:>9}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::config_args::ConfigArgs;
    use super::*;

    /// Plans `spec` alone: no file, no variable.
    fn run_into(spec: &str, json: bool, out: &mut dyn Write) -> u8 {
        let args = PlanArgs { config: ConfigArgs::default(), json, force: false };
        let mut inputs = Inputs::default();
        inputs.config_files = vec!["none".into()];
        inputs.specs = vec![spec.to_owned()];
        run(&args, &inputs, false, out)
    }

    fn run_spec(spec: &str, json: bool) -> (u8, String) {
        let mut out = Vec::new();
        let code = run_into(spec, json, &mut out);
        (code, String::from_utf8(out).expect("text"))
    }

    #[test]
    fn a_port_that_this_test_holds_is_reported_with_its_pid_and_a_fix() {
        let taken = std::net::TcpListener::bind("127.84.0.1:0").expect("a listener");
        let spec = format!("tcp://{}", taken.local_addr().expect("its address"));
        let (code, text) = run_spec(&spec, false);
        assert_eq!(code, 1);
        let pid = format!("(pid {})", std::process::id());
        for part in
            ["error [in_use]", &pid, "  fix: ", "1 chunk of 1 endpoint;", "not every endpoint"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_plan_within_reach_exits_0() {
        let (code, text) = run_spec("both://127.84.0.2:18000-18009", false);
        assert_eq!(code, 0, "{text}");
        assert!(text.starts_with("20 endpoints: 10 TCP, 10 UDP\n"), "{text}");
        assert!(text.ends_with("every endpoint can be served\n"), "{text}");
    }

    #[test]
    fn json_is_one_document_on_one_line() {
        let (_, text) = run_spec("tcp://127.84.0.3:18000-18009", true);
        assert_eq!(text.lines().count(), 1);
        let plan: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(plan["endpoints"]["total"], 10);
    }

    #[test]
    fn a_closed_pipe_changes_no_exit_code() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert_eq!(run_into("127.84.0.4:18000", false, &mut Closed), 0);
    }
}
