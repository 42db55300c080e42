//! All specs of a plan at once: a sweep over address bounds gives disjoint slabs.
//!
//! Between two bounds every address has the same specs, so the same ports, and
//! what overlaps is seen there and then. Holds that sweep and its budget of
//! work. Never asks the machine, never lists endpoints.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use super::port_set::PortSet;
use super::ranges::RangeSet;
use super::realm::Realm;
use super::resolve::Resolved;
use super::set::Slab;
use super::{Endpoint, Protocol};

/// Most port bounds that are looked at: some seconds of work.
const MAX_WORK: usize = 50_000_000;
/// Most specs over one address whose combined ports are remembered.
const MAX_CACHED_SPECS: usize = 8;
/// Most combinations of specs that are remembered.
const MAX_CACHED: usize = 4096;
/// The owner of exclusions; sorts after every group.
const EXCLUSION: u32 = u32::MAX;

/// One product of a spec, and the group that it adds to (`None`: it removes).
pub(crate) struct Product {
    pub(crate) group: Option<u32>,
    pub(crate) resolved: Resolved,
}

/// What one group is left with.
#[derive(Debug, Clone, Default)]
pub(crate) struct GroupSlabs {
    /// Sorted and disjoint, over all groups.
    pub(crate) slabs: Vec<Slab>,
    /// Mentions that were merged into an earlier one.
    pub(crate) duplicates: u64,
}

/// All groups after the sweep.
#[derive(Debug)]
pub(crate) struct Swept {
    pub(crate) groups: Vec<GroupSlabs>,
    /// Endpoints in all. Beyond the limit they are counted, but not kept.
    pub(crate) total: u128,
    /// False when counting beyond the limit was given up: there are more.
    pub(crate) counted_all: bool,
}

/// Why a sweep has no result.
#[derive(Debug)]
pub(crate) enum SweepError {
    /// Two groups that may not share name this endpoint.
    Shared { endpoint: Endpoint, groups: (u32, u32) },
    /// The specs overlap in too many ways to be sorted out in bounded time.
    Tangled,
}

/// The ports of one address under one combination of specs.
struct Cell {
    /// By group: ports that are its own (perhaps none), mentions merged away.
    shares: Vec<(u32, Arc<PortSet>, u64)>,
    /// The first port that two groups share without leave.
    conflict: Option<(super::Port, (u32, u32))>,
}

/// The active products at an address, each with how often it mentions it.
type Active = BTreeMap<u32, u32>;

/// Combines `products`, which are sorted by group; exclusions remove from all.
///
/// `may_share` says whether two groups may name one endpoint; the first keeps it.
/// At most `limit` endpoints are kept.
pub(crate) fn sweep(
    products: &[Product],
    groups: usize,
    limit: u64,
    may_share: &dyn Fn(u32, u32) -> bool,
) -> Result<Swept, SweepError> {
    let mut sweep = Sweep {
        products,
        may_share,
        limit: limit.into(),
        swept: Swept { groups: vec![GroupSlabs::default(); groups], total: 0, counted_all: true },
        alone: vec![None; products.len()],
        together: HashMap::new(),
        work: 0,
    };
    for protocol in Protocol::ALL {
        let mut realms: BTreeMap<Realm, Vec<Bound>> = BTreeMap::new();
        for (index, product) in (0_u32..).zip(products) {
            if product.resolved.protocol == protocol {
                for (realm, blocks) in product.resolved.blocks.iter() {
                    let bounds = realms.entry(*realm).or_default();
                    bounds.extend(blocks.iter().flat_map(|block| bounds_of(*block, index)));
                }
            }
        }
        for (realm, bounds) in realms {
            match sweep.realm(protocol, realm, bounds) {
                Err(SweepError::Tangled) if sweep.swept.total > sweep.limit => {
                    sweep.swept.counted_all = false;
                    return Ok(sweep.swept);
                }
                done => done?,
            }
        }
    }
    Ok(sweep.swept)
}

/// Where a product begins to mention addresses, or ends to.
struct Bound {
    at: u128,
    product: u32,
    begins: bool,
}

fn bounds_of((first, last): (u128, u128), product: u32) -> impl Iterator<Item = Bound> {
    // Nothing comes after the very last address: a block there never ends.
    let end = last.checked_add(1).map(|at| Bound { at, product, begins: false });
    std::iter::once(Bound { at: first, product, begins: true }).chain(end)
}

struct Sweep<'a> {
    products: &'a [Product],
    may_share: &'a dyn Fn(u32, u32) -> bool,
    limit: u128,
    swept: Swept,
    alone: Vec<Option<Rc<Cell>>>,
    together: HashMap<Vec<(u32, u32)>, Rc<Cell>>,
    work: usize,
}

