//! From a parsed spec to numbers: asks the machine, subtracts item exclusions.
//!
//! Holds one plan's budgets and the port-0 ordinals it has given out. Never
//! combines specs: `sweep` does.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::address_item::AddressItem;
use super::ask::{Asked, Hosts};
use super::error::{Fault, shown};
use super::octets::octet_blocks;
use super::parse::{Spec, Transport};
use super::port_item::PortItem;
use super::port_set::key;
use super::realm::{Blocks, Realm};
use super::subtract::{Left, Lists};
use super::token::Item;
use super::{Address, Port, Protocol, Resolver, SpecError, Zone};

/// Most separate ranges of one plan: what a sweep holds in memory.
const MAX_BLOCKS: usize = 1 << 20;

/// One spec and protocol in numbers: every address with every port.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    pub(crate) protocol: Protocol,
    pub(crate) blocks: Rc<Blocks>,
    /// Ranges of port keys, which may overlap: every mention counts.
    pub(crate) ports: Vec<(u64, u64)>,
}

/// The specs of one plan on their way to numbers.
pub(crate) struct Resolution<'a> {
    asked: Asked<'a>,
    blocks_left: usize,
    next_ordinal: u32,
    paired: Vec<(u32, u32)>,
    /// The zones of every address that was named so far.
    zones: BTreeSet<Zone>,
    /// Endpoints are looked for, not planned: ports of the kernel's choice are
    /// among those that `*` names.
    selecting: bool,
}

/// In what sense an address item is meant.
#[derive(Debug, Clone, Copy)]
struct Sign {
    /// The item's place in its list.
    index: usize,
    /// It stands behind a `!`.
    excluded: bool,
    /// Its whole spec is an exclusion.
    exclusion: bool,
}

type AddressLists = Lists<Realm, u128>;
type PortLists = Lists<(), u64>;

impl<'a> Resolution<'a> {
    pub(crate) const fn new(resolver: &'a dyn Resolver) -> Self {
        Self {
            asked: Asked::new(resolver),
            blocks_left: MAX_BLOCKS,
            next_ordinal: 0,
            paired: Vec::new(),
            zones: BTreeSet::new(),
            selecting: false,
        }
    }

    /// Ports of the kernel's choice get ordinals from this one on.
    pub(crate) fn numbering_from(resolver: &'a dyn Resolver, first_ordinal: u32) -> Self {
        Self { next_ordinal: first_ordinal, ..Self::new(resolver) }
    }

    /// A resolution that looks for endpoints in these zones.
    pub(crate) fn selecting(resolver: &'a dyn Resolver, zones: &[Zone]) -> Self {
        Self { zones: zones.iter().copied().collect(), selecting: true, ..Self::new(resolver) }
    }

    /// The host names that were resolved, and the paired port-0 ordinals, sorted.
    pub(crate) fn into_parts(self) -> (Hosts, Vec<(u32, u32)>) {
        (self.asked.into_hosts(), self.paired)
    }

    /// The products of `spec`, one a protocol; empty ones are left out.
    ///
    /// An exclusion may name nothing (no port is in use now), another spec not.
    pub(crate) fn resolve(
        &mut self,
        spec: &Spec,
        exclusion: bool,
    ) -> Result<Vec<Resolved>, SpecError> {
        self.products(spec, exclusion).map_err(|fault| fault.in_text(&spec.text))
    }

    fn products(&mut self, spec: &Spec, exclusion: bool) -> Result<Vec<Resolved>, Fault> {
        let blocks = match self.addresses(spec, exclusion)? {
            Some(blocks) => Rc::new(blocks),
            None if exclusion => return Ok(Vec::new()),
            None => return Err(names_nothing(&spec.addresses, "address")),
        };
        let first_ordinal = self.next_ordinal;
        let mut products = Vec::new();
        for &protocol in spec.transport.protocols() {
            // Both protocols share the ordinals: they will get the same numbers.
            self.next_ordinal = first_ordinal;
            if let Some(ports) = self.ports(spec, protocol, exclusion)? {
                products.push(Resolved { protocol, blocks: Rc::clone(&blocks), ports });
            }
        }
        if products.is_empty() && !exclusion {
            return Err(names_nothing(&spec.ports, "port"));
        }
        if spec.transport == Transport::Both && first_ordinal < self.next_ordinal {
            self.paired.push((first_ordinal, self.next_ordinal - 1));
        }
        Ok(products)
    }

