//! The lazy set of endpoints: a few slabs stand for millions of endpoints.
//!
//! Holds counting, slicing, indexing and lookup; sorted by protocol, address,
//! port. Never lists what it holds unless it is iterated; never looks anything up.

use std::ops::Range;
use std::sync::Arc;

use super::port_set::{PortCursor, PortSet};
use super::ranges::RangeSet;
use super::realm::Realm;
use super::{Address, Endpoint, Port, Protocol};

/// A range of addresses that all have the same ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slab {
    protocol: Protocol,
    realm: Realm,
    first: u128,
    last: u128,
    ports: Arc<PortSet>,
    offset: u64,
}

impl Slab {
    pub(crate) fn new(
        protocol: Protocol,
        realm: Realm,
        range: (u128, u128),
        ports: Arc<PortSet>,
    ) -> Self {
        Self { protocol, realm, first: range.0, last: range.1, ports, offset: 0 }
    }

    /// Takes in the next addresses if they are neighbours with the same ports.
    pub(crate) fn extend(&mut self, next: &Self) -> bool {
        let neighbour = (self.protocol, self.realm) == (next.protocol, next.realm)
            && self.last.checked_add(1) == Some(next.first)
            && (Arc::ptr_eq(&self.ports, &next.ports) || self.ports == next.ports);
        if neighbour {
            self.last = next.last;
        }
        neighbour
    }

    /// TCP or UDP.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The lowest address.
    #[must_use]
    pub fn first(&self) -> Address {
        self.realm.address(self.first)
    }

    /// The highest address.
    #[must_use]
    pub fn last(&self) -> Address {
        self.realm.address(self.last)
    }

    /// Every address of the slab, lowest first.
    pub fn addresses(&self) -> impl Iterator<Item = Address> + '_ {
        (self.first..=self.last).map(|number| self.realm.address(number))
    }

    /// How many addresses; at most `u64::MAX`.
    #[must_use]
    pub fn address_count(&self) -> u64 {
        saturated((self.last - self.first).saturating_add(1))
    }

    /// The ports of every address; the same `Arc` where slabs share them.
    #[must_use]
    pub const fn ports(&self) -> &Arc<PortSet> {
        &self.ports
    }

    /// The index in its set of the slab's first endpoint.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// How many endpoints; at most `u64::MAX`.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.address_count().saturating_mul(self.ports.len())
    }

    /// Never: a slab has at least one endpoint.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ports.is_empty()
    }
}

/// A sorted set of endpoints. Cloning it copies pointers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSet {
    slabs: Arc<[Slab]>,
    len: u64,
    tcp: u64,
    /// Ordinals of port-0 endpoints that belong to a `both://` spec, sorted.
    paired: Arc<[(u32, u32)]>,
}

impl Default for EndpointSet {
    fn default() -> Self {
        Self::from_slabs(Vec::new(), Arc::from([]))
    }
}

impl EndpointSet {
    /// `slabs` are sorted and disjoint, with at most `u64::MAX` endpoints in all.
    pub(crate) fn from_slabs(mut slabs: Vec<Slab>, paired: Arc<[(u32, u32)]>) -> Self {
        let (mut len, mut tcp) = (0_u64, 0);
        for slab in &mut slabs {
            slab.offset = len;
            len = len.saturating_add(slab.len());
            if slab.protocol == Protocol::Tcp {
                tcp = len;
            }
        }
        Self { slabs: slabs.into(), len, tcp, paired }
    }

    /// How many endpoints.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// True when there is no endpoint.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many endpoints of one protocol.
    #[must_use]
    pub const fn count(&self, protocol: Protocol) -> u64 {
        match protocol {
            Protocol::Tcp => self.tcp,
            Protocol::Udp => self.len - self.tcp,
        }
    }

    /// How many different addresses, over both protocols.
    #[must_use]
    pub fn address_count(&self) -> u64 {
        let mut realms = std::collections::BTreeMap::<Realm, Vec<_>>::new();
        for slab in self.slabs.iter() {
            realms.entry(slab.realm).or_default().push((slab.first, slab.last));
        }
        let total = realms.into_values().flat_map(|blocks| RangeSet::new(blocks).ranges().to_vec());
        saturated(total.fold(0_u128, |sum, (first, last)| {
            sum.saturating_add((last - first).saturating_add(1))
        }))
    }

