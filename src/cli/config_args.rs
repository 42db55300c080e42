//! The arguments that say what to serve and how, shared by the commands.
//!
//! Words only: what they mean is decided when the configuration is loaded.

use std::path::PathBuf;

use clap::Args;
use ipcow::config::Inputs;

/// What to serve and how; `serve`, `plan`, `check` and `config show` take it.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ConfigArgs {
    /// What to serve, instead of the groups of the configuration.
    ///
    /// [!][tcp|udp|both://]ADDRESSES:PORTS, as in
    /// 'tcp://127.0.0.0/29,!127.0.0.3:8000-8010,!8005'. One that begins with "!"
    /// removes its endpoints from all others.
    #[arg(value_name = "SPEC")]
    specs: Vec<String>,

    /// Reads a configuration file; may be repeated, the later wins. "none" reads no file.
    ///
    /// Without it: $IPCOW_CONFIG, else /etc/ipcow/ipcow.toml and /etc/ipcow/conf.d/*.toml.
    #[arg(short, long, value_name = "FILE")]
    config: Vec<PathBuf>,

    /// Sets one key, as in session.idle_timeout_secs=60; may be repeated.
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,

    /// Removes the endpoints of this spec from all groups; may be repeated.
    #[arg(long, value_name = "SPEC")]
    exclude: Vec<String>,

    /// How many worker threads; "auto" derives it from the machine.
    // A negative number is a wrong value with a message of its own, not an unknown flag.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    workers: Option<String>,
}

impl ConfigArgs {
    /// These arguments over the variables `env`
    /// (see [`ipcow::config::environment`]).
    pub(crate) fn inputs(&self, env: Vec<(String, String)>) -> Inputs {
        let mut inputs = Inputs::default();
        inputs.config_files.clone_from(&self.config);
        inputs.env = env;
        inputs.sets.clone_from(&self.set);
        inputs.specs.clone_from(&self.specs);
        inputs.excludes.clone_from(&self.exclude);
        inputs.workers.clone_from(&self.workers);
        inputs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        config: ConfigArgs,
    }

    fn inputs(words: &[&str]) -> Inputs {
        let words = std::iter::once("ipcow").chain(words.iter().copied());
        Program::try_parse_from(words).expect("the arguments are legal").config.inputs(Vec::new())
    }

    #[test]
    fn every_argument_reaches_the_configuration_in_its_order() {
        let inputs = inputs(&[
            "127.0.0.1:80",
            "-c",
            "a.toml",
            "--config",
            "b.toml",
            "!127.0.0.1:81",
            "--set",
            "log.level=debug",
            "--exclude",
            "[::1]:1-9",
            "--workers",
            "3",
        ]);
        assert_eq!(inputs.specs, ["127.0.0.1:80", "!127.0.0.1:81"]);
        assert_eq!(inputs.config_files, [PathBuf::from("a.toml"), PathBuf::from("b.toml")]);
        assert_eq!(inputs.sets, ["log.level=debug"]);
        assert_eq!(inputs.excludes, ["[::1]:1-9"]);
        assert_eq!(inputs.workers.as_deref(), Some("3"));
    }

    #[test]
    fn a_negative_number_of_workers_is_left_to_the_configuration() {
        assert_eq!(inputs(&["--workers", "-1"]).workers.as_deref(), Some("-1"));
    }

    #[test]
    fn no_argument_leaves_everything_to_files_and_variables() {
        assert_eq!(inputs(&[]), Inputs::default());
    }
}
