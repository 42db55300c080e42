//! The command line of the program: words, environment, wrappers, user.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Finished, Running};

/// The user and group `nobody` of Debian.
const NOBODY: u32 = 65_534;

/// A command line that is still being written.
#[derive(Debug, Clone)]
pub(crate) struct Ipcow {
    wrapper: Vec<OsString>,
    binary: PathBuf,
    args: Vec<OsString>,
    env: Vec<(String, String)>,
    user: Option<u32>,
}

impl Ipcow {
    /// `ipcow` with these arguments; reads no configuration file of the machine.
    pub(crate) fn new<I: IntoIterator<Item: Into<OsString>>>(args: I) -> Self {
        Self {
            wrapper: Vec::new(),
            binary: binary(),
            args: args.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            user: None,
        }
    }

    /// `ipcow serve --json` of these specs, without a configuration file.
    pub(crate) fn serve<I: IntoIterator<Item: Into<OsString>>>(specs: I) -> Self {
        Self::new(["serve", "--json", "--config", "none"]).args(specs)
    }

    /// `ipcow plan --json` of these specs, without a configuration file.
    pub(crate) fn plan<I: IntoIterator<Item: Into<OsString>>>(specs: I) -> Self {
        Self::new(["plan", "--json", "--config", "none"]).args(specs)
    }

    /// More arguments.
    pub(crate) fn args<I: IntoIterator<Item: Into<OsString>>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// `--config FILE`.
    pub(crate) fn arg_file(self, file: &Path) -> Self {
        self.args([OsString::from("--config"), file.into()])
    }

    /// `--set section.key=value`.
    pub(crate) fn set(self, assignment: &str) -> Self {
        self.args(["--set", assignment])
    }

    /// No second attempt and no probe: a taken port is decided at once.
    pub(crate) fn without_retries(self) -> Self {
        self.set("retry.max_attempts=1").set("retry.quarantine_probe_secs=0")
    }

    /// One variable of the environment.
    pub(crate) fn env(mut self, key: &str, value: &str) -> Self {
        self.env.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Runs inside another program that becomes it (`prlimit`, `strace -D`).
    pub(crate) fn under<I: IntoIterator<Item: Into<OsString>>>(mut self, wrapper: I) -> Self {
        self.wrapper = wrapper.into_iter().map(Into::into).collect();
        self
    }

    /// Runs under strace with these `-e` expressions; what it saw goes to `file`. The
    /// child is `ipcow` itself (`-D`), so that signals reach it.
    pub(crate) fn traced(self, file: &Path, expressions: &[&str]) -> Self {
        let mut words: Vec<OsString> = ["strace", "-D", "-f", "-qq", "-o"].map(Into::into).into();
        words.push(file.into());
        for expression in expressions {
            words.extend(["-e".into(), expression.into()]);
        }
        self.under(words)
    }

    /// Runs as `nobody`, from a copy in `folder`, which nobody may enter.
    pub(crate) fn by_nobody_in(self, folder: &Path) -> Self {
        self.by_user_in(folder, NOBODY)
    }

    /// Runs as a user with that number, from a copy in `folder`. Limits of processes
    /// hold for all that a user runs: a test of them has a user of its own.
    pub(crate) fn by_user_in(mut self, folder: &Path, user: u32) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let open = || std::fs::Permissions::from_mode(0o755);
        let copy = folder.join("ipcow");
        std::fs::copy(&self.binary, &copy).expect("room for a copy of the binary");
        std::fs::set_permissions(folder, open()).expect("the folder is ours");
        std::fs::set_permissions(&copy, open()).expect("the copy is ours");
        self.binary = copy;
        self.user = Some(user);
        self
    }

    /// Runs this copy of the program.
    pub(crate) fn instead_of_the_built_one(mut self, copy: &Path) -> Self {
        self.binary = copy.into();
        self
    }

    /// Starts it and reads its pipes.
    pub(crate) fn start(self) -> Running {
        self.start_with(Stdio::piped())
    }

    /// Starts it with another stdout.
    pub(crate) fn start_with(self, stdout: Stdio) -> Running {
        self.start_between(Stdio::null(), stdout)
    }

    /// Starts it from a terminal of its own; closing the other end hangs that up.
    pub(crate) fn start_from(self, terminal: OwnedFd) -> Running {
        self.under(["setsid", "--ctty"]).start_between(Stdio::from(terminal), Stdio::piped())
    }

    fn start_between(self, stdin: Stdio, stdout: Stdio) -> Running {
        let mut words = self.wrapper.clone();
        words.push(self.binary.clone().into());
        words.extend(self.args.iter().cloned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(stdin).stdout(stdout).stderr(Stdio::piped());
        for (key, _) in std::env::vars_os() {
            let ours = key.to_string_lossy().starts_with("IPCOW_");
            if ours || key == "NO_COLOR" || key == "RUST_LOG" {
                command.env_remove(key);
            }
        }
        // Tests run side by side: none has the machine's default socket by accident.
        command.env("IPCOW__CONTROL__PATH", "none");
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        if let Some(user) = self.user {
            command.current_dir("/").uid(user).gid(user);
        }
        let child = command.spawn().unwrap_or_else(|error| panic!("{words:?}: {error}"));
        Running::new(child)
    }

    /// Runs it to its end.
    pub(crate) fn run(self) -> Finished {
        self.start().finish()
    }
}

/// The program under test: the built one, or what `IPCOW_TEST_BINARY` names (so that
/// the same claims can be tried on a release build).
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("IPCOW_TEST_BINARY")
        .map_or_else(|| env!("CARGO_BIN_EXE_ipcow").into(), PathBuf::from)
}
