//! A new plan for a running service: what is new is opened, what is gone is
//! drained, and what stays does not notice.
//!
//! Everything is compared before anything changes, so that a plan which cannot
//! be served changes nothing, and a dry run is the same comparison.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::Desk;
use crate::actors::protocol::{GroupRuntime, NewPlan, NotReplanned, Replan};
use crate::config::{Followed, OnBindError};
use crate::plan::demand::Demand;
use crate::plan::endpoints::{PlanEndpoints, PlanError, PlannedGroup};
use crate::spec::{Endpoint, compress};
use crate::supervision::{Place, PlanDiff};

/// Longest list of endpoints in a diff. Unit: characters.
const NAMED: usize = 2_000;

/// A new plan, compared with what is served.
struct Comparison {
    plan: PlanEndpoints,
    /// How many of the plan's groups are the configured ones.
    configured: usize,
    /// For each old index the new one.
    homes: Vec<Option<u64>>,
    opened: Vec<u64>,
    closed: Vec<(Place, Endpoint)>,
    /// Endpoints whose settings changed.
    reopened: Vec<(Place, Endpoint)>,
    /// Those of them that other sockets shall serve.
    rebound: HashSet<Place>,
    kept: u64,
    demand: Demand,
}

/// An endpoint that is served, or shall be.
pub(super) struct Live {
    /// Its index in the present plan.
    index: u64,
    /// Its group there.
    pub(super) group: usize,
    pub(super) endpoint: Endpoint,
    place: Place,
}

/// The groups of a new plan.
struct Groups {
    plan: PlanEndpoints,
    configured: usize,
    /// Those that the present plan does not have.
    fresh: Range<usize>,
    /// The fresh ones take over what they name.
    takes_over: bool,
    /// Where groups of the present plan are in the new one.
    moved: BTreeMap<usize, usize>,
}

impl Groups {
    fn fresh(&self) -> &[PlannedGroup] {
        self.plan.groups().get(self.fresh.clone()).unwrap_or_default()
    }

    /// The group and the index in the new plan of an endpoint that is in
    /// that group of the present one; `None` where it is gone.
    fn home(&self, group: usize, endpoint: &Endpoint) -> Option<(&PlannedGroup, u64)> {
        let names = |group: &&PlannedGroup| group.set.contains(endpoint);
        let taken = self.fresh().iter().filter(|_| self.takes_over).find(names);
        let own = || self.plan.groups().get(*self.moved.get(&group)?);
        let home = taken.or_else(own)?;
        Some((home, home.first + home.set.index_of(endpoint)?))
    }
}

impl Desk {
    /// Serves a new plan.
    pub(crate) fn replan(&mut self, order: Replan, now: Instant) -> Result<PlanDiff, NotReplanned> {
        if let Some(locked) = self.locked() {
            return Err(NotReplanned::Locked(locked));
        }
        let present = self.setup.settings.borrow().clone();
        let (next, followed) = match &order.what {
            NewPlan::Instead { config, .. } => {
                present.follow(config).map_err(NotReplanned::Settings)?
            }
            NewPlan::Also(_) => (present, Followed::default()),
        };
        let limits = &next.config().limits;
        let comparison =
            self.compare(order.what, limits.max_endpoints).map_err(NotReplanned::Plan)?;
        let budget = (self.setup.budget)(&comparison.demand, limits);
        let total = comparison.kept + comparison.opened.len() as u64;
        if budget.listeners < total {
            return Err(NotReplanned::FdLimit { needed: budget.needed, have: budget.have });
        }
        let mut diff = comparison.diff();
        if !order.dry_run {
            self.commit(comparison, now);
            self.follow(next, &followed.changed);
            self.limit_sessions(budget.sessions);
        }
        diff.settings = followed.changed;
        diff.kept = followed.kept;
        Ok(diff)
    }

    fn compare(&self, what: NewPlan, most: u64) -> Result<Comparison, PlanError> {
        let old = &self.setup.endpoints;
        let live: Vec<_> = self.live().collect();
        let used: HashSet<usize> = live.iter().map(|live| live.group).collect();
        let groups = self.compose(what, &used, most)?;
        let mut found = Comparison {
            configured: groups.configured,
            homes: vec![None; usize::try_from(old.len()).unwrap_or(usize::MAX)],
            opened: Vec::new(),
            closed: Vec::new(),
            reopened: Vec::new(),
            rebound: HashSet::new(),
            kept: 0,
            demand: Demand::default(),
            plan: groups.plan.clone(),
        };
        let (mut claimed, workers) = (HashSet::new(), self.slots.len() as u64);
        for Live { index, group, endpoint, place } in live {
            let Some((new, home)) = groups.home(group, &endpoint) else {
                found.closed.push((place, endpoint));
                continue;
            };
            found.demand.add(endpoint.protocol, 1, &new.settings, workers);
            found.kept += 1;
            claimed.insert(endpoint);
            if let Some(cell) = usize::try_from(index).ok().and_then(|at| found.homes.get_mut(at)) {
                *cell = Some(home);
            }
            let otherwise = |old: &&PlannedGroup| {
                old.settings != new.settings || self.setup.handlers.tell_apart(&old.name, &new.name)
            };
            if let Some(before) = old.groups().get(group).filter(otherwise) {
                found.reopened.push((place, endpoint));
                if before.settings.reuse_port != new.settings.reuse_port {
                    found.rebound.insert(place);
                }
            }
        }
        for group in groups.fresh() {
            for (index, endpoint) in (group.first..).zip(&group.set) {
                if claimed.insert(endpoint) {
                    found.demand.add(endpoint.protocol, 1, &group.settings, workers);
                    found.opened.push(index);
                }
            }
        }
        Ok(found)
    }