    fn addresses(&mut self, spec: &Spec, exclusion: bool) -> Result<Option<Blocks>, Fault> {
        let mut lists = AddressLists::new();
        for (index, item) in spec.addresses.iter().enumerate() {
            let sign = Sign { index, excluded: item.excluded, exclusion };
            self.address_item(sign, &item.what, &mut lists)
                .map_err(|fault| Fault { span: item.span.clone(), ..fault })?;
        }
        self.reach_into_zones(&mut lists, exclusion)
            .map_err(|fault| Fault { span: span_of(&spec.addresses), ..fault })?;
        let left = lists.left(self.blocks_left);
        if let Left::Some(blocks) = &left {
            self.blocks_left -= blocks.values().map(Vec::len).sum::<usize>();
        }
        self.or_fault(left, &spec.addresses, "address")
    }

    fn address_item(
        &mut self,
        sign: Sign,
        item: &AddressItem,
        lists: &mut AddressLists,
    ) -> Result<(), Fault> {
        let plain = |message: String| Fault::new(0..0, message);
        let single = |(realm, number)| (realm, number, number);
        let blocks: Vec<_> = match item {
            // Who excludes `*` means every address, not just the wildcard sockets.
            AddressItem::Any if sign.excluded || sign.exclusion => {
                vec![(Realm::V4, 0, u32::MAX.into()), (Realm::V6, 0, u128::MAX)]
            }
            AddressItem::Any => vec![(Realm::V4, 0, 0), (Realm::V6, 0, 0)],
            AddressItem::Block { first, last, zone } => {
                let zone = zone.as_deref().map(|name| self.asked.zone(name)).transpose();
                let zone = zone.map_err(plain)?;
                let (realm, first) = Realm::of(Address::new(*first));
                let (_, last) = Realm::of(Address::new(*last));
                vec![(zone.map_or(realm, Realm::Zone), first, last)]
            }
            AddressItem::Octets(octets) => {
                octet_blocks(octets, self.blocks_left).ok_or_else(too_many)?
            }
            AddressItem::Interface(name) => {
                let found = self.asked.interface(name).map_err(plain)?;
                found.into_iter().map(single).collect()
            }
            AddressItem::Host(name) => {
                let found = self.asked.host(name).map_err(plain)?;
                found.into_iter().map(|ip| single(Realm::of(ip.into()))).collect()
            }
            AddressItem::File(path) => {
                for (minus, item) in self.asked.file(path)?.iter() {
                    if *minus && sign.excluded {
                        let message = format!("{} is excluded and excludes itself", shown(path));
                        return Err(plain(message).help("remove the `!` from the file's items"));
                    }
                    let sign = Sign { excluded: sign.excluded || *minus, ..sign };
                    self.address_item(sign, item, lists)?;
                }
                return Ok(());
            }
        };
        if lists.named.len() + lists.excluded.len() + blocks.len() > self.blocks_left {
            return Err(too_many());
        }
        if sign.excluded {
            lists.excluded.extend(blocks.into_iter().map(|block| (sign.index, block)));
        } else {
            lists.named.extend(blocks);
        }
        Ok(())
    }

    /// An exclusion that names no zone holds in every zone that the plan knows:
    /// `if:eth0,![fe80::/10]` is meant to work.
    fn reach_into_zones(&mut self, lists: &mut AddressLists, exclusion: bool) -> Result<(), Fault> {
        if !exclusion {
            self.zones.extend(lists.named.iter().filter_map(|(realm, ..)| match realm {
                Realm::Zone(zone) => Some(*zone),
                _ => None,
            }));
        }
        let of_v6 = |realm: &Realm| matches!(realm, Realm::V6);
        let removed = lists.excluded.iter().filter(|(_, (realm, ..))| of_v6(realm)).count();
        let named = lists.named.iter().filter(|(realm, ..)| exclusion && of_v6(realm)).count();
        if (removed + named).saturating_mul(self.zones.len()) > self.blocks_left {
            return Err(too_many());
        }
        for zone in &self.zones {
            let zone = Realm::Zone(*zone);
            let copy =
                |(realm, first, last): (Realm, _, _)| of_v6(&realm).then_some((zone, first, last));
            let excluded = lists.excluded.iter();
            let more: Vec<_> =
                excluded.filter_map(|(index, block)| Some((*index, copy(*block)?))).collect();
            lists.excluded.extend(more);
            if exclusion {
                let more: Vec<_> = lists.named.iter().filter_map(|block| copy(*block)).collect();
                lists.named.extend(more);
            }
        }
        lists.excluded.sort_by_key(|(index, _)| *index);
        Ok(())
    }

