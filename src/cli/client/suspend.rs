//! `ipcow suspend`: closes endpoints, as in a real outage.

use std::time::Duration;

use clap::{Args, ValueEnum};
use hyper::Method;
use serde_json::{Value, json};

use super::super::args::duration;
use super::super::exit;
use super::call::Control;
use super::changed;
use super::failure::Failure;
use super::selector::{EXAMPLES, SelectorArg, judged};
use super::stdout::Stdout;
use super::target::Target;

/// Arguments of `ipcow suspend`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SuspendArgs {
    #[command(flatten)]
    which: SelectorArg,

    #[command(flatten)]
    target: Target,

    /// Resumes after this time, as in 30s or 1h30m: by the service's own timer, whoever
    /// is gone by then.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    time: Option<Duration>,

    /// What becomes of the sessions there.
    #[arg(long, value_enum, default_value_t = Sessions::Keep)]
    sessions: Sessions,

    /// Prints one JSON document.
    #[arg(long)]
    json: bool,
}

/// What becomes of sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sessions {
    /// They go on.
    Keep,
    /// They end in order, with FIN.
    Fin,
    /// They are reset, as when a machine fails.
    Reset,
}

/// Orders it; returns when the ports are free.
pub(super) async fn run(
    args: &SuspendArgs,
    color: bool,
    out: &mut Stdout<'_>,
) -> Result<u8, Failure> {
    let select = judged(&args.which.selector, color)?;
    let mut control = Control::open(&args.target).await?;
    let answer = control.order(Method::POST, "/api/v1/suspend", &args.order(select)).await?;
    changed::print(answer, args.json, "suspended", out).await?;
    Ok(exit::DONE)
}

impl SuspendArgs {
    fn order(&self, select: &str) -> Value {
        let sessions = match self.sessions {
            Sessions::Keep => "keep",
            Sessions::Fin => "fin",
            Sessions::Reset => "reset",
        };
        let mut order = json!({ "select": select, "sessions": sessions });
        if let Some(time) = self.time {
            order["for"] = humantime::format_duration(time).to_string().into();
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        suspend: SuspendArgs,
    }

    #[test]
    fn every_argument_is_in_the_order() {
        let words = ["suspend", "group:lab", "--for", "90s", "--sessions", "reset"];
        let args = Program::try_parse_from(words).expect("legal").suspend;
        let order = json!({ "select": "group:lab", "sessions": "reset", "for": "1m 30s" });
        assert_eq!(args.order(&args.which.selector), order);
        let args = Program::try_parse_from(["suspend", "*"]).expect("legal").suspend;
        assert_eq!(args.order("*"), json!({ "select": "*", "sessions": "keep" }));
    }
}
