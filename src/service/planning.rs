//! From a configuration to a plan of this machine.
//!
//! Reads the machine once and puts the parts together; `serve` and `ipcow
//! plan` both begin here. Never opens an endpoint, never changes a limit.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use super::adoption::Given;
use super::own_ports::WithoutOwn;
use crate::config::Config;
use crate::net::host;
use crate::plan::demand::Demand;
use crate::plan::endpoints::{self, PlanEndpoints, PlanError};
use crate::plan::facts::{Holder, HostFacts};
use crate::plan::findings::{self, Block, Finding, Group, Inputs};
use crate::plan::report::{
    ChunkCounts, EndpointCounts, GroupReport, LimitsReport, Report, ResolvedName,
};
use crate::plan::resources::{FdBudget, HostLimits, WorkerCount, chunk_size, worker_count};
use crate::spec::{EndpointSet, Protocol, Resolver, Slab};

/// What is to be served, and by what means.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Every endpoint, lazily.
    pub endpoints: PlanEndpoints,
    /// How many workers, and what made them fewer than asked for.
    pub workers: WorkerCount,
    /// Endpoints in each chunk but the last; at least 1.
    pub chunk_size: u64,
    /// How many endpoints and sessions the descriptors allow.
    pub budget: FdBudget,
    /// The limits that all this follows from.
    pub limits: HostLimits,
    /// What a person should know, errors first.
    pub findings: Vec<Finding>,
}

impl Plan {
    /// How many chunks there are.
    #[must_use]
    pub fn chunk_count(&self) -> u64 {
        self.endpoints.len().div_ceil(self.chunk_size.max(1))
    }

    /// True where nothing keeps the plan from full coverage.
    #[must_use]
    pub fn reachable(&self) -> bool {
        findings::reachable(&self.findings)
    }

    /// The plan as it is shown.
    #[must_use]
    pub fn report(&self) -> Report {
        let groups = self.endpoints.groups().iter().map(|group| GroupReport {
            name: group.name.clone(),
            addresses: group.set.address_count(),
            ports: group.set.port_count(),
            endpoints: group.set.len(),
        });
        let resolved = self.endpoints.hosts().iter().map(|(name, addresses)| ResolvedName {
            name: name.clone(),
            addresses: addresses.clone(),
        });
        Report {
            endpoints: EndpointCounts {
                total: self.endpoints.len(),
                tcp: self.endpoints.count(Protocol::Tcp),
                udp: self.endpoints.count(Protocol::Udp),
            },
            groups: groups.collect(),
            resolved: resolved.collect(),
            workers: self.workers.workers,
            chunks: ChunkCounts { count: self.chunk_count(), size: self.chunk_size },
            limits: LimitsReport {
                nofile_soft: self.limits.nofile_soft,
                nofile_hard: self.limits.nofile_hard,
                fds_needed: self.budget.needed,
                max_sessions: self.budget.sessions,
                threads: self.limits.threads_max,
            },
            findings: self.findings.clone(),
            reachable: self.reachable(),
        }
    }
}

/// Plans `config` on this machine as it is now. With `force`, what a person
/// may insist on is a warning instead of an error.
///
/// # Errors
/// [`PlanError`] where a spec means nothing here, or the specs contradict
/// each other. A plan that cannot be reached is no error: see [`Plan::findings`].
pub fn plan(config: &Config, force: bool) -> Result<Plan, PlanError> {
    plan_with(config, force, &Given::default())
}

/// As [`plan`], for a service that is given sockets: they are in nobody's way, and
/// their descriptors are those that the plan needs.
pub(super) fn plan_with(config: &Config, force: bool, given: &Given) -> Result<Plan, PlanError> {
    let (endpoints, covered) = resolve(config, &WithoutOwn::new(given.endpoints()))?;
    let mut facts = host::facts();
    facts.limits.fds_open = facts.limits.fds_open.saturating_sub(given.sockets.len() as u64);
    let own: BTreeSet<_> = given
        .endpoints()
        .map(|it| (it.protocol, it.socket_addr().ip(), it.port.number()))
        .collect();
    facts.sockets.retain(|it| !own.contains(&(it.protocol, it.address, it.port)));
    Ok(assemble(config, endpoints, covered, &facts, force, &host::holders))
}

/// The endpoints of a configuration, and how many were left out for the admin address.
fn resolve(config: &Config, resolver: &dyn Resolver) -> Result<(PlanEndpoints, u64), PlanError> {
    let Config { groups, excludes, admin, limits, .. } = config;
    endpoints::build_around(admin.listen, groups, excludes, limits.max_endpoints, resolver)
}

/// The plan of `endpoints` on the machine that `facts` describe.
pub(super) fn assemble(
    config: &Config,
    endpoints: PlanEndpoints,
    covered: u64,
    facts: &HostFacts,
    force: bool,
    holders: &dyn Fn(&BTreeSet<u64>) -> BTreeMap<u64, Holder>,
) -> Plan {
    let workers = worker_count(&config.threads, &facts.limits);
    let demand = Demand::of(endpoints.groups(), workers.workers);
    let budget = FdBudget::divide(&facts.limits, &demand, workers.workers, &config.limits);
    let groups: Vec<Group> = endpoints
        .groups()
        .iter()
        .map(|group| Group {
            freebind: group.settings.freebind,
            open_to_all: group.settings.allow_from.is_empty(),
            blocks: blocks(&group.set),
        })
        .collect();
    let findings = findings::findings(&Inputs {
        groups: &groups,
        duplicates: endpoints.duplicates(),
        admin: config.admin.listen.map(|address| (address, covered)),
        facts,
        workers,
        budget,
        force,
        holders,
    });
    Plan {
        chunk_size: chunk_size(endpoints.len(), workers.workers, &config.chunks),
        endpoints,
        workers,
        budget,
        limits: facts.limits.clone(),
        findings,
    }
}

