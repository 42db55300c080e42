//! `[access_log]`: where a record of each session and flow goes.

use std::path::PathBuf;

use serde::Deserialize;

/// `[access_log]`: a record of each session and flow.
///
/// A service opens no file by itself: whoever builds it gives it a sink.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct AccessLog {
    /// Where the lines go. Default nowhere.
    pub path: AccessLogPath,
    /// How many of the first bytes that a client sends are kept. 0 to 65,536,
    /// default 0.
    pub capture_bytes: usize,
}

/// Where the access log goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AccessLogPath {
    /// Nowhere: nothing is recorded.
    #[default]
    Off,
    /// To stderr.
    Stderr,
    /// To the end of this file.
    File(PathBuf),
}

#[derive(Deserialize)]
pub(super) struct RawAccessLog {
    path: String,
    capture_bytes: usize,
}

impl From<RawAccessLog> for AccessLog {
    fn from(raw: RawAccessLog) -> Self {
        let path = match raw.path.as_str() {
            "none" => AccessLogPath::Off,
            "-" => AccessLogPath::Stderr,
            path => AccessLogPath::File(path.into()),
        };
        Self { path, capture_bytes: raw.capture_bytes }
    }
}
