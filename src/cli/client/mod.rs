//! The commands that talk to a running service over its control socket, one file each.
//!
//! What they share: `target` finds the service, `call` speaks to it, `failure` says why
//! something was not done, `stdout` and `table` print. None of them knows how a service
//! works: they know its answers (interface §4 and §5).

mod add;
mod call;
mod changed;
mod diff;
mod errors;
mod events;
mod failure;
mod invitation;
mod list;
mod mark;
mod orders;
mod reload;
mod running;
mod selector;
mod set;
mod shutdown;
mod sse;
mod status;
mod stdout;
mod suspend;
mod table;
mod target;

use std::io::{self, Write};

use clap::Subcommand;

use super::exit;
use failure::Failure;
use stdout::Stdout;

pub(crate) use invitation::{Invitation, invitation};
pub(crate) use running::RunningArgs;

/// What may be asked of a running service.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Tells how a running service is: exit 0 ready, 1 degraded, 3 nobody answers.
    Status(status::StatusArgs),
    /// Lists the endpoints of a running service.
    List(list::ListArgs),
    /// Prints what happened, and with --follow what happens.
    Events(events::EventsArgs),
    /// Tells what is wrong, grouped by cause, each with its fix.
    Errors(errors::ErrorsArgs),
    /// Closes endpoints, as in a real outage, until they are resumed.
    Suspend(suspend::SuspendArgs),
    /// Opens again what was suspended or drained.
    Resume(orders::OrderArgs),
    /// Closes endpoints and lets their sessions end in time; they are suspended then.
    Drain(orders::OrderArgs),
    /// Opens again now what failed, with fresh attempts.
    Retry(orders::OrderArgs),
    /// Serves more endpoints, until a restart.
    Add(add::AddArgs),
    /// Serves endpoints no longer; their sessions end in time.
    Remove(orders::OrderArgs),
    /// Reads the configuration again and serves the difference.
    Reload(reload::ReloadArgs),
    /// Changes settings of a running service until a restart; without any, lists them.
    Set(set::SetArgs),
    /// Begins a new run: from now on every endpoint is untouched until a client comes.
    Mark(mark::MarkArgs),
    /// Ends a running service as TERM does: it drains first.
    Shutdown(shutdown::ShutdownArgs),
}

/// Runs the command; returns its exit code. `color` is for stderr.
pub(crate) fn run(command: &ClientCommand, color: bool) -> u8 {
    let mut out = Stdout::open();
    let done = on_runtime(dispatch(command, color, &mut out));
    let asks_how_it_is = matches!(command, ClientCommand::Status(_));
    finish(done, asks_how_it_is, &mut out)
}

/// Prints the configuration that a service runs with; returns the exit code.
pub(crate) fn show_running(args: &RunningArgs, json: bool) -> u8 {
    let mut out = Stdout::open();
    let done = on_runtime(running::run(args, json, &mut out));
    finish(done, false, &mut out)
}

async fn dispatch(
    command: &ClientCommand,
    color: bool,
    out: &mut Stdout<'_>,
) -> Result<u8, Failure> {
    use orders::Order;
    match command {
        ClientCommand::Status(args) => status::run(args, out).await,
        ClientCommand::List(args) => list::run(args, color, out).await,
        ClientCommand::Events(args) => events::run(args, out).await,
        ClientCommand::Errors(args) => errors::run(args, out).await,
        ClientCommand::Suspend(args) => suspend::run(args, color, out).await,
        ClientCommand::Resume(args) => orders::run(Order::Resume, args, color, out).await,
        ClientCommand::Drain(args) => orders::run(Order::Drain, args, color, out).await,
        ClientCommand::Retry(args) => orders::run(Order::Retry, args, color, out).await,
        ClientCommand::Add(args) => add::run(args, color, out).await,
        ClientCommand::Remove(args) => orders::run(Order::Remove, args, color, out).await,
        ClientCommand::Reload(args) => reload::run(args, out).await,
        ClientCommand::Set(args) => set::run(args, out).await,
        ClientCommand::Mark(args) => mark::run(args, out).await,
        ClientCommand::Shutdown(args) => shutdown::run(args, out).await,
    }
}

fn on_runtime(work: impl Future<Output = Result<u8, Failure>>) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Failure::Start)?.block_on(work)
}

fn finish(done: Result<u8, Failure>, asks_how_it_is: bool, out: &mut Stdout<'_>) -> u8 {
    let done = done.and_then(|code| out.flush().map(|()| code).map_err(Failure::Output));
    match done {
        Ok(code) => code,
        Err(failure) => {
            drop(out.flush());
            say(&failure.to_string());
            if asks_how_it_is && failure.is_nobody() { exit::NOBODY } else { failure.code() }
        }
    }
}

/// Writes a message to stderr, whose reader may have gone.
fn say(text: &str) {
    drop(writeln!(io::stderr(), "{}", text.trim_end()));
}
