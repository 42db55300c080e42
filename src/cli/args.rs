//! The program's arguments: commands and flags, without their meaning.

use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use ipcow::config::Inputs;

use super::check::CheckArgs;
use super::client::ClientCommand;
use super::completions::CompletionsArgs;
use super::config_args::ConfigArgs;
use super::config_show::ConfigShowArgs;
use super::man::ManArgs;

/// Answers on every address and port you give it, TCP and UDP, and keeps answering.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Opens and serves every endpoint until a signal.
    Serve(Box<ServeArgs>),
    /// Shows what `serve` would do and what stands in its way; opens nothing.
    Plan(PlanArgs),
    /// Validates the configuration and nothing else.
    Check(CheckArgs),
    /// Shows the effective configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    #[command(flatten)]
    Client(ClientCommand),
    /// Prints what a shell needs to complete commands and flags.
    Completions(CompletionsArgs),
    /// Prints manual pages of the program and its commands.
    Man(ManArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Prints the effective configuration, ready to be loaded again.
    Show(ConfigShowArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,

    /// The name of this instance, in every JSON object and in the control socket's.
    #[arg(long, value_name = "NAME", default_value = "default", value_parser = instance_name)]
    pub(crate) name: String,

    /// Prints one JSON object a line: ready, recovered, summary.
    #[arg(long)]
    pub(crate) json: bool,

    /// How opening is shown on stderr: auto is a bar on a terminal, else lines.
    #[arg(long, value_enum, default_value_t = Progress::Auto)]
    pub(crate) progress: Progress,

    /// Drains by itself after this time, as in 90s, 30m, 1h30m.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub(crate) duration: Option<Duration>,

    /// Opens everything, prints the summary, and exits: 0, or 69 below coverage.min_bound.
    #[arg(long)]
    pub(crate) once: bool,

    /// Serves also where the machine would have no ephemeral port left.
    #[arg(long)]
    pub(crate) force: bool,

    /// Takes over what the running instance of this name serves: its sockets, with all who
    /// wait in them. Nobody is refused; it keeps its sessions until they end. Where none
    /// runs, just starts.
    #[arg(long, conflicts_with = "once")]
    pub(crate) take_over: bool,

    /// How long sessions may go on once another instance has taken this one over; without
    /// it until they end.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) handover_timeout: Option<Duration>,

    /// The control socket; without it DIR/NAME.sock, where DIR is the first of
    /// $RUNTIME_DIRECTORY, $XDG_RUNTIME_DIR/ipcow, /run/ipcow as root, /tmp/ipcow-UID.
    #[arg(long, value_name = "PATH|none")]
    pub(crate) control: Option<String>,

    /// An address with a port where HTTP may only read, as in 127.0.0.1:9180.
    #[arg(long, value_name = "ADDR|none")]
    pub(crate) admin: Option<String>,
}

impl ServeArgs {
    /// These arguments over the variables `env`.
    pub(crate) fn inputs(&self, env: Vec<(String, String)>) -> Inputs {
        let mut inputs = self.config.inputs(env);
        inputs.control.clone_from(&self.control);
        inputs.admin.clone_from(&self.admin);
        inputs
    }
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,

    /// Prints one JSON document.
    #[arg(long)]
    pub(crate) json: bool,

    /// Plans as `serve --force` would.
    #[arg(long)]
    pub(crate) force: bool,
}

/// How the opening of a big plan is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Progress {
    Auto,
    Bar,
    Lines,
    None,
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write 90s, 30m or 1h30m"))
}

/// 1 to 64 of `[A-Za-z0-9._-]`: it becomes part of a file's name.
pub(crate) fn instance_name(text: &str) -> Result<String, String> {
    let legal = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    if text.is_empty() || text.len() > 64 || !text.chars().all(legal) {
        return Err("a name has 1 to 64 letters, digits, '.', '_' and '-'".to_owned());
    }
    Ok(text.to_owned())
}
