//! `ipcow mark`: begins a new run of proof with any client.

use clap::Args;
use hyper::Method;
use serde::Deserialize;
use serde_json::json;

use super::super::{escaped, exit};
use super::call::Control;
use super::failure::Failure;
use super::stdout::Stdout;
use super::target::Target;

/// Arguments of `ipcow mark`.
#[derive(Debug, Clone, Args)]
pub(crate) struct MarkArgs {
    #[command(flatten)]
    target: Target,

    /// Prints one JSON document.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Deserialize)]
struct Run {
    run: u64,
    ts: String,
}

/// Marks, and prints the run that begins.
pub(super) async fn run(args: &MarkArgs, out: &mut Stdout<'_>) -> Result<u8, Failure> {
    let mut control = Control::open(&args.target).await?;
    let answer = control.order(Method::POST, "/api/v1/mark", &json!({})).await?;
    let (Run { run, ts }, body): (Run, Vec<u8>) = answer.read().await?;
    match args.json {
        true => out.print_document(&body)?,
        false => {
            let next = "`ipcow list --untouched` tells what nobody came to";
            out.print(format!("run {run} began at {}; {next}\n", escaped(&ts)))?;
        }
    }
    Ok(exit::DONE)
}