impl Sweep<'_> {
    fn realm(
        &mut self,
        protocol: Protocol,
        realm: Realm,
        mut bounds: Vec<Bound>,
    ) -> Result<(), SweepError> {
        bounds.sort_unstable_by_key(|bound| bound.at);
        let mut active = Active::new();
        let mut bounds = bounds.into_iter().peekable();
        while let Some(bound) = bounds.next() {
            let mentions = active.entry(bound.product).or_default();
            if bound.begins {
                *mentions += 1;
            } else {
                // Every end was sorted behind its begin.
                *mentions = mentions.saturating_sub(1);
                if *mentions == 0 {
                    active.remove(&bound.product);
                }
            }
            let last = match bounds.peek() {
                Some(next) if next.at == bound.at => continue,
                Some(next) => next.at - 1,
                None => u128::MAX,
            };
            if !active.is_empty() {
                self.interval(protocol, realm, (bound.at, last), &active)?;
            }
        }
        Ok(())
    }

    fn interval(
        &mut self,
        protocol: Protocol,
        realm: Realm,
        range: (u128, u128),
        active: &Active,
    ) -> Result<(), SweepError> {
        let cell = self.cell(active)?;
        if let Some((port, groups)) = cell.conflict {
            let endpoint = Endpoint { protocol, address: realm.address(range.0), port };
            return Err(SweepError::Shared { endpoint, groups });
        }
        let addresses = (range.1 - range.0).saturating_add(1);
        for (group, ports, duplicates) in &cell.shares {
            let Some(share) = self.swept.groups.get_mut(*group as usize) else { continue };
            let merged = addresses.saturating_mul((*duplicates).into());
            let merged = u64::try_from(merged).unwrap_or(u64::MAX);
            share.duplicates = share.duplicates.saturating_add(merged);
            if ports.is_empty() {
                continue;
            }
            let endpoints = addresses.saturating_mul(ports.len().into());
            self.swept.total = self.swept.total.saturating_add(endpoints);
            if self.swept.total > self.limit {
                continue;
            }
            let slab = Slab::new(protocol, realm, range, Arc::clone(ports));
            if !share.slabs.last_mut().is_some_and(|last| last.extend(&slab)) {
                share.slabs.push(slab);
            }
        }
        Ok(())
    }

    fn cell(&mut self, active: &Active) -> Result<Rc<Cell>, SweepError> {
        let only =
            active.first_key_value().filter(|(_, mentions)| active.len() == 1 && **mentions == 1);
        if let Some(cell) = only.and_then(|(product, _)| self.alone.get(*product as usize)?.clone())
        {
            return self.spend(1).map(|()| cell);
        }
        let cacheable = active.len() <= MAX_CACHED_SPECS;
        let key: Vec<(u32, u32)> =
            if cacheable { active.iter().map(|(p, n)| (*p, *n)).collect() } else { Vec::new() };
        if let Some(cell) = self.together.get(&key).filter(|_| cacheable) {
            let cell = Rc::clone(cell);
            return self.spend(active.len()).map(|()| cell);
        }
        let cell = Rc::new(self.combine(active)?);
        if let [(product, 1)] = key[..]
            && let Some(slot) = self.alone.get_mut(product as usize)
        {
            *slot = Some(Rc::clone(&cell));
        } else if cacheable && self.together.len() < MAX_CACHED {
            self.together.insert(key, Rc::clone(&cell));
        }
        Ok(cell)
    }

    fn spend(&mut self, work: usize) -> Result<(), SweepError> {
        self.work = self.work.saturating_add(work);
        if self.work > MAX_WORK { Err(SweepError::Tangled) } else { Ok(()) }
    }

    /// The same sweep once more, over the ports of the active products.
    fn combine(&mut self, active: &Active) -> Result<Cell, SweepError> {
        let mut bounds: Vec<(u64, u32, i64)> = Vec::new();
        for (&index, &mentions) in active {
            let Some(product) = self.products.get(index as usize) else { continue };
            self.spend(product.resolved.ports.len())?;
            let owner = product.group.unwrap_or(EXCLUSION);
            for &(first, last) in &product.resolved.ports {
                bounds.push((first, owner, mentions.into()));
                // Port keys stay below 2^33.
                bounds.push((last + 1, owner, -i64::from(mentions)));
            }
        }
        bounds.sort_unstable();
        Ok(self.split(&bounds))
    }

    fn split(&self, bounds: &[(u64, u32, i64)]) -> Cell {
        let mut shares: BTreeMap<u32, (Vec<(u64, u64)>, u64)> = BTreeMap::new();
        let mut conflict = None;
        let mut mentions: BTreeMap<u32, i64> = BTreeMap::new();
        for (index, &(at, owner, change)) in bounds.iter().enumerate() {
            let count = mentions.entry(owner).or_default();
            *count += change;
            if *count == 0 {
                mentions.remove(&owner);
            }
            let Some(&(next, ..)) = bounds.get(index + 1).filter(|next| next.0 != at) else {
                continue;
            };
            let Some((&first, _)) = mentions.first_key_value() else { continue };
            if mentions.contains_key(&EXCLUSION) {
                continue;
            }
            let keys = next - at;
            for (&group, &count) in &mentions {
                let (own, duplicates) = shares.entry(group).or_default();
                let mut merged = u64::try_from(count).unwrap_or(0);
                if group == first {
                    own.push((at, next - 1));
                    merged -= 1;
                } else if conflict.is_none() && !(self.may_share)(first, group) {
                    conflict = Some((super::port_set::port(at), (first, group)));
                }
                *duplicates = duplicates.saturating_add(merged.saturating_mul(keys));
            }
        }
        let share = |(group, (own, duplicates))| {
            (group, Arc::new(PortSet::new(&RangeSet::new(own))), duplicates)
        };
        Cell { shares: shares.into_iter().map(share).collect(), conflict }
    }
}
