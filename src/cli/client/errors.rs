//! `ipcow errors`: what is wrong now, grouped by scope and cause, each with its fix.

use std::fmt::Write;
use std::net::SocketAddr;

use clap::Args;
use ipcow::plan::facts::Holder;
use ipcow::service::port_holder;
use ipcow::spec::Protocol;
use ipcow::supervision::FaultKind;
use serde::Deserialize;

use super::super::plan::counted;
use super::super::{escaped, exit};
use super::call::Control;
use super::failure::Failure;
use super::list::short;
use super::stdout::Stdout;
use super::target::Target;

/// Endpoints among which one of a group is looked for.
const LOOKED_AT: &str = "1000";

/// Arguments of `ipcow errors`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ErrorsArgs {
    #[command(flatten)]
    target: Target,

    /// Prints one JSON document.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Deserialize)]
struct Group {
    scope: String,
    kind: String,
    errno: Option<String>,
    error: String,
    count: u64,
    endpoints: String,
    state: Option<String>,
    #[serde(default)]
    chunks: Vec<u64>,
    attempts: Option<u64>,
    retry_in_ms: Option<u64>,
    last_peer: Option<String>,
    holder: Option<String>,
    fix: String,
}

/// As much of an endpoint as tells why it does not listen.
#[derive(Debug, Deserialize)]
struct Failed {
    endpoint: String,
    errno: Option<String>,
}

/// Prints the causes.
pub(super) async fn run(args: &ErrorsArgs, out: &mut Stdout<'_>) -> Result<u8, Failure> {
    let mut control = Control::open(&args.target).await?;
    let answer = control.get("/api/v1/errors", &[]).await?;
    let (mut groups, body): (Vec<Group>, Vec<u8>) = answer.read().await?;
    if args.json {
        out.print_document(&body)?;
        return Ok(exit::DONE);
    }
    for group in groups.iter_mut().filter(|group| group.is_held_by_nobody_known()) {
        look_for_holder(&mut control, group).await?;
    }
    out.print(text(&groups))?;
    Ok(exit::DONE)
}

/// Looks here for who holds a port: a service in its sandbox may not look into other
/// processes, and whoever types this command may.
async fn look_for_holder(control: &mut Control, group: &mut Group) -> Result<(), Failure> {
    let state = group.state.clone().unwrap_or_default();
    let query = [("state", state.as_str()), ("limit", LOOKED_AT)];
    let answer = control.get("/api/v1/endpoints", &query).await?;
    let (rows, _): (Vec<Failed>, Vec<u8>) = answer.read().await?;
    let alike = rows.iter().filter(|row| row.errno == group.errno);
    let holder = alike
        .filter_map(|row| place(&row.endpoint))
        .next()
        .and_then(|(protocol, at)| port_holder(protocol, at).map(|holder| (holder, at)));
    if let Some((Holder { name, pid }, at)) = holder {
        group.holder = Some(format!("{name} (pid {pid}), which has {at}"));
        group.fix = format!("stop {name} (`kill {pid}`), then `ipcow retry state:{state}`");
    }
    Ok(())
}

/// `tcp://127.0.0.1:80`; `None` for one in a zone, which only the service can number.
fn place(endpoint: &str) -> Option<(Protocol, SocketAddr)> {
    let (protocol, at) = endpoint.split_once("://")?;
    let protocol = Protocol::ALL.into_iter().find(|known| known.as_str() == protocol)?;
    Some((protocol, at.parse().ok()?))
}

impl Group {
    fn is_held_by_nobody_known(&self) -> bool {
        self.kind == FaultKind::BindInUse.as_str() && self.holder.is_none()
    }
}

fn text(groups: &[Group]) -> String {
    if groups.is_empty() {
        return "nothing is wrong: every endpoint listens that should, no connection failed\n"
            .to_owned();
    }
    let mut text = String::new();
    for group in groups {
        match group.scope.as_str() {
            "connection" => connections(group, &mut text),
            _ => endpoints(group, &mut text),
        }
    }
    text
}

