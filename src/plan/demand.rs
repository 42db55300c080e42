//! What a plan asks of the machine: endpoints, and the sockets of each.
//!
//! Counts. Never divides anything: `resources` does.

use super::endpoints::PlannedGroup;
use crate::config;
use crate::spec::Protocol;

/// What a plan asks for: how many endpoints, and how many sockets each of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demand {
    /// TCP endpoints: they have sessions.
    tcp: u64,
    /// Endpoints, and the sockets of each, in the order of the plan.
    runs: Vec<(u64, u64)>,
}

impl Demand {
    /// What these groups ask for, served by so many workers.
    #[must_use]
    pub fn of(groups: &[PlannedGroup], workers: u64) -> Self {
        let mut demand = Self::default();
        for group in groups {
            for protocol in Protocol::ALL {
                demand.add(protocol, group.set.count(protocol), &group.settings, workers);
            }
        }
        demand
    }

    /// So many endpoints more, of a group with these settings.
    pub fn add(
        &mut self,
        protocol: Protocol,
        endpoints: u64,
        settings: &config::ListenSettings,
        workers: u64,
    ) {
        let each = if settings.reuse_port { workers.max(1) } else { 1 };
        if protocol == Protocol::Tcp {
            self.tcp = self.tcp.saturating_add(endpoints);
        }
        match self.runs.last_mut() {
            Some((count, of)) if *of == each => *count = count.saturating_add(endpoints),
            _ => self.runs.push((endpoints, each)),
        }
    }

    /// TCP endpoints.
    #[must_use]
    pub const fn streams(&self) -> u64 {
        self.tcp
    }

    /// Endpoints in all.
    #[must_use]
    pub fn endpoints(&self) -> u64 {
        self.runs.iter().fold(0, |sum, (count, _)| sum.saturating_add(*count))
    }

    /// Their sockets: one each, or with `reuse_port` one a worker.
    #[must_use]
    pub fn sockets(&self) -> u64 {
        let each = |(count, of): &(u64, u64)| count.saturating_mul(*of);
        self.runs.iter().map(each).fold(0, u64::saturating_add)
    }

    /// How many of the first endpoints fit into so many sockets, and how many
    /// sockets they take.
    pub(super) fn that_fit(&self, sockets: u64) -> (u64, u64) {
        let (mut endpoints, mut taken) = (0_u64, 0_u64);
        for (count, each) in &self.runs {
            let fit = (*count).min((sockets - taken) / each);
            endpoints += fit;
            taken += fit * each;
            if fit < *count {
                break;
            }
        }
        (endpoints, taken)
    }
}
