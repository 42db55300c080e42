//! Where addresses are neighbours: IPv4, IPv6, and each zone by itself.
//!
//! Holds the way from an address to a number and back. Never a set.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Address, Zone};

/// One space of numbered addresses. Sorts as its addresses do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Realm {
    V4,
    V6,
    Zone(Zone),
}

/// Inclusive ranges of addresses, which may overlap: every mention counts.
pub(crate) type Blocks = BTreeMap<Realm, Vec<(u128, u128)>>;

impl Realm {
    pub(crate) fn of(address: Address) -> (Self, u128) {
        match (address.ip(), address.zone()) {
            (IpAddr::V4(ip), _) => (Self::V4, u32::from(ip).into()),
            (IpAddr::V6(ip), None) => (Self::V6, ip.into()),
            (IpAddr::V6(ip), Some(zone)) => (Self::Zone(zone), ip.into()),
        }
    }

    pub(crate) fn address(self, number: u128) -> Address {
        match self {
            // IPv4 numbers never pass 32 bits: they come from `of`.
            Self::V4 => Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX)).into(),
            Self::V6 => IpAddr::V6(number.into()).into(),
            Self::Zone(zone) => Address::with_zone(Ipv6Addr::from(number), zone),
        }
    }
}