    fn ports(
        &mut self,
        spec: &Spec,
        protocol: Protocol,
        exclusion: bool,
    ) -> Result<Option<Vec<(u64, u64)>>, Fault> {
        let mut lists = PortLists::new();
        for (index, item) in spec.ports.iter().enumerate() {
            let ranges = self
                .port_item(item.what, protocol, exclusion)
                .map_err(|message| Fault::new(item.span.clone(), message))?;
            let blocks = ranges.into_iter().map(|(first, last)| ((), first, last));
            if item.excluded {
                lists.excluded.extend(blocks.map(|block| (index, block)));
            } else {
                lists.named.extend(blocks);
            }
            if lists.named.len() + lists.excluded.len() > self.blocks_left {
                return Err(Fault { span: item.span.clone(), ..too_many() });
            }
        }
        let left = lists.left(self.blocks_left);
        if let Left::Some(ports) = &left {
            self.blocks_left -= ports.values().map(Vec::len).sum::<usize>();
        }
        let left = self.or_fault(left, &spec.ports, "port")?;
        Ok(left.and_then(|mut ports| ports.remove(&())))
    }

    fn port_item(
        &mut self,
        item: PortItem,
        protocol: Protocol,
        exclusion: bool,
    ) -> Result<Vec<(u64, u64)>, String> {
        let range = |first, last| (key(Port::Number(first)), key(Port::Number(last)));
        let chosen = (0, u64::from(u32::MAX));
        Ok(match item {
            PortItem::Chosen(_) if self.selecting => vec![chosen],
            PortItem::Range(1, u16::MAX) if self.selecting => vec![chosen, range(1, u16::MAX)],
            PortItem::Range(first, last) => vec![range(first, last)],
            PortItem::Ephemeral => {
                let (first, last) = self.asked.ephemeral_ports()?;
                vec![range(first, last)]
            }
            PortItem::InUse => {
                self.asked.ports_in_use(protocol)?.iter().map(|port| range(*port, *port)).collect()
            }
            PortItem::Chosen(_) if exclusion => {
                return Err("a port that the kernel chooses cannot be excluded".to_owned());
            }
            PortItem::Chosen(count) => {
                let first = self.next_ordinal;
                self.next_ordinal = first
                    .checked_add(count.into())
                    .ok_or("the plan asks the kernel for more than 4294967295 ports")?;
                vec![(first.into(), u64::from(self.next_ordinal) - 1)]
            }
        })
    }

    fn or_fault<G, K, T>(
        &self,
        left: Left<G, K>,
        items: &[Item<T>],
        noun: &str,
    ) -> Result<Option<super::subtract::Mentioned<G, K>>, Fault> {
        match left {
            Left::Some(left) => Ok(Some(left)),
            Left::NothingNamed => Ok(None),
            Left::TooMany => Err(Fault { span: span_of(items), ..too_many() }),
            Left::EmptiedBy(item) => {
                let span = items.get(item).map_or(0..0, |item| item.span.clone());
                Err(Fault::new(span, format!("this exclusion leaves no {noun}"))
                    .help("exclude less, or name more"))
            }
        }
    }
}

fn names_nothing<T>(items: &[Item<T>], noun: &str) -> Fault {
    let first = items.iter().find(|item| !item.excluded);
    let span = first.map_or(0..0, |item| item.span.clone());
    Fault::new(span, format!("this names no {noun} on this machine now"))
}

fn span_of<T>(items: &[Item<T>]) -> std::ops::Range<usize> {
    match (items.first(), items.last()) {
        (Some(first), Some(last)) => first.span.start..last.span.end,
        _ => 0..0,
    }
}

fn too_many() -> Fault {
    Fault::new(0..0, format!("the plan falls into more than {MAX_BLOCKS} separate ranges"))
        .help("name neighbouring addresses and ports as ranges")
}
