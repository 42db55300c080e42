//! Which service a command talks to, and how its socket is found.
//!
//! Connects and says where it looked. Never speaks HTTP: `call` does.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::Args;
use tokio::net::UnixStream;

use super::super::args::instance_name;
use super::super::control_path::Places;
use super::failure::{Failure, Tried};

/// The arguments that name a running service; every client command takes them.
#[derive(Debug, Clone, Args)]
pub(crate) struct Target {
    /// The instance to talk to, as in `serve --name`.
    #[arg(long, value_name = "NAME", default_value = DEFAULT, value_parser = instance_name)]
    name: String,

    /// Its control socket, instead of looking for it by name.
    #[arg(long, value_name = "PATH", value_parser = socket_path)]
    control: Option<PathBuf>,
}

/// The instance that is meant where none is named.
const DEFAULT: &str = "default";

impl Target {
    pub(super) fn new(name: Option<&str>, control: Option<PathBuf>) -> Self {
        Self { name: name.unwrap_or(DEFAULT).to_owned(), control }
    }

    /// Connects to the first socket that answers; returns its path too.
    ///
    /// # Errors
    /// [`Failure::Nobody`] with each path and why it did not answer.
    pub(super) async fn connect(&self) -> Result<(UnixStream, PathBuf), Failure> {
        let places = Places::of_this_process();
        let paths = match &self.control {
            Some(path) => vec![path.clone()],
            None => places.candidates(&self.name),
        };
        let mut tried = Vec::new();
        for path in paths {
            let folder = path.parent().unwrap_or(Path::new(""));
            let guarded = self.control.is_none() && places.is_shared(folder);
            let trusted = if guarded { owned_by_us(folder) } else { Ok(()) };
            let connected = match trusted {
                Ok(()) => UnixStream::connect(&path).await,
                Err(error) => Err(error),
            };
            match connected {
                Ok(stream) => return Ok((stream, path)),
                Err(error) => tried.push(Tried { path, why: why(&error) }),
            }
        }
        let name = self.control.is_none().then(|| self.name.clone());
        Err(Failure::Nobody { name, tried })
    }
}

/// Any path but "none", which a service understands and a client cannot reach.
pub(super) fn socket_path(text: &str) -> Result<PathBuf, String> {
    match text {
        "" | "none" => Err("name the socket's path; without --control it is looked for".to_owned()),
        path => Ok(path.into()),
    }
}

/// Refuses a folder that another user made under a name that was meant for ours.
fn owned_by_us(folder: &Path) -> io::Result<()> {
    let owner = std::fs::symlink_metadata(folder)?.uid();
    if owner == nix::unistd::geteuid().as_raw() {
        return Ok(());
    }
    Err(io::Error::other(format!("the folder belongs to another user ({owner}): not trusted")))
}

/// The reason in a few words; the kernel's own are about files.
fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such socket".to_owned(),
        io::ErrorKind::ConnectionRefused => "refused: no service listens there any more".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "permission denied: control.mode and control.group say who may".to_owned()
        }
        io::ErrorKind::WouldBlock => "busy: its queue of clients is full".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        target: Target,
    }

    fn target(words: &[&str]) -> Result<Target, clap::Error> {
        let words = std::iter::once("ipcow").chain(words.iter().copied());
        Program::try_parse_from(words).map(|program| program.target)
    }

    fn tried(path: &Path) -> Vec<String> {
        let target = target(&["--control", path.to_str().expect("text")]).expect("legal");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        match runtime.expect("a runtime").block_on(target.connect()) {
            Err(Failure::Nobody { name: None, tried }) => {
                tried.into_iter().map(|tried| tried.why).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_name_that_is_a_path_and_a_path_that_is_none_are_wrong_arguments() {
        assert!(target(&["--name", "../x"]).is_err());
        assert!(target(&["--control", "none"]).is_err());
        assert!(target(&["--name", "a", "--control", "b"]).is_ok());
    }

    #[test]
    fn each_path_says_why_nobody_answered_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.sock");
        assert_eq!(tried(&path), ["no such socket"]);
        drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
        assert!(tried(&path)[0].starts_with("refused"), "a dead socket");
        let long = folder.path().join("x".repeat(200));
        assert!(tried(&long)[0].contains("path"), "{:?}", tried(&long));
    }

    #[test]
    fn a_folder_of_another_user_is_not_trusted() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(owned_by_us(folder.path()).is_ok());
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(folder.path(), Some(65_534), None).expect("we are root");
            assert!(owned_by_us(folder.path()).is_err());
        }
    }
}
