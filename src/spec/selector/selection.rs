//! What a selector names, held against the endpoints of a plan.
//!
//! Steps over addresses and ports that are not meant, so that naming a few of
//! a million costs little. Never lists what it names.

use std::collections::BTreeMap;

use crate::plan::endpoints::{PlanEndpoints, PlannedGroup};
use crate::spec::port_set::key;
use crate::spec::ranges::RangeSet;
use crate::spec::realm::Realm;
use crate::spec::resolve::Resolved;
use crate::spec::{Endpoint, Port, PortSet, Protocol, Slab};
use crate::supervision::{ChunkId, EndpointState};

/// What a selector names, in numbers.
#[derive(Debug, Clone)]
pub struct Selection {
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    All,
    Chunk(ChunkId),
    Group(Box<str>),
    State(EndpointState),
    Endpoints(Vec<Term>),
}

/// Every address of it with every port, of one protocol.
#[derive(Debug, Clone)]
struct Term {
    protocol: Protocol,
    blocks: BTreeMap<Realm, RangeSet<u128>>,
    ports: RangeSet<u64>,
    /// Endpoints that asked for port 0 are meant, whatever number they got.
    asked: bool,
}

/// An endpoint of a running service, as far as selectors look at it.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// As it was planned: port 0 where the kernel chooses.
    pub endpoint: Endpoint,
    /// The port that it got; 0 = none yet.
    pub number: u16,
    /// The name of its group.
    pub group: &'a str,
    /// Its chunk.
    pub chunk: ChunkId,
    /// Where it stands.
    pub state: EndpointState,
}

impl Selection {
    pub(super) const fn all() -> Self {
        Self { what: What::All }
    }

    pub(super) const fn chunk(chunk: ChunkId) -> Self {
        Self { what: What::Chunk(chunk) }
    }

    pub(super) fn group(name: &str) -> Self {
        Self { what: What::Group(name.into()) }
    }

    pub(super) const fn state(state: EndpointState) -> Self {
        Self { what: What::State(state) }
    }

    pub(super) fn endpoints(products: &[Resolved], asked: bool) -> Self {
        let term = |product: &Resolved| {
            let sets = product.blocks.iter();
            Term {
                protocol: product.protocol,
                blocks: sets.map(|(realm, set)| (*realm, RangeSet::new(set.clone()))).collect(),
                ports: RangeSet::new(product.ports.clone()),
                asked,
            }
        };
        Self { what: What::Endpoints(products.iter().map(term).collect()) }
    }

    /// Whether the selector names this endpoint.
    #[must_use]
    pub fn names(&self, candidate: &Candidate<'_>) -> bool {
        match &self.what {
            What::All => true,
            What::Chunk(chunk) => candidate.chunk == *chunk,
            What::Group(name) => candidate.group == &**name,
            What::State(state) => candidate.state == *state,
            What::Endpoints(terms) => terms.iter().any(|term| term.names(candidate)),
        }
    }

    /// The place in `plan` of the first endpoint from `from` on that may be
    /// named; everything between is not.
    #[must_use]
    pub fn next_in(&self, plan: &PlanEndpoints, from: u64) -> Option<u64> {
        let groups = plan.groups().iter().filter(|group| group.first + group.set.len() > from);
        let mut nexts = groups.filter_map(|group| self.next_in_group(group, from));
        nexts.next()
    }

    fn next_in_group(&self, group: &PlannedGroup, from: u64) -> Option<u64> {
        let start = from.max(group.first);
        let terms = match &self.what {
            What::All | What::Chunk(_) | What::State(_) => {
                return (!group.set.is_empty()).then_some(start);
            }
            What::Group(name) => {
                return (**name == *group.name && !group.set.is_empty()).then_some(start);
            }
            What::Endpoints(terms) => terms,
        };
        let inside = start - group.first;
        let slabs = group.set.slabs();
        let first = slabs.partition_point(|slab| slab.offset() + slab.len() <= inside);
        slabs.get(first..)?.iter().find_map(|slab| {
            let nexts = terms.iter().filter_map(|term| term.next_in(slab, inside));
            nexts.min().map(|index| group.first + index)
        })
    }
}

impl Term {
    fn names(&self, candidate: &Candidate<'_>) -> bool {
        let Endpoint { protocol, address, port } = candidate.endpoint;
        let (realm, number) = Realm::of(address);
        self.protocol == protocol
            && self.blocks.get(&realm).is_some_and(|blocks| blocks.contains(number))
            && self.names_port(port, candidate.number)
    }

    fn names_port(&self, port: Port, number: u16) -> bool {
        let meant = |port| self.ports.contains(key(port));
        match port {
            Port::Number(_) => meant(port),
            Port::Ephemeral(_) => {
                self.asked || meant(if number == 0 { port } else { Port::Number(number) })
            }
        }
    }

    /// The index in the set of the first endpoint of the slab from `from` on
    /// that may be meant.
    fn next_in(&self, slab: &Slab, from: u64) -> Option<u64> {
        let (realm, first) = Realm::of(slab.first());
        let (_, last) = Realm::of(slab.last());
        let blocks = self.blocks.get(&realm).filter(|_| self.protocol == slab.protocol())?;
        let first_column = self.next_column(slab.ports(), 0)?;
        let width = slab.ports().len();
        let inside = from.saturating_sub(slab.offset());
        let (row, column) = (inside / width, inside % width);
        let at = |row: u64, column: u64| slab.offset() + row * width + column;
        let address = first + u128::from(row);
        if blocks.contains(address)
            && let Some(column) = self.next_column(slab.ports(), column)
        {
            return Some(at(row, column));
        }
        let next =
            blocks.next_from(address + u128::from(column > 0 || blocks.contains(address)))?;
        let row = u64::try_from(next - first).ok().filter(|_| next <= last)?;
        Some(at(row, first_column))
    }

    /// The first place from `column` on of a port that may be meant.
    fn next_column(&self, ports: &PortSet, column: u64) -> Option<u64> {
        // The kernel's choices come first, and only their numbers tell.
        if column < ports.chosen_by_kernel() {
            return Some(column);
        }
        let port = ports.get(column)?;
        let mut wanted = key(port);
        loop {
            wanted = self.ports.next_from(wanted)?;
            let (place, found) = ports.next_from(wanted)?;
            if found == wanted {
                return Some(place);
            }
            wanted = found;
        }
    }
}
