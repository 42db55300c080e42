//! A plan as `ipcow plan --json` and the control API show it.
//!
//! Plain fields with the names of the contract. Never computes one.

use std::net::IpAddr;

use serde::Serialize;

use super::findings::Finding;

/// What would be served, by what means, and what is in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How many endpoints.
    pub endpoints: EndpointCounts,
    /// Each group, in the order of the plan.
    pub groups: Vec<GroupReport>,
    /// Host names that were resolved for it.
    pub resolved: Vec<ResolvedName>,
    /// Worker threads.
    pub workers: u64,
    /// How the endpoints are shared out.
    pub chunks: ChunkCounts,
    /// What the machine and the process's rights allow.
    pub limits: LimitsReport,
    /// What a person should know, errors first.
    pub findings: Vec<Finding>,
    /// True where nothing keeps the plan from full coverage.
    pub reachable: bool,
}

/// Endpoints by protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct EndpointCounts {
    /// All of them.
    pub total: u64,
    /// TCP.
    pub tcp: u64,
    /// UDP.
    pub udp: u64,
}

/// One group of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupReport {
    /// Its name.
    pub name: String,
    /// Different addresses in it.
    pub addresses: u64,
    /// Different ports in it.
    pub ports: u64,
    /// Its endpoints.
    pub endpoints: u64,
}

/// A host name and what it stood for when the plan was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ResolvedName {
    /// The name as written.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// How the endpoints are shared out among workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ChunkCounts {
    /// Chunks of the plan.
    pub count: u64,
    /// Endpoints in each but the last.
    pub size: u64,
}

/// Limits that a plan meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LimitsReport {
    /// Soft limit of open files, before it is raised.
    pub nofile_soft: u64,
    /// Hard limit of open files.
    pub nofile_hard: u64,
    /// Open files that full coverage needs, with room for sessions.
    pub fds_needed: u64,
    /// Sessions at once.
    pub max_sessions: u64,
    /// Threads that the process may still start.
    pub threads: u64,
}
