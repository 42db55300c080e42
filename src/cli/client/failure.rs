//! Why a command that talks to a running service did not do what it was asked, and the
//! exit code of each reason (interface §4).
//!
//! One message for a person, with how to go on. Never prints it.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::super::{escaped, exit};

/// A path at which no service answered.
#[derive(Debug)]
pub(crate) struct Tried {
    pub(super) path: PathBuf,
    pub(super) why: String,
}

/// Why a command failed. Displays as a message that may have several lines.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An argument is wrong; the text shows where.
    Usage(String),
    /// No socket answered; `name` where it was looked for by name.
    Nobody { name: Option<String>, tried: Vec<Tried> },
    /// The socket took the connection and nothing came back in this time.
    Silent { path: PathBuf, waited: Duration },
    /// The connection ended before the answer did.
    Broken { path: PathBuf, cause: String },
    /// The service refused, and says why.
    Refused(Refused),
    /// What came back is no answer of an IPCow that this program knows.
    Strange { path: PathBuf, found: String },
    /// Stdout takes no more, and is not simply closed.
    Output(io::Error),
    /// This process could not begin.
    Start(io::Error),
}

/// The body of every refusal (the control API's errors).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Refused {
    pub(super) code: String,
    pub(super) message: String,
    pub(super) hint: String,
}

impl Failure {
    /// Whether no service answered at all.
    pub(super) const fn is_nobody(&self) -> bool {
        matches!(self, Self::Nobody { .. } | Self::Silent { .. })
    }

    /// Whether the selector names no endpoint.
    pub(super) fn is_no_match(&self) -> bool {
        matches!(self, Self::Refused(refused) if refused.code == "nothing_matches")
    }

    /// The exit code: 2 where an argument is at fault, 78 where a configuration file is,
    /// else 1.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => exit::USAGE,
            Self::Refused(refused) => match refused.code.as_str() {
                "bad_selector" | "bad_spec" | "bad_setting" => exit::USAGE,
                "bad_config" => exit::CONFIG,
                _ => exit::FAILED,
            },
            _ => exit::FAILED,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) => out.write_str(text),
            Self::Nobody { name, tried } => nobody(name.as_deref(), tried, out),
            Self::Silent { path, waited } => write!(
                out,
                "ipcow: {}: connected, and no answer came within {} s\n  hint: the service hangs \
                 or is stopped; `ps` shows its state",
                shown(path),
                waited.as_secs()
            ),
            Self::Broken { path, cause } => write!(
                out,
                "ipcow: {}: the connection ended before the answer did: {}\n  hint: the service \
                 may have ended; `ipcow status` tells",
                shown(path),
                escaped(cause)
            ),
            Self::Refused(refused) => {
                // A faulty configuration is many lines long.
                let lines: Vec<String> = refused.message.lines().map(escaped).collect();
                write!(out, "ipcow: {}", lines.join("\n"))?;
                match refused.hint.is_empty() {
                    true => Ok(()),
                    false => write!(out, "\n  hint: {}", escaped(&refused.hint)),
                }
            }
            Self::Strange { path, found } => write!(
                out,
                "ipcow: {}: this is no answer that this version knows: {}\n  hint: use the `ipcow` \
                 of the version that serves",
                shown(path),
                escaped(found)
            ),
            Self::Output(error) => write!(out, "ipcow: stdout takes no more: {error}"),
            Self::Start(error) => write!(out, "ipcow: {error}"),
        }
    }
}

fn nobody(name: Option<&str>, tried: &[Tried], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    match name {
        Some(name) => write!(out, "ipcow: no service named {name:?} answers")?,
        None => write!(out, "ipcow: no service answers")?,
    }
    for Tried { path, why } in tried {
        write!(out, "\n  tried {}: {}", shown(path), escaped(why))?;
    }
    let hint = match name {
        Some(_) => "start one with `ipcow serve`, or name it: --name NAME, --control PATH",
        None => "start one with `ipcow serve --control PATH`, or name another path",
    };
    write!(out, "\n  hint: {hint}")
}

fn shown(path: &std::path::Path) -> String {
    escaped(&path.to_string_lossy())
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: &str, message: &str) -> Failure {
        let hint = "do otherwise".to_owned();
        Failure::Refused(Refused { code: code.to_owned(), message: message.to_owned(), hint })
    }

    #[test]
    fn each_refusal_has_its_exit_code() {
        let code = |name| refused(name, "x").code();
        assert_eq!((code("nothing_matches"), code("draining"), code("needs_restart")), (1, 1, 1));
        assert_eq!((code("bad_selector"), code("bad_spec"), code("bad_setting")), (2, 2, 2));
        assert_eq!(code("bad_config"), 78);
    }

    #[test]
    fn what_a_service_says_cannot_move_the_cursor() {
        let text = refused("x", "one\u{1b}[2J\ntwo\u{9b}").to_string();
        assert_eq!(text, "ipcow: one\\u{1b}[2J\ntwo\\u{9b}\n  hint: do otherwise");
    }

    #[test]
    fn every_path_that_was_tried_is_told() {
        let tried = |path: &str, why: &str| Tried { path: path.into(), why: why.to_owned() };
        let failure = Failure::Nobody {
            name: Some("lab".to_owned()),
            tried: vec![tried("/a/lab.sock", "no such socket"), tried("/b/lab.sock", "refused")],
        };
        let text = failure.to_string();
        assert!(text.starts_with("ipcow: no service named \"lab\" answers\n  tried /a/lab.sock: no such socket\n  tried /b/lab.sock: refused\n  hint: "), "{text}");
        assert!(failure.is_nobody());
    }
}
