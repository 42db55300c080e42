//! Every endpoint of a plan, numbered: group, protocol, address, port.
//!
//! Holds the groups' sets side by side. `build` makes it from specs. Never
//! lists endpoints unless it is iterated; never asks the machine.

mod admin;
mod build;
mod changes;
mod compose;
mod error;
pub(crate) mod homes;
mod offline;

#[cfg(test)]
mod machine;
#[cfg(test)]
mod oracle_tests;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use crate::config::ListenSettings;
use crate::spec::{Endpoint, EndpointSet, Endpoints, Port, Protocol};

#[doc(hidden)]
pub use admin::build_around;
pub(crate) use admin::exclusion;
pub use build::build;
#[doc(hidden)]
pub use build::build_from;
pub use error::{PlanError, SpecPlace};
pub use offline::check;
#[doc(hidden)]
pub use offline::known;

/// One `[[listen]]` group and what it serves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PlannedGroup {
    /// As in the configuration.
    pub name: String,
    /// How it serves.
    pub settings: Arc<ListenSettings>,
    /// What it serves; disjoint from every other group's.
    pub set: EndpointSet,
    /// The index in the plan of its first endpoint.
    pub first: u64,
    /// Mentions of endpoints that were merged into an earlier mention.
    pub duplicates: u64,
}

/// Every endpoint of a plan. Cloning it copies pointers.
#[derive(Debug, Clone)]
pub struct PlanEndpoints {
    groups: Arc<[PlannedGroup]>,
    hosts: Arc<BTreeMap<String, Vec<IpAddr>>>,
}

impl PlanEndpoints {
    /// `groups` have ascending `first`, each behind the one before.
    fn new(groups: Vec<PlannedGroup>, hosts: BTreeMap<String, Vec<IpAddr>>) -> Self {
        Self { groups: groups.into(), hosts: Arc::new(hosts) }
    }

    /// How many endpoints.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.groups.last().map_or(0, |group| group.first + group.set.len())
    }

    /// Never: an empty plan is refused by [`build()`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many endpoints of one protocol.
    #[must_use]
    pub fn count(&self, protocol: Protocol) -> u64 {
        self.groups.iter().map(|group| group.set.count(protocol)).sum()
    }

    /// The groups, in the order of the configuration; some may serve nothing.
    #[must_use]
    pub fn groups(&self) -> &[PlannedGroup] {
        &self.groups
    }

    /// Mentions of endpoints that were merged into an earlier mention.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.groups.iter().map(|group| group.duplicates).fold(0, u64::saturating_add)
    }

    /// The host names that were resolved, in lower case, and what they stand for.
    #[must_use]
    pub fn hosts(&self) -> &BTreeMap<String, Vec<IpAddr>> {
        &self.hosts
    }

    /// The endpoint at `index`, and the index of its group.
    #[must_use]
    pub fn get(&self, index: u64) -> Option<(usize, Endpoint)> {
        self.range(index..index.saturating_add(1)).next()
    }

    /// The place of `endpoint` in the plan.
    #[must_use]
    pub fn index_of(&self, endpoint: &Endpoint) -> Option<u64> {
        self.groups.iter().find_map(|group| Some(group.first + group.set.index_of(endpoint)?))
    }

    /// The place of the endpoint that shall get the same number as the one at
    /// `index`: the other protocol of a `both://…:0` spec.
    #[must_use]
    pub fn partner(&self, index: u64) -> Option<u64> {
        let (group, endpoint) = self.get(index)?;
        let group = self.groups.get(group)?;
        Some(group.first + group.set.index_of(&group.set.partner(&endpoint)?)?)
    }

    /// The places of the endpoints that asked for port 0, ascending.
    pub fn ephemeral(&self) -> impl Iterator<Item = u64> + '_ {
        self.groups.iter().flat_map(|group| {
            let slabs = group.set.slabs().iter();
            let asking = slabs.filter(|slab| slab.ports().chosen_by_kernel() > 0);
            asking.flat_map(|slab| {
                let first = group.first + slab.offset();
                let ports = slab.ports();
                (0..slab.address_count()).flat_map(move |address| {
                    // They sort before numbered ports.
                    let start = first + address * ports.len();
                    start..start + ports.chosen_by_kernel()
                })
            })
        })
    }

    /// Whether one of the endpoints is UDP on exactly this address and port.
    #[must_use]
    pub fn serves_udp(&self, ip: IpAddr, port: u16) -> bool {
        let port = Port::Number(port);
        self.index_of(&Endpoint { protocol: Protocol::Udp, address: ip.into(), port }).is_some()
    }

    /// The endpoints at these indices, each with the index of its group.
    #[must_use]
    pub fn range(&self, range: Range<u64>) -> PlanSlice<'_> {
        let group = self.groups.partition_point(|group| group.first <= range.start);
        let group = group.saturating_sub(1);
        let endpoints = self.groups.get(group).map(|found| {
            let end = range.end.saturating_sub(found.first);
            found.set.range(range.start.saturating_sub(found.first)..end)
        });
        PlanSlice { groups: &self.groups, group, endpoints, end: range.end }
    }

    /// Every endpoint, each with the index of its group.
    #[must_use]
    pub fn iter(&self) -> PlanSlice<'_> {
        self.range(0..self.len())
    }
}

impl<'a> IntoIterator for &'a PlanEndpoints {
    type Item = (usize, Endpoint);
    type IntoIter = PlanSlice<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A run of endpoints in the order of the plan; each step takes constant time.
#[derive(Debug, Clone)]
pub struct PlanSlice<'a> {
    groups: &'a [PlannedGroup],
    group: usize,
    endpoints: Option<Endpoints<'a>>,
    end: u64,
}

impl Iterator for PlanSlice<'_> {
    type Item = (usize, Endpoint);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(endpoint) = self.endpoints.as_mut()?.next() {
                return Some((self.group, endpoint));
            }
            self.group += 1;
            self.endpoints = self
                .groups
                .get(self.group)
                .filter(|group| group.first < self.end)
                .map(|group| group.set.range(0..self.end.saturating_sub(group.first)));
        }
    }
}
