//! The program's commands, one file each, and what they share.

mod access_log;
mod activation;
mod args;
mod check;
mod client;
mod completions;
mod config_args;
mod config_show;
mod control_path;
mod diagnostics;
mod doors;
mod exit;
mod journal;
mod json;
mod logging;
mod man;
mod outlet;
mod plan;
mod progress;
mod report;
mod run;
mod screen;
mod serve;
mod service_manager;
mod take_over;

use std::io::{self, IsTerminal};

use clap::Parser;
use ipcow::config;

use args::{Arguments, Command, ConfigCommand};

/// Runs the command that the arguments name; returns its exit code.
pub(crate) fn run() -> u8 {
    let arguments = arguments();
    let color = io::stderr().is_terminal() && !no_color();
    let env = config::environment();
    match arguments.command {
        Command::Serve(args) => serve::run(&args, args.inputs(env), color),
        Command::Plan(args) => plan::run(&args, &args.config.inputs(env), color, &mut io::stdout()),
        Command::Check(args) => {
            let inputs = args.config.inputs(env);
            check::run(&inputs, args.json, color, &mut io::stdout(), &mut io::stderr())
        }
        Command::Config(ConfigCommand::Show(args)) if args.running => {
            client::show_running(&args.service, args.json)
        }
        Command::Config(ConfigCommand::Show(args)) => {
            let form = config_show::Form { origin: args.origin, json: args.json, color };
            let inputs = args.config.inputs(env);
            config_show::run(&inputs, form, &mut io::stdout(), &mut io::stderr())
        }
        Command::Client(command) => client::run(&command, color),
        Command::Completions(args) => completions::run(&args, &mut io::stdout()),
        Command::Man(args) => man::run(&args, &mut io::stdout()),
    }
}

/// The arguments, or the end of the program with what is wrong with them.
fn arguments() -> Arguments {
    Arguments::try_parse().unwrap_or_else(|refused| {
        // The message quotes what was typed: it shall say so, not move the cursor.
        let shown = std::env::args_os().map(|word| escaped(&word.to_string_lossy()));
        Arguments::try_parse_from(shown).err().unwrap_or(refused).exit()
    })
}

/// Whether the environment asks for no colour (no-color.org).
fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty())
}

/// The text with its control characters written out.
fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for found in text.chars() {
        match found.is_control() {
            true => shown.extend(found.escape_default()),
            false => shown.push(found),
        }
    }
    shown
}
