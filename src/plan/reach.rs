//! Which addresses the machine calls its own, as one sorted table.
//!
//! Holds routes that were read elsewhere and answers questions about single
//! addresses and whole ranges. Never asks the kernel: `net::routes` does.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::spec::{Address, Endpoint, Protocol};

/// What the kernel's table `local` says of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// No interface has it: bind(2) fails with EADDRNOTAVAIL, unless forced.
    Absent,
    /// A broadcast address: TCP binds and listens there, and nobody can connect.
    Broadcast,
    /// A multicast address: TCP binds and listens there, and nobody can connect.
    Multicast,
    /// `0.0.0.0` or `[::]`: every local address.
    Wildcard,
    /// The machine's own: clients reach a listener there.
    Local,
}

/// One entry of the table `local` (ip-route(8)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalRoute {
    /// First address of the prefix; host bits are ignored.
    pub network: IpAddr,
    /// Length of the prefix: at most 32 or 128; longer is read as that.
    pub prefix_len: u8,
    /// What the entry says of its addresses.
    pub reach: Reach,
    /// Index of the interface it belongs to; 0 = none.
    pub interface: u32,
}

/// A run of addresses of one family that the table answers alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReachSpan {
    /// First address, as a number.
    pub first: u128,
    /// Last address, as a number.
    pub last: u128,
    /// What the table says.
    pub reach: Reach,
    /// True where bind(2) accepts the address without `freebind`. An IPv6
    /// address that only a local *prefix* covers is reachable but not
    /// configured, and the kernel refuses it (inet6_bind looks at interfaces).
    pub bindable: bool,
}

/// The table `local` of one network namespace at one moment.
///
/// Looking up an address is a binary search.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalRoutes {
    v4: Vec<ReachSpan>,
    v6: Vec<ReachSpan>,
    /// Link-local addresses with the interface that has them.
    link_local: Vec<(u128, u32)>,
}

impl LocalRoutes {
    /// The table made of `routes`, in any order. The longest prefix wins.
    #[must_use]
    pub fn from_routes(routes: impl IntoIterator<Item = LocalRoute>) -> Self {
        let mut v4 = vec![
            prefix(0, 0, 32, Reach::Absent),
            prefix(0, 32, 32, Reach::Wildcard),
            prefix(0xe000_0000, 4, 32, Reach::Multicast),
            prefix(0xffff_ffff, 32, 32, Reach::Broadcast),
        ];
        let mut v6 = vec![
            prefix(0, 0, 128, Reach::Absent),
            prefix(0, 128, 128, Reach::Wildcard),
            prefix(0xff << 120, 8, 128, Reach::Multicast),
        ];
        let mut link_local = Vec::new();
        for route in routes {
            match route.network {
                // The kernel judges these before it looks at the table.
                IpAddr::V4(ip) if is_fixed_v4(ip) && route.prefix_len >= 4 => {}
                IpAddr::V4(ip) => {
                    let first = u128::from(u32::from(ip));
                    v4.push(prefix(first, route.prefix_len, 32, route.reach));
                }
                IpAddr::V6(ip) if ip.is_multicast() || ip.is_unspecified() => {
                    if route.prefix_len == 0 {
                        v6.push(prefix(0, 0, 128, route.reach));
                    }
                }
                IpAddr::V6(ip) if ip.is_unicast_link_local() => {
                    if route.reach == Reach::Local && route.prefix_len >= 128 {
                        link_local.push((u128::from(ip), route.interface));
                    }
                }
                IpAddr::V6(ip) => {
                    v6.push(prefix(u128::from(ip), route.prefix_len, 128, route.reach));
                }
            }
        }
        link_local.sort_unstable();
        link_local.dedup();
        Self { v4: flatten(v4), v6: flatten(v6), link_local }
    }

    /// What the table says of `address`. A link-local address without a zone
    /// is [`Reach::Absent`]: the kernel cannot tell which link is meant.
    #[must_use]
    pub fn classify(&self, address: &Address) -> Reach {
        self.spans(*address, *address).next().map_or(Reach::Absent, |span| span.reach)
    }

    /// Whether clients reach a socket that is bound to `endpoint`, as this table has it.
    ///
    /// For a listener that runs: one whose address has left its interface hears
    /// nothing of it. A `freebind` endpoint waits for its address by intention and
    /// always counts as served, and a UDP socket on a broadcast or multicast
    /// address does hear its datagrams.
    ///
    /// A link that is down says nothing here: Linux keeps the IPv4 addresses of
    /// such an interface and answers for them on its other ones, but takes the
    /// IPv6 addresses away. A zone counts by its index, so that an interface which
    /// was made again is another one, as it is for the socket.
    #[must_use]
    pub fn serves(&self, endpoint: &Endpoint, freebind: bool) -> bool {
        freebind
            || match self.classify(&endpoint.address) {
                Reach::Local | Reach::Wildcard => true,
                Reach::Broadcast | Reach::Multicast => endpoint.protocol == Protocol::Udp,
                Reach::Absent => false,
            }
    }

