//! From specs to a plan: resolves, sweeps, and refuses what cannot be served.
//!
//! Holds the rules that need all specs at once: exclusions win, groups that
//! differ do not overlap, a wildcard stands alone. Never opens anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::{PlanError, SpecPlace};
use super::{PlanEndpoints, PlannedGroup};
use crate::config::Group;
use crate::spec::resolve::Resolution;
use crate::spec::sweep::{GroupSlabs, Product, SweepError, Swept, sweep};
use crate::spec::{
    Endpoint, EndpointSet, Port, PortSet, Protocol, Resolver, Slab, Spec, SpecError,
};

/// Builds the plan's endpoints: all groups less all exclusions.
///
/// Exclusions are the specs of any group that begin with `!` and all of
/// `excludes`; they remove from every group. Endpoints that are named twice are
/// merged and counted; the first group keeps them. At most `max_endpoints`.
///
/// # Errors
/// [`PlanError`] when a spec cannot be resolved or names nothing; when nothing
/// is left, or more than `max_endpoints`; when groups with different settings
/// name one endpoint; when a wildcard and an address of its family share a port.
pub fn build(
    config_groups: &[Group],
    excludes: &[Spec],
    max_endpoints: u64,
    resolver: &dyn Resolver,
) -> Result<PlanEndpoints, PlanError> {
    build_from(config_groups, excludes, max_endpoints, resolver, 0)
}

/// As [`build`], for endpoints that join others: those that ask for port 0 are
/// told apart by ordinals from `first_ordinal` on.
///
/// # Errors
/// As [`build`].
pub fn build_from(
    config_groups: &[Group],
    excludes: &[Spec],
    max_endpoints: u64,
    resolver: &dyn Resolver,
    first_ordinal: u32,
) -> Result<PlanEndpoints, PlanError> {
    let mut resolution = Resolution::numbering_from(resolver, first_ordinal);
    let sources = sources(config_groups, excludes);
    if sources.iter().all(|source| source.group.is_none()) {
        return Err(nothing_named(&sources));
    }
    let mut products: Vec<(usize, Product)> = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        let resolved = resolution
            .resolve(source.spec, source.group.is_none())
            .map_err(|error| PlanError::Spec { place: source.place, error })?;
        let product = |resolved| (index, Product { group: source.group, resolved });
        products.extend(resolved.into_iter().map(product));
    }
    let (hosts, paired) = resolution.into_parts();
    let (owners, products): (Vec<usize>, Vec<Product>) = products.into_iter().unzip();
    let build = Build { groups: config_groups, sources, owners, products, max_endpoints };
    let swept = build.sweep(build.products.len())?;
    build.check_total(&swept)?;
    let paired: Arc<[(u32, u32)]> = paired.into();
    let groups = build.planned(swept.groups, &paired);
    check_wildcards(&groups)?;
    Ok(PlanEndpoints::new(groups, hosts))
}

/// A spec with its place; `group` is `None` for an exclusion.
struct Source<'a> {
    place: SpecPlace,
    group: Option<u32>,
    spec: &'a Spec,
}

/// Every spec, the exclusions last.
fn sources<'a>(groups: &'a [Group], excludes: &'a [Spec]) -> Vec<Source<'a>> {
    let mut sources = Vec::new();
    for (group, index) in groups.iter().zip(0_u32..) {
        for (number, spec) in group.specs.iter().enumerate() {
            let place = SpecPlace::Group { group: index as usize, spec: number };
            let group = (!spec.is_exclusion()).then_some(index);
            sources.push(Source { place, group, spec });
        }
    }
    let exclude = |(index, spec)| Source { place: SpecPlace::Exclude(index), group: None, spec };
    sources.extend(excludes.iter().enumerate().map(exclude));
    sources.sort_by_key(|source| source.group.is_none());
    sources
}

struct Build<'a> {
    groups: &'a [Group],
    sources: Vec<Source<'a>>,
    /// The source of each product.
    owners: Vec<usize>,
    /// In the order of the sources.
    products: Vec<Product>,
    max_endpoints: u64,
}

