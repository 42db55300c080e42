//! `ipcow man`: manual pages of the program and of each of its commands, made of the
//! same words as `--help`.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;

use super::args::Arguments;
use super::exit;

/// Arguments of `ipcow man`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
EXAMPLES
  ipcow man | man -l -
  ipcow man --out ~/.local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Writes a file for each page into this folder, instead of all to stdout.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Writes the pages.
pub(crate) fn run(args: &ManArgs, out: &mut dyn Write) -> u8 {
    let Some(folder) = &args.out else {
        return exit::printed(write_all(out));
    };
    let written = pages().into_iter().try_for_each(|(name, page)| {
        let file = folder.join(format!("{name}.1"));
        rendered(page).and_then(|text| std::fs::write(file, text))
    });
    match written {
        Ok(()) => exit::DONE,
        Err(error) => {
            let said = writeln!(
                io::stderr(),
                "ipcow: cannot write manual pages to {}: {error}\n  hint: name a folder that is \
                 there and that you may write to",
                folder.display()
            );
            drop(said);
            exit::FAILED
        }
    }
}

fn write_all(out: &mut dyn Write) -> io::Result<()> {
    for (_, page) in pages() {
        out.write_all(&rendered(page)?)?;
    }
    out.flush()
}

fn rendered(page: Command) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    Man::new(page).render(&mut text)?;
    Ok(text)
}

/// Each page with the name of its file: `ipcow`, `ipcow-list`, `ipcow-config-show`.
fn pages() -> Vec<(String, Command)> {
    let mut program = Arguments::command().disable_help_subcommand(true);
    program.build();
    let mut pages = Vec::new();
    collect(&program, &mut pages);
    pages
}

fn collect(command: &Command, pages: &mut Vec<(String, Command)>) {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    pages.push((name.to_owned(), command.clone()));
    command.get_subcommands().for_each(|inner| collect(inner, pages));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_page_for_the_program_and_for_each_command() {
        let mut out = Vec::new();
        assert_eq!(run(&ManArgs { out: None }, &mut out), 0);
        let text = String::from_utf8(out).expect("text");
        let heads: Vec<&str> = text.lines().filter(|line| line.starts_with(".TH ")).collect();
        assert_eq!(heads.len(), pages().len());
        for name in ["ipcow ", "ipcow-serve ", "ipcow-list ", "ipcow-config-show "] {
            let head = format!(".TH {name}");
            assert!(heads.iter().any(|line| line.starts_with(&head)), "{head}: {heads:?}");
        }
        assert!(text.contains("group:lab"), "selectors are explained");
    }

    #[test]
    fn pages_become_files_or_an_error_that_names_the_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let out = Some(folder.path().to_owned());
        assert_eq!(run(&ManArgs { out }, &mut io::sink()), 0);
        assert!(folder.path().join("ipcow-suspend.1").is_file());
        let out = Some(folder.path().join("missing"));
        assert_eq!(run(&ManArgs { out }, &mut io::sink()), 1);
    }
}
