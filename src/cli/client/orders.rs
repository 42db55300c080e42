//! `ipcow resume`, `drain`, `retry` and `remove`: orders that say which endpoints and
//! nothing else.

use clap::Args;
use hyper::Method;
use serde_json::json;

use super::super::exit;
use super::call::Control;
use super::changed;
use super::failure::Failure;
use super::selector::{EXAMPLES, SelectorArg, judged};
use super::stdout::Stdout;
use super::target::Target;

/// Arguments of these commands.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct OrderArgs {
    #[command(flatten)]
    which: SelectorArg,

    #[command(flatten)]
    target: Target,

    /// Prints one JSON document.
    #[arg(long)]
    json: bool,
}

/// What shall become of endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Resume,
    Drain,
    Retry,
    Remove,
}

/// Orders it and prints what was done.
pub(super) async fn run(
    order: Order,
    args: &OrderArgs,
    color: bool,
    out: &mut Stdout<'_>,
) -> Result<u8, Failure> {
    let select = judged(&args.which.selector, color)?;
    let mut control = Control::open(&args.target).await?;
    let (method, route, body) = match order {
        Order::Resume => (Method::POST, "/api/v1/resume", json!({ "select": select })),
        Order::Drain => (Method::POST, "/api/v1/drain", json!({ "select": select })),
        Order::Retry => (Method::POST, "/api/v1/retry", json!({ "select": select })),
        Order::Remove => (Method::DELETE, "/api/v1/endpoints", json!({ "spec": select })),
    };
    let answer = control.order(method, route, &body).await?;
    let done = match order {
        Order::Resume => "resumed",
        Order::Drain => "draining",
        Order::Retry => "tried again",
        Order::Remove => "removed",
    };
    changed::print(answer, args.json, done, out).await?;
    Ok(exit::DONE)
}