    /// The groups of the new plan. What was added live stays while something
    /// of it is served (`used`).
    fn compose(
        &self,
        what: NewPlan,
        used: &HashSet<usize>,
        most: u64,
    ) -> Result<Groups, PlanError> {
        let old = &self.setup.endpoints;
        let first_kept = match what {
            NewPlan::Instead { .. } => self.configured,
            NewPlan::Also(_) => 0,
        };
        let keeps = |index: &usize| *index < self.configured || used.contains(index);
        let kept: Vec<usize> = (first_kept..old.groups().len()).filter(keeps).collect();
        let mut groups: Vec<PlannedGroup> =
            kept.iter().filter_map(|index| old.groups().get(*index).cloned()).collect();
        let (fresh, moved_by, configured, takes_over) = match what {
            NewPlan::Instead { groups: configured, .. } => {
                let count = configured.len();
                groups.splice(..0, configured);
                (0..count, count, count, true)
            }
            NewPlan::Also(group) => {
                groups.push(group);
                (kept.len()..kept.len() + 1, 0, self.configured, false)
            }
        };
        let plan = PlanEndpoints::compose(groups, old.hosts().clone(), most)?;
        let moved = kept.into_iter().zip(moved_by..).collect();
        Ok(Groups { plan, configured, fresh, takes_over, moved })
    }

    /// Every endpoint that was not removed.
    pub(super) fn live(&self) -> impl Iterator<Item = Live> + '_ {
        (0..).zip(&self.setup.endpoints).filter_map(|(index, (group, endpoint))| {
            let (_, _, place, _) = self.known(index)?;
            Some(Live { index, group, endpoint, place })
        })
    }

    fn commit(&mut self, new: Comparison, now: Instant) {
        let gone: HashSet<Place> = new.closed.iter().map(|(place, _)| *place).collect();
        for place in &gone {
            self.remove_one(*place, now);
        }
        self.tell_of_drains(gone, true);
        // Who is gone has no name in the new plan.
        self.tell_changes();
        let groups = new.plan.groups();
        let runtimes: Vec<_> = groups.iter().map(|group| self.runtime(group)).collect();
        let total = new.plan.len();
        let home = |old: u64| usize::try_from(old).ok().and_then(|old| *new.homes.get(old)?);
        self.setup.table.renumber(total, rollback_runs(&new.plan), home);
        self.setup.endpoints = new.plan.clone();
        self.setup.groups = runtimes;
        self.configured = new.configured;
        self.setup.layout.send_replace(new.plan);
        for (place, _) in &new.reopened {
            self.setup.table.reopen(*place, new.rebound.contains(place), now);
        }
        self.setup.table.add(&new.opened);
    }

    /// What the endpoints of a group share; what is there already, where the
    /// settings are the same.
    fn runtime(&self, group: &PlannedGroup) -> Arc<GroupRuntime> {
        let same = |runtime: &&Arc<GroupRuntime>| {
            *runtime.name == *group.name && *runtime.settings == *group.settings
        };
        let known = self.setup.groups.iter().find(same).cloned();
        known.unwrap_or_else(|| Arc::new((self.setup.runtime)(group)))
    }
}

impl Comparison {
    fn diff(&self) -> PlanDiff {
        let named = |places: &[(Place, Endpoint)]| {
            compress(places.iter().map(|(_, endpoint)| *endpoint), NAMED)
        };
        let opened = self.opened.iter().filter_map(|index| Some(self.plan.get(*index)?.1));
        PlanDiff {
            opened: self.opened.len() as u64,
            closed: self.closed.len() as u64,
            reopened: self.reopened.len() as u64,
            untouched: self.kept - self.reopened.len() as u64,
            opened_endpoints: compress(opened, NAMED),
            closed_endpoints: named(&self.closed),
            reopened_endpoints: named(&self.reopened),
            ..PlanDiff::default()
        }
    }
}

/// The runs of a plan that are opened all or nothing.
pub(crate) fn rollback_runs(plan: &PlanEndpoints) -> Vec<Range<u64>> {
    let runs = plan.groups().iter().filter_map(|group| {
        let runs = group.settings.on_bind_error == OnBindError::Rollback;
        runs.then(|| group.first..group.first + group.set.len())
    });
    runs.collect()
}
