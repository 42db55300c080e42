//! A record of the access log: one session, refused client or flow that is over.
//!
//! Plain values, formed where the session ended. Serialised by whoever writes it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::end_reason::EndReason;
use super::listing::millis;
use super::refusal::Refusal;
use crate::spec::Protocol;

/// One TCP session or UDP flow that is over, or a client that was refused.
///
/// Serialises as a line of the access log: `ts`, `id`, `protocol`, `peer`, `local`,
/// `group`, `duration_ms`, `bytes` (`in`, `out`), `reason`, and `capture` where
/// anything was captured.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccessRecord {
    /// When it was over.
    pub at: SystemTime,
    /// No other record of the run of a service has the same.
    pub id: RecordId,
    /// TCP sessions and UDP flows.
    pub protocol: Protocol,
    /// Where the client is.
    pub peer: SocketAddr,
    /// The address that it dialled, also where the endpoint is a wildcard.
    pub local: SocketAddr,
    /// The endpoint's group.
    pub group: Arc<str>,
    /// From its beginning to its end; of a flow, to its last datagram.
    pub duration: Duration,
    /// Bytes that were read.
    pub bytes_in: u64,
    /// Bytes that the kernel took.
    pub bytes_out: u64,
    /// Why it is over.
    pub reason: AccessReason,
    /// The first bytes that the client sent, as many as were to be kept.
    pub capture: Box<[u8]>,
}

/// Tells the records of a run apart. Prints as `run-number`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct RecordId {
    /// When the service started, in milliseconds of Unix time.
    pub run: u64,
    /// Counts the records of the run, from 1.
    pub number: u64,
}

/// Why a session or flow is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessReason {
    /// It was served. A flow is `idle`, or ended with its service.
    Ended(EndReason),
    /// It never was a session.
    Refused(Refusal),
}

impl RecordId {
    /// The `number`th record of that run.
    #[must_use]
    pub const fn new(run: u64, number: u64) -> Self {
        Self { run, number }
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:x}-{}", self.run, self.number)
    }
}

impl AccessReason {
    /// The word of the line. Both limits of sessions are `refused_limit`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ended(reason) => reason.as_str(),
            Self::Refused(Refusal::Source) => "refused_source",
            Self::Refused(Refusal::Limit | Refusal::SourceLimit) => "refused_limit",
        }
    }
}

struct Bytes(u64, u64);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = serializer.serialize_struct("bytes", 2)?;
        bytes.serialize_field("in", &self.0)?;
        bytes.serialize_field("out", &self.1)?;
        bytes.end()
    }
}

impl Serialize for AccessRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let captured = !self.capture.is_empty();
        let mut line = serializer.serialize_struct("record", 9 + usize::from(captured))?;
        line.serialize_field("ts", &humantime::format_rfc3339_millis(self.at).to_string())?;
        line.serialize_field("id", &self.id.to_string())?;
        line.serialize_field("protocol", self.protocol.as_str())?;
        line.serialize_field("peer", &self.peer.to_string())?;
        line.serialize_field("local", &self.local.to_string())?;
        line.serialize_field("group", &*self.group)?;
        line.serialize_field("duration_ms", &millis(self.duration))?;
        line.serialize_field("bytes", &Bytes(self.bytes_in, self.bytes_out))?;
        line.serialize_field("reason", self.reason.as_str())?;
        if captured {
            // Nothing in it can steer a terminal, also after a JSON reader has
            // taken its own escapes away.
            line.serialize_field("capture", &self.capture.escape_ascii().to_string())?;
        }
        line.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_a_line_in_which_no_byte_of_a_client_is_raw() {
        let record = AccessRecord {
            at: SystemTime::UNIX_EPOCH,
            id: RecordId::new(0xabc, 7),
            protocol: Protocol::Tcp,
            peer: "192.0.2.1:40000".parse().expect("an address"),
            local: "[2001:db8::1]:23".parse().expect("an address"),
            group: "lab".into(),
            duration: Duration::from_micros(12_900),
            bytes_in: 5,
            bytes_out: 4,
            reason: AccessReason::Refused(Refusal::SourceLimit),
            capture: b"\x1b[2J\r\n\"\\\xff"[..].into(),
        };
        let line = serde_json::to_string(&record).expect("strings and numbers");
        let wanted = r#"{"ts":"1970-01-01T00:00:00.000Z","id":"abc-7","protocol":"tcp","peer":"192.0.2.1:40000","local":"[2001:db8::1]:23","group":"lab","duration_ms":12,"bytes":{"in":5,"out":4},"reason":"refused_limit","capture":"\\x1b[2J\\r\\n\\\"\\\\\\xff"}"#;
        assert_eq!(line, wanted);
    }
}
