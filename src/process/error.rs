//! Why a process could not be confined, in words that name the key and the fix.

use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

/// Why [`confine`](super::confine) failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfineError {
    /// `process.user` names nobody.
    #[error(
        "process.user = {0:?}: this machine has no such user; give the name or number of one, \
         or \"\" to stay who you are"
    )]
    UnknownUser(String),
    /// `process.user` is root.
    #[error(
        "process.user = {0:?} is root, which gives up nothing; name another user, or \"\" to \
         stay who you are"
    )]
    RootUser(String),
    /// `process.group` names no group.
    #[error(
        "process.group = {0:?}: this machine has no such group; give the name or number of \
         one, or \"\" for the user's own"
    )]
    UnknownGroup(String),
    /// `process.user` is the number of nobody in particular, so that it has no group.
    #[error("process.user = {0:?} has no entry among the users of this machine: set process.group")]
    NoGroup(String),
    /// The machine's users or groups cannot be read.
    #[error("the users and groups of this machine cannot be read: {}", .0.desc())]
    Lookup(Errno),
    /// The rights of one thread cannot be taken from another.
    #[error("privileges can be given up by the only thread of a process, and there are {0}")]
    Threads(usize),
    /// The kernel refused a step.
    #[error(
        "{step} failed: {reason}; start it as root, or leave process.user and process.group empty"
    )]
    Refused {
        /// What was tried.
        step: &'static str,
        /// What the kernel said.
        reason: String,
    },
    /// A folder in which files shall stay writable cannot be opened.
    #[error("{} cannot be kept writable: {source}; it must be a folder that is there", .folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// `process.sandbox = "on"`, and the kernel has it not.
    #[error("process.sandbox = \"on\": {}; \"auto\" does without", .0.join("; "))]
    Sandbox(Vec<String>),
}

impl ConfineError {
    /// True where the configuration is at fault on this machine, whoever starts it.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        match self {
            Self::UnknownUser(_) | Self::RootUser(_) | Self::UnknownGroup(_) | Self::NoGroup(_) => {
                true
            }
            Self::Lookup(_)
            | Self::Threads(_)
            | Self::Refused { .. }
            | Self::Folder { .. }
            | Self::Sandbox(_) => false,
        }
    }
}
