//! `ipcow add`: serves more endpoints.

use clap::Args;
use hyper::Method;
use serde_json::json;

use super::super::exit;
use super::call::Control;
use super::diff;
use super::failure::Failure;
use super::selector::judged_spec;
use super::stdout::Stdout;
use super::target::Target;

const EXAMPLES: &str = "\
EXAMPLES
  ipcow add tcp://127.0.0.1:9000-9009
  ipcow add 'both://10.0.0.0/28,!10.0.0.3:53' --group lab
  What is added survives a reload, not a restart. An @FILE is read by the service: write an
  absolute path.";

/// Arguments of `ipcow add`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct AddArgs {
    /// What to serve too: [tcp|udp|both://]ADDRESSES:PORTS.
    #[arg(value_name = "SPEC")]
    spec: String,

    /// The group whose settings they get; without it those of [listen_defaults].
    #[arg(long, value_name = "NAME")]
    group: Option<String>,

    #[command(flatten)]
    target: Target,

    /// Prints one JSON document.
    #[arg(long)]
    json: bool,
}

/// Adds the endpoints and prints what was opened.
pub(super) async fn run(args: &AddArgs, color: bool, out: &mut Stdout<'_>) -> Result<u8, Failure> {
    let spec = judged_spec(&args.spec, color)?;
    let mut body = json!({ "spec": spec });
    if let Some(group) = &args.group {
        body["group"] = group.as_str().into();
    }
    let mut control = Control::open(&args.target).await?;
    let answer = control.order(Method::POST, "/api/v1/endpoints", &body).await?;
    diff::print(answer, args.json, false, out).await?;
    Ok(exit::DONE)
}
