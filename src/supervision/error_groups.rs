//! What is wrong now, in as few lines as there are causes.
//!
//! Groups failures by scope, cause and state, with compressed endpoints. Never
//! decides what becomes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::chunk::ChunkId;
use super::failure::{Fault, FaultKind};
use super::listing::{EndpointInfo, millis};
use super::states::EndpointState;
use crate::plan::facts::Holder;
use crate::spec::{Endpoint, compress};

/// Longest list of endpoints of a group. Unit: characters.
const NAMED: usize = 400;
/// Most chunks that a group names.
const MAX_CHUNKS: usize = 32;

/// Endpoints or connections that failed alike.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErrorGroup {
    /// Whose failure it is.
    pub scope: ErrorScope,
    /// Why they failed.
    pub fault: Fault,
    /// How many endpoints do not listen; for connections, how many failed.
    pub count: u64,
    /// Which endpoints, compressed; at most about 400 characters.
    pub endpoints: String,
    /// One of them.
    pub example: Endpoint,
    /// Who holds the port of the example, where another socket does and one
    /// may look.
    pub holder: Option<Holder>,
}

/// Whose failure an [`ErrorGroup`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorScope {
    /// Endpoints that do not listen.
    Chunk {
        /// Where they stand.
        state: EndpointState,
        /// Their chunks; at most 32.
        chunks: Vec<ChunkId>,
        /// The most attempts that one of them used.
        attempts: u32,
        /// Until the first of them is tried again; `None` = not by itself.
        retry_in: Option<Duration>,
    },
    /// Connections that failed; their endpoints serve on.
    Connection {
        /// Whose connection failed last.
        last_peer: Option<SocketAddr>,
    },
}

impl ErrorScope {
    /// `"chunk"` or `"connection"`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Chunk { .. } => "chunk",
            Self::Connection { .. } => "connection",
        }
    }
}

/// Groups endpoints that do not listen, those with a fault alone; the most
/// numerous first.
pub fn group_failures<'a>(failed: impl IntoIterator<Item = &'a EndpointInfo>) -> Vec<ErrorGroup> {
    let mut groups: BTreeMap<(Fault, &str), Vec<&EndpointInfo>> = BTreeMap::new();
    for info in failed {
        if let Some(fault) = info.fault {
            groups.entry((fault, info.state.as_str())).or_default().push(info);
        }
    }
    let grouped = groups.into_iter().filter_map(|((fault, _), members)| group(fault, &members));
    let mut groups: Vec<_> = grouped.collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    groups
}

fn group(fault: Fault, members: &[&EndpointInfo]) -> Option<ErrorGroup> {
    let first = members.first()?;
    let chunks: BTreeSet<ChunkId> = members.iter().map(|info| info.chunk).collect();
    Some(ErrorGroup {
        scope: ErrorScope::Chunk {
            state: first.state,
            chunks: chunks.into_iter().take(MAX_CHUNKS).collect(),
            attempts: members.iter().map(|info| info.attempts).max().unwrap_or(0),
            retry_in: members.iter().filter_map(|info| info.retry_in).min(),
        },
        fault,
        count: members.len() as u64,
        endpoints: compress(members.iter().map(|info| info.endpoint), NAMED),
        example: first.endpoint,
        holder: None,
    })
}

impl ErrorGroup {
    /// Connections that failed of one cause: so many, at these endpoints, the
    /// last with `last_peer`. `None` without an endpoint.
    #[must_use]
    pub fn of_connections(
        fault: Fault,
        count: u64,
        endpoints: &BTreeSet<Endpoint>,
        last_peer: Option<SocketAddr>,
    ) -> Option<Self> {
        Some(Self {
            scope: ErrorScope::Connection { last_peer },
            fault,
            count,
            endpoints: compress(endpoints.iter().copied(), NAMED),
            example: *endpoints.first()?,
            holder: None,
        })
    }