/// The set's slabs as blocks; slabs in a row that share their ports still do.
fn blocks(set: &EndpointSet) -> Vec<Block> {
    let mut previous: Option<&Slab> = None;
    let mut blocks: Vec<Block> = Vec::with_capacity(set.slabs().len());
    for slab in set.slabs() {
        let ports = match (previous, blocks.last()) {
            (Some(slab_before), Some(block_before))
                if Arc::ptr_eq(slab_before.ports(), slab.ports()) =>
            {
                Rc::clone(&block_before.ports)
            }
            _ => slab.ports().numbers().collect(),
        };
        previous = Some(slab);
        blocks.push(Block {
            protocol: slab.protocol(),
            first: slab.first(),
            last: slab.last(),
            ports,
            port_zeros: slab.ports().chosen_by_kernel(),
        });
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_str;
    use crate::plan::facts::EphemeralPorts;
    use crate::plan::findings::Kind;
    use crate::plan::reach::{LocalRoute, LocalRoutes, Reach};
    use crate::plan::resources::ThreadBound;

    fn facts() -> HostFacts {
        let loopback = LocalRoute {
            network: [127, 0, 0, 0].into(),
            prefix_len: 8,
            reach: Reach::Local,
            interface: 1,
        };
        HostFacts {
            limits: HostLimits {
                parallelism: 2,
                nofile_soft: 1024,
                nofile_hard: 20_000,
                fds_open: 4,
                threads_max: 192_686,
                threads_bound: ThreadBound::Kernel,
                somaxconn: 4096,
                unprivileged_port_start: 1024,
                can_bind_low_ports: true,
                nonlocal_bind_v4: false,
                nonlocal_bind_v6: false,
            },
            routes: Some(LocalRoutes::from_routes([loopback])),
            sockets: Vec::new(),
            ephemeral: EphemeralPorts::default(),
        }
    }

    fn planned(toml: &str) -> Plan {
        let config = load_str("test.toml", toml).expect("a configuration").config;
        let (endpoints, covered) = resolve(&config, &host::SystemResolver).expect("endpoints");
        assemble(&config, endpoints, covered, &facts(), false, &|_| BTreeMap::new())
    }

    #[test]
    fn the_report_has_the_keys_of_the_contract() {
        let plan = planned(
            "[[listen]]\nname = \"lab\"\nspec = \"tcp://127.0.0.0/29,!127.0.0.3:8000-8010,!8005\"",
        );
        let expected = serde_json::json!({
            "endpoints": {"total": 70, "tcp": 70, "udp": 0},
            "groups": [{"name": "lab", "addresses": 7, "ports": 10, "endpoints": 70}],
            "resolved": [],
            "workers": 2,
            "chunks": {"count": 2, "size": 35},
            "limits": {
                "nofile_soft": 1024,
                "nofile_hard": 20_000,
                "fds_needed": 30 + 64 + 70 + 256,
                "max_sessions": 19_836,
                "threads": 192_686,
            },
            "findings": [],
            "reachable": true,
        });
        assert_eq!(serde_json::to_value(plan.report()).expect("JSON"), expected);
    }

    #[test]
    fn a_finding_is_written_as_the_contract_says() {
        let plan = planned("[[listen]]\nname = \"lab\"\nspec = \"tcp://198.51.100.7:8000-8002\"");
        let report = serde_json::to_value(plan.report()).expect("JSON");
        let finding = &report["findings"][0];
        assert_eq!(finding["level"], "error");
        assert_eq!(finding["kind"], Kind::NotLocal.as_str());
        assert_eq!((&finding["count"], &report["reachable"]), (&3.into(), &false.into()));
    }

    #[test]
    fn a_host_name_is_shown_with_what_it_stood_for() {
        let plan = planned("[[listen]]\nname = \"lab\"\nspec = \"tcp://localhost:8000\"");
        let [name] = &plan.report().resolved[..] else { panic!("one name") };
        assert_eq!(name.name, "localhost");
        assert!(name.addresses.iter().all(std::net::IpAddr::is_loopback));
    }

    #[test]
    fn chunks_cover_every_endpoint_and_the_last_may_be_short() {
        let plan = planned(
            "[[listen]]\nname = \"lab\"\nspec = \"127.0.0.1:8000-8099\"\n[chunks]\nsize = 30",
        );
        assert_eq!((plan.chunk_size, plan.chunk_count()), (30, 4));
    }

    #[test]
    fn ten_million_endpoints_are_a_few_blocks() {
        let plan = planned(
            "[[listen]]\nname = \"lab\"\nspec = \"both://127.1.0.0/20,!127.1.0.9:1-1300,!80\"\n\
             [limits]\nmax_endpoints = 20000000",
        );
        assert_eq!(plan.endpoints.len(), 4095 * 1299 * 2);
        let blocks = blocks(&plan.endpoints.groups()[0].set);
        assert!(blocks.len() <= 4, "{}", blocks.len());
        assert_eq!(blocks.iter().map(Block::len).sum::<u64>(), plan.endpoints.len());
        assert!(Rc::ptr_eq(&blocks[0].ports, &blocks[1].ports));
    }
}
