//! `ipcow status`: how a running service is, the state first.
//!
//! Asks for `/api/v1/summary` and judges it; what it looks like is `text`'s. Counts
//! nothing itself.

mod text;

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use super::super::exit;
use super::call::Control;
use super::failure::Failure;
use super::stdout::Stdout;
use super::target::Target;

/// A service that takes longer to say how it is does not answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Arguments of `ipcow status`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "EXIT CODES\n  0  ready: every endpoint listens that should\n  1  degraded: \
some do not, fewer than coverage.min_bound, or it starts or drains\n  3  nobody answers"
)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    target: Target,

    /// Prints one JSON document.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Deserialize)]
struct Summary {
    instance: String,
    version: String,
    pid: u32,
    state: String,
    ready: bool,
    required: u64,
    uptime_ms: u64,
    endpoints: BTreeMap<String, u64>,
    chunks: BTreeMap<String, u64>,
    workers: Vec<Worker>,
    #[serde(default)]
    hung_workers: u64,
    sessions: Sessions,
    datagrams: Datagrams,
    bytes: BTreeMap<String, u64>,
    errors: Errors,
    restarts: BTreeMap<String, u64>,
    #[serde(default)]
    events_lost: u64,
    control: Option<String>,
    admin: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Worker {
    worker: u64,
    state: String,
    chunk: Option<u64>,
    hung: bool,
}

#[derive(Debug, Deserialize)]
struct Sessions {
    active: u64,
    accepted: u64,
    closed: u64,
    failed: u64,
    forced: u64,
    #[serde(default)]
    refused_by_reason: BTreeMap<String, u64>,
    refused: u64,
    peak: u64,
}

#[derive(Debug, Deserialize)]
struct Datagrams {
    received: u64,
    replied: u64,
    dropped: BTreeMap<String, u64>,
}

#[derive(Debug, Deserialize)]
struct Errors {
    logged: u64,
    dropped: u64,
    by_kind: BTreeMap<String, u64>,
}

/// Prints how the service is; the exit code says it too.
pub(super) async fn run(args: &StatusArgs, out: &mut Stdout<'_>) -> Result<u8, Failure> {
    let mut control = Control::open(&args.target).await?.patience(PATIENCE);
    let answer = control.get("/api/v1/summary", &[]).await?;
    let (summary, body): (Summary, Vec<u8>) = answer.read().await?;
    match args.json {
        true => out.print_document(&body)?,
        false => out.print(text::of(&summary, out.color))?,
    }
    Ok(if summary.is_ready() { exit::DONE } else { exit::FAILED })
}

impl Summary {
    fn is_ready(&self) -> bool {
        self.ready && self.state == "ready"
    }

    fn endpoint(&self, state: &str) -> u64 {
        self.endpoints.get(state).copied().unwrap_or(0)
    }
}
