//! `ipcow shutdown`: ends a running service as TERM does.

use clap::Args;
use hyper::Method;
use serde::Deserialize;
use serde_json::json;

use super::super::{escaped, exit};
use super::call::Control;
use super::failure::Failure;
use super::stdout::Stdout;
use super::target::Target;

/// Arguments of `ipcow shutdown`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ShutdownArgs {
    #[command(flatten)]
    target: Target,

    /// Prints one JSON document.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Deserialize)]
struct Begun {
    state: String,
}

/// Orders it; the service drains after that.
pub(super) async fn run(args: &ShutdownArgs, out: &mut Stdout<'_>) -> Result<u8, Failure> {
    let mut control = Control::open(&args.target).await?;
    let answer = control.order(Method::POST, "/api/v1/shutdown", &json!({})).await?;
    let (Begun { state }, body): (Begun, Vec<u8>) = answer.read().await?;
    match args.json {
        true => out.print_document(&body)?,
        false => {
            out.print(format!("{}: the service ends when it has drained\n", escaped(&state)))?
        }
    }
    Ok(exit::DONE)
}