impl Build<'_> {
    /// Sweeps the first `count` products.
    fn sweep(&self, count: usize) -> Result<Swept, PlanError> {
        let settings = |group: u32| self.groups.get(group as usize).map(|group| &group.settings);
        let may_share = |left, right| settings(left) == settings(right);
        sweep(&self.products[..count], self.groups.len(), self.max_endpoints, &may_share).map_err(
            |error| match error {
                SweepError::Shared { endpoint, groups } => self.shared(&endpoint, groups),
                SweepError::Tangled => PlanError::whole(
                    "the specs overlap in too many ways to be told apart",
                    "write fewer specs, each with ranges of addresses and ports",
                ),
            },
        )
    }

    fn shared(&self, endpoint: &Endpoint, groups: (u32, u32)) -> PlanError {
        let name = |group: u32| self.groups.get(group as usize).map_or("", |group| &group.name);
        PlanError::whole(
            format!(
                "the groups `{}` and `{}` both name {endpoint}, but their settings differ",
                name(groups.0),
                name(groups.1)
            ),
            "exclude it from one of them (`!item`), or give both the same settings",
        )
    }

    fn check_total(&self, swept: &Swept) -> Result<(), PlanError> {
        if swept.total > self.max_endpoints.into() {
            let count = match swept.total {
                u128::MAX => "more than 10^38".to_owned(),
                total if swept.counted_all => total.to_string(),
                total => format!("more than {total}"),
            };
            let message = format!(
                "the plan has {count} endpoints, more than limits.max_endpoints = {}",
                self.max_endpoints
            );
            let help = "name fewer, or raise the limit: --set limits.max_endpoints=N";
            return Err(match self.largest() {
                Some(source) => match at_whole(source, message, help) {
                    PlanError::Spec { place, error } => PlanError::TooMany { place, error },
                    other => other,
                },
                None => PlanError::whole(message, help),
            });
        }
        if swept.total > 0 { Ok(()) } else { Err(self.emptied()) }
    }

    /// The spec that names the most endpoints before exclusions.
    fn largest(&self) -> Option<&Source<'_>> {
        let size = |product: &Product| {
            let addresses =
                product.resolved.blocks.values().flatten().map(|(first, last)| last - first);
            let ports = product.resolved.ports.iter().map(|(first, last)| last - first + 1);
            let addresses =
                addresses.fold(0_u128, |sum, more| sum.saturating_add(more).saturating_add(1));
            addresses.saturating_mul(ports.sum::<u64>().into())
        };
        let including = self.products.iter().zip(&self.owners).filter(|(p, _)| p.group.is_some());
        let (_, owner) = including.max_by_key(|(product, _)| size(product))?;
        self.sources.get(*owner)
    }

    /// Finds the exclusion that took the last endpoint away.
    fn emptied(&self) -> PlanError {
        let named = self.products.iter().filter(|product| product.group.is_some()).count();
        // Exclusions come last, and more of them never leave more.
        let (mut low, mut high) = (named, self.products.len());
        while high - low > 1 {
            let middle = low.midpoint(high);
            match self.sweep(middle) {
                Ok(swept) if swept.total == 0 => high = middle,
                Ok(_) => low = middle,
                Err(error) => return error,
            }
        }
        let source = self.owners.get(low).and_then(|owner| self.sources.get(*owner));
        let message = "this exclusion leaves no endpoint in the plan";
        match source {
            Some(source) => at_whole(source, message.to_owned(), "exclude less, or name more"),
            None => PlanError::whole("the plan has no endpoint", "name at least one endpoint"),
        }
    }

    fn planned(&self, swept: Vec<GroupSlabs>, paired: &Arc<[(u32, u32)]>) -> Vec<PlannedGroup> {
        let mut first = 0;
        let planned = self.groups.iter().zip(swept).map(|(group, swept)| {
            let set = EndpointSet::from_slabs(swept.slabs, Arc::clone(paired));
            let planned = PlannedGroup {
                name: group.name.clone(),
                settings: Arc::new(group.settings.clone()),
                first,
                duplicates: swept.duplicates,
                set,
            };
            first += planned.set.len();
            planned
        });
        planned.collect()
    }
}

fn nothing_named(sources: &[Source<'_>]) -> PlanError {
    match sources.first() {
        Some(source) => at_whole(
            source,
            "every spec excludes: there is nothing to exclude from".to_owned(),
            "name endpoints first, as in '*:*' '!*:22'",
        ),
        None => PlanError::whole("no endpoint is named", "give a spec, as in tcp://127.0.0.1:8000"),
    }
}

fn at_whole(source: &Source<'_>, message: String, help: &str) -> PlanError {
    let text = source.spec.to_string();
    let error = SpecError { span: 0..text.len(), text, message, help: Some(help.to_owned()) };
    PlanError::Spec { place: source.place, error }
}

/// A wildcard socket takes its ports on every address of the family (ip(7)).
pub(super) fn check_wildcards(groups: &[PlannedGroup]) -> Result<(), PlanError> {
    let slabs =
        || groups.iter().flat_map(|group| group.set.slabs().iter().map(move |slab| (group, slab)));
    let family = |slab: &Slab| (slab.protocol(), slab.first().ip().is_ipv4());
    let mut wildcards = BTreeMap::<(Protocol, bool), Vec<(&PlannedGroup, &Slab)>>::new();
    for (group, slab) in slabs().filter(|(_, slab)| slab.first().is_wildcard()) {
        wildcards.entry(family(slab)).or_default().push((group, slab));
    }
    for (group, slab) in slabs() {
        for (wild_group, wild) in wildcards.get(&family(slab)).into_iter().flatten() {
            let mut specific = slab.addresses().filter(|address| !address.is_wildcard());
            let port = common_port(wild.ports(), slab.ports());
            if let (Some(address), Some(port)) = (specific.next(), port) {
                let specific = Endpoint { protocol: slab.protocol(), address, port };
                let wild = Endpoint { address: wild.first(), ..specific };
                return Err(PlanError::whole(
                    format!(
                        "{wild} (group `{}`) takes port {} on every address, so {specific} (group \
                         `{}`) cannot be bound",
                        wild_group.name,
                        port.number(),
                        group.name
                    ),
                    "name the wildcard or the address, not both, or exclude the port from one",
                ));
            }
        }
    }
    Ok(())
}

fn common_port(left: &Arc<PortSet>, right: &Arc<PortSet>) -> Option<Port> {
    left.first_common(right).map(Port::Number)
}