    /// The table's answers for the addresses from `first` to `last`, in order.
    ///
    /// Both must be of one family and zone; nothing is yielded otherwise, or
    /// when `first` is after `last`. Link-local ranges yield one span for each
    /// known address and one for each gap.
    pub fn spans(&self, first: Address, last: Address) -> impl Iterator<Item = ReachSpan> {
        let (from, to, alike) = match (first.ip(), last.ip()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                (u128::from(u32::from(a)), u128::from(u32::from(b)), true)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                (u128::from(a), u128::from(b), first.zone() == last.zone())
            }
            _ => (1, 0, false),
        };
        let scoped = matches!(first.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local());
        let table = if scoped {
            Cow::Owned(self.scoped(first))
        } else if first.ip().is_ipv4() {
            Cow::Borrowed(self.v4.as_slice())
        } else {
            Cow::Borrowed(self.v6.as_slice())
        };
        let start = table.partition_point(|span| span.last < from);
        let end = table.len();
        (start..end)
            .map(move |at| table[at])
            .take_while(move |span| alike && from <= to && span.first <= to)
            .map(move |span| ReachSpan {
                first: span.first.max(from),
                last: span.last.min(to),
                ..span
            })
    }

    /// The ranges of the addresses from `first` to `last` of which this table says
    /// something else than `other`, in order, as numbers. As [`Self::spans`].
    #[must_use]
    pub fn differences(&self, other: &Self, first: Address, last: Address) -> Vec<(u128, u128)> {
        let (mut these, mut those) = (self.spans(first, last), other.spans(first, last));
        let (mut this, mut that) = (these.next(), those.next());
        let mut differences: Vec<(u128, u128)> = Vec::new();
        // Both cover the same addresses without a gap.
        while let (Some(one), Some(two)) = (this, that) {
            let (from, to) = (one.first.max(two.first), one.last.min(two.last));
            if one.reach != two.reach {
                differences.push((from, to));
            }
            this = if one.last == to { these.next() } else { this };
            that = if two.last == to { those.next() } else { that };
        }
        differences
    }

    /// The spans of fe80::/10 as seen in the zone of `address`.
    fn scoped(&self, address: Address) -> Vec<ReachSpan> {
        let mut spans = vec![prefix(0, 0, 128, Reach::Absent)];
        if let Some(zone) = address.zone() {
            let here = self.link_local.iter().filter(|(_, interface)| *interface == zone.index());
            spans.extend(here.map(|(ip, _)| prefix(*ip, 128, 128, Reach::Local)));
        }
        flatten(spans)
    }
}

/// 224.0.0.0/4 and the limited broadcast address.
fn is_fixed_v4(ip: Ipv4Addr) -> bool {
    ip.is_multicast() || ip == Ipv4Addr::BROADCAST
}

/// The span of a prefix in a family of `bits`.
fn prefix(network: u128, len: u8, bits: u8, reach: Reach) -> ReachSpan {
    let len = len.min(bits);
    let free = u32::from(bits - len);
    let host = if free >= 128 { u128::MAX } else { (1 << free) - 1 };
    let bindable = reach != Reach::Absent && (bits == 32 || len == bits || reach != Reach::Local);
    ReachSpan { first: network & !host, last: network | host, reach, bindable }
}

/// Turns nested prefixes into adjacent spans, the innermost prefix winning.
///
/// The first prefix after sorting must cover all others.
fn flatten(mut nested: Vec<ReachSpan>) -> Vec<ReachSpan> {
    // Of two entries for one prefix, the one that reaches more lies innermost.
    nested.sort_unstable_by_key(|span| (span.first, Reverse(span.last), span.reach));
    let mut flat: Vec<ReachSpan> = Vec::with_capacity(nested.len() * 2);
    let mut open: Vec<ReachSpan> = Vec::new();
    // The first address that no emitted span covers; None past the last one.
    let mut at = Some(0);
    for span in nested {
        while let Some(top) = open.pop_if(|top| top.last < span.first) {
            emit(&mut flat, at, top.last, top);
            at = top.last.checked_add(1);
        }
        if let (Some(top), Some(before)) = (open.last(), span.first.checked_sub(1)) {
            emit(&mut flat, at, before, *top);
        }
        at = Some(span.first);
        open.push(span);
    }
    while let Some(top) = open.pop() {
        emit(&mut flat, at, top.last, top);
        at = top.last.checked_add(1);
    }
    flat
}

fn emit(flat: &mut Vec<ReachSpan>, from: Option<u128>, to: u128, like: ReachSpan) {
    let Some(first) = from.filter(|first| *first <= to) else { return };
    match flat.last_mut() {
        Some(last) if last.reach == like.reach && last.bindable == like.bindable => last.last = to,
        _ => flat.push(ReachSpan { first, last: to, ..like }),
    }
}

/// The number that stands for an address, within its family.
#[must_use]
pub fn number_of(address: Address) -> u128 {
    match address.ip() {
        IpAddr::V4(ip) => u32::from(ip).into(),
        IpAddr::V6(ip) => ip.into(),
    }
}

/// The address that number `value` stands for, in the family and zone of `like`.
#[must_use]
pub fn address_at(value: u128, like: Address) -> Address {
    match like.ip() {
        IpAddr::V4(_) => Address::from(Ipv4Addr::from(u32::try_from(value).unwrap_or(u32::MAX))),
        IpAddr::V6(_) => {
            let ip = Ipv6Addr::from(value);
            like.zone()
                .map_or_else(|| Address::new(IpAddr::V6(ip)), |zone| Address::with_zone(ip, zone))
        }
    }
}

#[cfg(test)]
mod tests;