    /// What happened and how to mend it, in one sentence for a person.
    #[must_use]
    pub fn fix(&self) -> String {
        match &self.holder {
            Some(Holder { name, pid }) if self.fault.kind == FaultKind::BindInUse => {
                format!("{name} (pid {pid}) has it: stop that (`kill {pid}`), then retry")
            }
            _ => self.fault.explain(),
        }
    }
}

impl Serialize for ErrorGroup {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut row = serializer.serialize_struct("error", 12)?;
        row.serialize_field("scope", self.scope.as_str())?;
        row.serialize_field("kind", self.fault.kind.as_str())?;
        row.serialize_field("errno", &self.fault.errno_name())?;
        row.serialize_field("error", &self.fault.explain())?;
        row.serialize_field("count", &self.count)?;
        row.serialize_field("endpoints", &self.endpoints)?;
        match &self.scope {
            ErrorScope::Chunk { state, chunks, attempts, retry_in } => {
                row.serialize_field("state", state)?;
                row.serialize_field("chunks", chunks)?;
                row.serialize_field("attempts", attempts)?;
                row.serialize_field("retry_in_ms", &retry_in.map(millis))?;
            }
            ErrorScope::Connection { last_peer } => {
                row.serialize_field("last_peer", &last_peer.map(|peer| peer.to_string()))?;
            }
        }
        let holder = self.holder.as_ref();
        let holder = holder.map(|Holder { name, pid }| format!("{name} (pid {pid})"));
        row.serialize_field("holder", &holder)?;
        row.serialize_field("fix", &self.fix())?;
        row.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Port, Protocol};
    use crate::supervision::Reading;

    fn failed(port: u16, fault: Fault, state: EndpointState, retry_in: u64) -> EndpointInfo {
        let address = std::net::Ipv4Addr::LOCALHOST.into();
        EndpointInfo {
            endpoint: Endpoint { protocol: Protocol::Tcp, address, port: Port::Number(port) },
            group: "lab".to_owned(),
            chunk: ChunkId(u32::from(port) / 10),
            workers: Vec::new(),
            state,
            attempts: u32::from(port % 10),
            restarts: 0,
            fault: Some(fault),
            retry_in: Some(Duration::from_millis(retry_in)),
            reading: Reading::default(),
            last_seen: None,
        }
    }

    #[test]
    fn what_failed_alike_is_one_line_and_the_most_come_first() {
        let in_use = Fault::from_bind_errno(nix::errno::Errno::EADDRINUSE as i32);
        let absent = Fault::from_bind_errno(nix::errno::Errno::EADDRNOTAVAIL as i32);
        let all = [
            failed(80, absent, EndpointState::Retrying, 5),
            failed(81, in_use, EndpointState::Retrying, 900),
            failed(82, in_use, EndpointState::Retrying, 300),
            failed(93, in_use, EndpointState::Retrying, 700),
            failed(94, in_use, EndpointState::Quarantined, 9_000),
        ];
        let groups = group_failures(&all);
        let shown: Vec<_> = groups.iter().map(|group| (group.count, &*group.endpoints)).collect();
        assert_eq!(shown, [(3, "127.0.0.1:{81,82,93}"), (1, "127.0.0.1:94"), (1, "127.0.0.1:80")]);
        let json = serde_json::to_value(&groups[0]).expect("JSON");
        assert_eq!((&json["scope"], &json["kind"]), (&"chunk".into(), &"bind_in_use".into()));
        assert_eq!((&json["chunks"], &json["attempts"]), (&serde_json::json!([8, 9]), &3.into()));
        assert_eq!((&json["retry_in_ms"], &json["state"]), (&300.into(), &"retrying".into()));
    }

    #[test]
    fn the_fix_names_who_holds_the_port() {
        let in_use = Fault::from_bind_errno(nix::errno::Errno::EADDRINUSE as i32);
        let mut groups = group_failures(&[failed(80, in_use, EndpointState::Retrying, 5)]);
        let group = groups.first_mut().expect("a group");
        group.holder = Some(Holder { name: "nginx".to_owned(), pid: 7 });
        assert!(group.fix().contains("nginx (pid 7)"), "{}", group.fix());
    }
}