/// Endpoints that do not listen.
fn endpoints(group: &Group, text: &mut String) {
    let state = escaped(group.state.as_deref().unwrap_or("not listening"));
    let count = counted(group.count, "endpoint");
    _ = writeln!(text, "{count} {state}, {}: {}", cause(group), escaped(&group.endpoints));
    let attempts = group.attempts.unwrap_or(0);
    let next = match group.retry_in_ms {
        Some(ms) => format!("next retry in {}", short(ms)),
        None => "no retry by itself: `ipcow retry state:quarantined`".to_owned(),
    };
    let chunks: Vec<String> = group.chunks.iter().map(u64::to_string).collect();
    let noun = if chunks.len() == 1 { "chunk" } else { "chunks" };
    _ = writeln!(
        text,
        "  tried    {}, {next}; {noun} {}",
        counted(attempts, "time"),
        chunks.join(", ")
    );
    explanation(group, text);
}

/// Connections that failed on endpoints that serve on.
fn connections(group: &Group, text: &mut String) {
    let count = counted(group.count, "connection");
    _ = writeln!(text, "{count} failed, {}: {}", cause(group), escaped(&group.endpoints));
    if let Some(peer) = &group.last_peer {
        _ = writeln!(text, "  last     {}", escaped(peer));
    }
    explanation(group, text);
}

fn explanation(group: &Group, text: &mut String) {
    if let Some(holder) = &group.holder {
        _ = writeln!(text, "  held by  {}", escaped(holder));
    }
    if group.error != group.fix {
        _ = writeln!(text, "  because  {}", escaped(&group.error));
    }
    _ = writeln!(text, "  fix      {}", escaped(&group.fix));
}

fn cause(group: &Group) -> String {
    match &group.errno {
        Some(errno) => format!("{} ({})", escaped(&group.kind), escaped(errno)),
        None => escaped(&group.kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_read_back_from_a_list() {
        let at = |text: &str| text.parse::<SocketAddr>().expect("an address");
        assert_eq!(place("udp://[::1]:80"), Some((Protocol::Udp, at("[::1]:80"))));
        assert_eq!(place("tcp://127.0.0.1:80"), Some((Protocol::Tcp, at("127.0.0.1:80"))));
        assert_eq!(place("tcp://[fe80::1%eth0]:80"), None);
    }

    #[test]
    fn each_cause_says_who_why_when_again_and_how_to_fix_it() {
        let groups = r#"[
            {"scope":"chunk","kind":"bind_in_use","errno":"EADDRINUSE","error":"Address already in use",
             "count":3,"endpoints":"127.0.0.1:{81,82,93}","state":"retrying","chunks":[8,9],"attempts":3,
             "retry_in_ms":300,"holder":"nginx (pid 7)","fix":"nginx (pid 7) has it: stop that"},
            {"scope":"chunk","kind":"bind_permission","errno":"EACCES","error":"give it the right",
             "count":1,"endpoints":"127.0.0.1:80","state":"quarantined","chunks":[1],"attempts":1,
             "retry_in_ms":null,"holder":null,"fix":"give it the right"},
            {"scope":"connection","kind":"reset","errno":"ECONNRESET","error":"the client reset it",
             "count":12,"endpoints":"127.0.0.1:90","last_peer":"10.0.0.1:4000","holder":null,
             "fix":"the client reset it"}]"#;
        let groups: Vec<Group> = serde_json::from_str(groups).expect("groups");
        let expected = "\
3 endpoints retrying, bind_in_use (EADDRINUSE): 127.0.0.1:{81,82,93}
  tried    3 times, next retry in 300ms; chunks 8, 9
  held by  nginx (pid 7)
  because  Address already in use
  fix      nginx (pid 7) has it: stop that
1 endpoint quarantined, bind_permission (EACCES): 127.0.0.1:80
  tried    1 time, no retry by itself: `ipcow retry state:quarantined`; chunk 1
  fix      give it the right
12 connections failed, reset (ECONNRESET): 127.0.0.1:90
  last     10.0.0.1:4000
  fix      the client reset it
";
        assert_eq!(text(&groups), expected);
        assert!(text(&[]).starts_with("nothing is wrong"));
    }
}
