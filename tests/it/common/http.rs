//! A client of the control API that is not ours: curl, on a Unix socket or an address.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Lines of the head, in lower case.
    head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The body, which must be JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Fails unless that status came; gives the JSON body.
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        self.json()
    }

    /// Fails unless it is an error of that status and code, with all three parts.
    pub(crate) fn expect_error(&self, status: u16, code: &str) -> Value {
        let body = self.expect(status);
        assert_eq!(body["code"], code, "{body}");
        for key in ["message", "hint"] {
            let text = body[key].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{key} is missing: {body}");
            assert!(!text.chars().any(|it| it.is_control() && it != '\n'), "{text:?}");
        }
        assert_eq!(body.as_object().map(serde_json::Map::len), Some(3), "{body}");
        body
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.map(str::trim)
    }
}

/// Where an API is.
#[derive(Debug, Clone)]
pub(crate) enum Api {
    Socket(PathBuf),
    Address(String),
}

impl Api {
    pub(crate) fn at(path: impl AsRef<Path>) -> Self {
        Self::Socket(path.as_ref().into())
    }

    /// The curl command for a path.
    pub(crate) fn curl(&self, path: &str) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-i", "--max-time", "60"]);
        match self {
            Self::Socket(socket) => {
                curl.arg("--unix-socket").arg(socket).arg(format!("http://ipcow{path}"));
            }
            Self::Address(address) => {
                curl.arg(format!("http://{address}{path}"));
            }
        }
        curl
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send(path, &[])
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(path, &["-X", "POST", "-d", &body.to_string()])
    }

    pub(crate) fn delete(&self, path: &str, body: &Value) -> Answer {
        self.send(path, &["-X", "DELETE", "-d", &body.to_string()])
    }

    /// With more arguments of curl.
    pub(crate) fn send(&self, path: &str, args: &[&str]) -> Answer {
        let mut curl = self.curl(path);
        if !args.iter().any(|arg| arg.starts_with("Content-Type")) {
            curl.args(["-H", "Content-Type: application/json"]);
        }
        let done = curl.args(args).output().expect("curl runs");
        assert!(done.status.success(), "{path}: {done:?}");
        read(&String::from_utf8_lossy(&done.stdout))
    }
}

fn read(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"));
    if head.starts_with("HTTP/1.1 100") {
        return read(body);
    }
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Answer {
        status: status.unwrap_or_else(|| panic!("no status: {text:?}")),
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    }
}
