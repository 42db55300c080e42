//! What a plan would run into on this machine, and how to fix each.
//!
//! Rules over blocks of endpoints and facts that were read elsewhere. Never
//! looks at an endpoint alone where a range will do, never at the machine.

mod addresses;
mod block;
mod hits;
mod in_use;
mod ports;
mod resources;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

use serde::Serialize;

use self::hits::Hits;
use super::facts::{Holder, HostFacts};
use super::resources::{FdBudget, WorkerCount};

pub(crate) use self::block::Block;

/// Whether a finding keeps the plan from full coverage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Not every endpoint can be served, or the machine would suffer.
    Error,
    /// Everything can be served; a person should know.
    Warning,
}

impl fmt::Display for Level {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// What kind of thing was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// More endpoints than file descriptors.
    FdLimit,
    /// Fewer threads than workers are asked for.
    ThreadLimit,
    /// An address that no interface has.
    NotLocal,
    /// An address that binds, and that nobody can connect to.
    UnreachableAddress,
    /// A low port without the right to bind it.
    Privileged,
    /// A port that another socket holds.
    InUse,
    /// A port that the kernel hands out to outgoing connections.
    EphemeralOverlap,
    /// So many of those that the machine could not dial out.
    EphemeralExhausted,
    /// An endpoint that was named more than once.
    Duplicate,
    /// The admin address, which is not served.
    CoversAdmin,
    /// UDP that anyone may send to.
    UdpExposed,
}

impl Kind {
    /// The kind as it stands in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FdLimit => "fd_limit",
            Self::ThreadLimit => "thread_limit",
            Self::NotLocal => "not_local",
            Self::UnreachableAddress => "unreachable_address",
            Self::Privileged => "privileged",
            Self::InUse => "in_use",
            Self::EphemeralOverlap => "ephemeral_overlap",
            Self::EphemeralExhausted => "ephemeral_exhausted",
            Self::Duplicate => "duplicate",
            Self::CoversAdmin => "covers_admin",
            Self::UdpExposed => "udp_exposed",
        }
    }
}

/// One thing that a person should know before the plan is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Whether it keeps the plan from full coverage.
    pub level: Level,
    /// What kind of thing it is.
    pub kind: Kind,
    /// How many endpoints (workers, for `thread_limit`) it concerns.
    pub count: u64,
    /// What was found, where, with examples.
    pub message: String,
    /// A command or a key that changes it.
    pub fix: String,
}

/// Finds the processes that hold the sockets with these inodes.
pub(crate) type FindHolders<'a> = &'a dyn Fn(&BTreeSet<u64>) -> BTreeMap<u64, Holder>;

/// What the rules look at.
pub(crate) struct Inputs<'a> {
    /// The endpoints, group by group; see [`Group`].
    pub(crate) groups: &'a [Group],
    /// Endpoints that were named again and merged.
    pub(crate) duplicates: u64,
    /// The admin address, and how many endpoints were left out for it.
    pub(crate) admin: Option<(SocketAddr, u64)>,
    /// The machine.
    pub(crate) facts: &'a HostFacts,
    /// The workers that the plan gets.
    pub(crate) workers: WorkerCount,
    /// The descriptors that it gets.
    pub(crate) budget: FdBudget,
    /// True where the person insists (`--force`).
    pub(crate) force: bool,
    /// Asked only when something is in use.
    pub(crate) holders: FindHolders<'a>,
}

/// The endpoints of a group, as disjoint blocks in their own order.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// True where addresses are bound before they exist.
    pub(crate) freebind: bool,
    /// True where `allow_from` names nobody: any source is served.
    pub(crate) open_to_all: bool,
    /// Disjoint.
    pub(crate) blocks: Vec<Block>,
}

/// All findings, errors first.
pub(crate) fn findings(inputs: &Inputs<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = [
        resources::fd_limit(inputs),
        resources::thread_limit(inputs),
        addresses::not_local(inputs),
        addresses::not_local_yet(inputs),
        addresses::unreachable_address(inputs),
        ports::privileged(inputs),
        in_use::in_use(inputs),
        ports::ephemeral_overlap(inputs),
        ports::ephemeral_exhausted(inputs),
        resources::duplicate(inputs),
        addresses::covers_admin(inputs),
        addresses::udp_exposed(inputs),
    ]
    .into_iter()
    .flatten()
    .collect();
    found.sort_by_key(|finding| finding.level);
    found
}

/// True where nothing keeps the plan from full coverage.
#[must_use]
pub fn reachable(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.level != Level::Error)
}

impl Inputs<'_> {
    /// Every block of every group.
    fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.groups.iter().flat_map(|group| &group.blocks)
    }

    /// The endpoints of the plan, saturating.
    fn endpoints(&self) -> u64 {
        self.blocks().fold(0, |sum: u64, block| sum.saturating_add(block.len()))
    }
}
