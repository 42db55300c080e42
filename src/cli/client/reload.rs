//! `ipcow reload`: reads the configuration again and serves the difference.

use clap::Args;
use hyper::Method;
use serde_json::json;

use super::super::exit;
use super::call::Control;
use super::diff;
use super::failure::Failure;
use super::stdout::Stdout;
use super::target::Target;

/// Arguments of `ipcow reload`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
The service reads the files, the environment and the arguments that it was started with. \
Sessions on endpoints that stay do not notice. A faulty file changes nothing and exits 78; \
keys that need a restart are named.")]
pub(crate) struct ReloadArgs {
    /// Only says what would change.
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    target: Target,

    /// Prints one JSON document.
    #[arg(long)]
    json: bool,
}

/// Reloads and prints the difference.
pub(super) async fn run(args: &ReloadArgs, out: &mut Stdout<'_>) -> Result<u8, Failure> {
    let mut control = Control::open(&args.target).await?;
    let body = json!({ "dry_run": args.dry_run });
    let answer = control.order(Method::POST, "/api/v1/reload", &body).await?;
    diff::print(answer, args.json, args.dry_run, out).await?;
    Ok(exit::DONE)
}