    /// How many different ports, over all addresses and both protocols.
    #[must_use]
    pub fn port_count(&self) -> u64 {
        let mut keys: Vec<(u64, u64)> = Vec::new();
        let mut seen: Option<&Arc<PortSet>> = None;
        for slab in self.slabs.iter() {
            if !seen.is_some_and(|ports| Arc::ptr_eq(ports, &slab.ports)) {
                keys.extend(slab.ports.keys());
                seen = Some(&slab.ports);
            }
        }
        PortSet::new(&RangeSet::new(keys)).len()
    }

    /// The slabs, sorted by protocol, then address.
    #[must_use]
    pub fn slabs(&self) -> &[Slab] {
        &self.slabs
    }

    /// The endpoint at `index`.
    #[must_use]
    pub fn get(&self, index: u64) -> Option<Endpoint> {
        self.range(index..index.saturating_add(1)).next()
    }

    /// The place of `endpoint`.
    #[must_use]
    pub fn index_of(&self, endpoint: &Endpoint) -> Option<u64> {
        let (realm, number) = Realm::of(endpoint.address);
        let before = |slab: &Slab| {
            (slab.protocol, slab.realm, slab.last) < (endpoint.protocol, realm, number)
        };
        let slab = self.slabs.get(self.slabs.partition_point(before))?;
        if (slab.protocol, slab.realm) != (endpoint.protocol, realm) || slab.first > number {
            return None;
        }
        let row = u64::try_from(number - slab.first).ok()?;
        Some(slab.offset + row * slab.ports.len() + slab.ports.index_of(endpoint.port)?)
    }

    /// True when `endpoint` is in the set.
    #[must_use]
    pub fn contains(&self, endpoint: &Endpoint) -> bool {
        self.index_of(endpoint).is_some()
    }

    /// The endpoint that shall get the same number: the other protocol of a
    /// `both://…:0` spec. `None` for every other endpoint.
    #[must_use]
    pub fn partner(&self, endpoint: &Endpoint) -> Option<Endpoint> {
        let Port::Ephemeral(ordinal) = endpoint.port else {
            return None;
        };
        let pair = self.paired.get(self.paired.partition_point(|pair| pair.1 < ordinal))?;
        let protocol = match endpoint.protocol {
            Protocol::Tcp => Protocol::Udp,
            Protocol::Udp => Protocol::Tcp,
        };
        let partner = Endpoint { protocol, ..*endpoint };
        (pair.0 <= ordinal && self.contains(endpoint) && self.contains(&partner)).then_some(partner)
    }

    /// Every endpoint, in order.
    #[must_use]
    pub fn iter(&self) -> Endpoints<'_> {
        self.range(0..self.len)
    }

    /// The endpoints at these indices; what lies behind the end is left out.
    #[must_use]
    pub fn range(&self, range: Range<u64>) -> Endpoints<'_> {
        let end = range.end.min(self.len);
        let left = end.saturating_sub(range.start);
        let slab = self.slabs.partition_point(|slab| slab.offset <= range.start).saturating_sub(1);
        let place = self.slabs.get(slab).filter(|_| left > 0).and_then(|found| {
            let (row, column) = {
                let inside = range.start - found.offset;
                (inside / found.ports.len(), inside % found.ports.len())
            };
            Some((found.first + u128::from(row), PortCursor::at(&found.ports, column)?))
        });
        Endpoints { slabs: self.slabs.get(slab..).unwrap_or_default(), place, left }
    }
}

impl<'a> IntoIterator for &'a EndpointSet {
    type Item = Endpoint;
    type IntoIter = Endpoints<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Endpoints in order; each step takes constant time.
#[derive(Debug, Clone)]
pub struct Endpoints<'a> {
    /// The first is the one that `place` lies in.
    slabs: &'a [Slab],
    place: Option<(u128, PortCursor)>,
    left: u64,
}

impl Iterator for Endpoints<'_> {
    type Item = Endpoint;

    fn next(&mut self) -> Option<Endpoint> {
        let (address, cursor) = self.place.take().filter(|_| self.left > 0)?;
        let (slab, rest) = self.slabs.split_first()?;
        self.left -= 1;
        self.place = match cursor.next(&slab.ports) {
            Some(next) => Some((address, next)),
            None if address < slab.last => {
                PortCursor::at(&slab.ports, 0).map(|first| (address + 1, first))
            }
            None => {
                self.slabs = rest;
                rest.first().and_then(|slab| Some((slab.first, PortCursor::at(&slab.ports, 0)?)))
            }
        };
        let address = slab.realm.address(address);
        Some(Endpoint { protocol: slab.protocol, address, port: cursor.port() })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.left);
        (left.unwrap_or(usize::MAX), left.ok())
    }
}

fn saturated(count: u128) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
