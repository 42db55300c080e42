//! A running `ipcow serve` with a control socket of its own, and the program's own
//! commands against it.

use std::ffi::OsString;
use std::path::PathBuf;

use serde_json::Value;

use super::{DEADLINE, Finished, Ipcow, Ready, Running, eventually};

/// A service that can be asked.
pub(crate) struct Served {
    /// The service's process.
    pub(crate) process: Running,
    folder: tempfile::TempDir,
}

impl Served {
    /// Starts this command line with `--control`, and waits until it is ready.
    pub(crate) fn start(command: Ipcow) -> (Self, Ready) {
        let mut served = Self::start_unready(command);
        let ready = served.process.ready();
        (served, ready)
    }

    /// The same without waiting.
    pub(crate) fn start_unready(command: Ipcow) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let control = folder.path().join("a.sock");
        let process = command.args([OsString::from("--control"), control.into()]).start();
        Self { process, folder }
    }

    /// The path of its control socket.
    pub(crate) fn control(&self) -> PathBuf {
        self.folder.path().join("a.sock")
    }

    /// A folder for what belongs to it.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// A command against it that is still being written.
    pub(crate) fn command<I: IntoIterator<Item: Into<OsString>>>(&self, words: I) -> Ipcow {
        Ipcow::new(words).args([OsString::from("--control"), self.control().into()])
    }

    /// Runs a command against it.
    pub(crate) fn ask<I: IntoIterator<Item: Into<OsString>>>(&self, words: I) -> Finished {
        self.command(words).run()
    }

    /// What a command prints with `--json`, where it ends with 0.
    pub(crate) fn json<I: IntoIterator<Item: Into<OsString>>>(&self, words: I) -> Value {
        self.command(words).args(["--json"]).run().expect_code(0).json()
    }

    /// Everything that happened to it and happens.
    pub(crate) fn events(&self) -> Running {
        self.command(["events", "--follow", "--since", "0", "--json"]).start()
    }

    /// Waits until so many endpoints are in this state.
    pub(crate) fn reach(&self, state: &str, count: usize) {
        let there = || {
            let rows = self.json(["list", "--state", state]);
            rows.as_array().is_some_and(|rows| rows.len() == count)
        };
        assert!(eventually(DEADLINE, there), "{}", self.json(["list"]));
    }

    /// The endpoints that `list` with these words names.
    pub(crate) fn endpoints<I: IntoIterator<Item: Into<OsString>>>(&self, words: I) -> Vec<String> {
        let words =
            std::iter::once(OsString::from("list")).chain(words.into_iter().map(Into::into));
        let rows = self.json(words);
        let rows = rows.as_array().expect("an array").iter();
        rows.map(|row| row["endpoint"].as_str().expect("a string").to_owned()).collect()
    }
}
