//! `ipcow completions`: what a shell needs to complete commands and flags.

use std::io::Write;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::args::Arguments;
use super::exit;

const EXAMPLES: &str = "\
EXAMPLES
  bash  ipcow completions bash > ~/.local/share/bash-completion/completions/ipcow
  zsh   ipcow completions zsh > ~/.zfunc/_ipcow       (with fpath+=~/.zfunc before compinit)
  fish  ipcow completions fish > ~/.config/fish/completions/ipcow.fish";

/// Arguments of `ipcow completions`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(args: &CompletionsArgs, out: &mut dyn Write) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Arguments::command(), "ipcow", &mut script);
    exit::printed(out.write_all(&script).and_then(|()| out.flush()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn every_shell_knows_every_command() {
        for shell in Shell::value_variants() {
            let mut out = Vec::new();
            assert_eq!(run(&CompletionsArgs { shell: *shell }, &mut out), 0);
            let script = String::from_utf8(out).expect("text");
            for command in Arguments::command().get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell}: {}", command.get_name());
            }
        }
    }
}
