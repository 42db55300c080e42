//! A running service gets another plan: endpoints are added, removed, or
//! follow a new configuration.
//!
//! Specs are resolved here, on a thread of their own; the Supervisor compares
//! and carries out. What stays as it is does not notice.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::changes::Changed;
use super::handle::ServiceHandle;
use super::operations::{ListOptions, OperationError, aside};
use super::own_ports::WithoutOwn;
use crate::actors::protocol::{Change, NewPlan, NotReplanned, Replan};
use crate::config::{Config, Group, ListenSettings};
use crate::net::host;
use crate::plan::endpoints;
use crate::spec::{Selector, Spec};
use crate::supervision::{Event, PlanDiff, Replanning};

/// The name of the group of what is added without one.
const ADDED: &str = "added";

impl ServiceHandle {
    /// Serves the endpoints of `spec` too. With `like`, they join the group of
    /// that name and have its settings; else the group `added`, with the
    /// built-in settings. What is served already is left alone. They survive
    /// [`Self::reload`], not a restart.
    ///
    /// Returns at once; what cannot be bound is retried like any other endpoint.
    ///
    /// # Errors
    /// [`OperationError`]; then nothing changed.
    pub async fn add(&self, spec: &Spec, like: Option<&str>) -> Result<PlanDiff, OperationError> {
        if spec.is_exclusion() {
            return Err(OperationError::Exclusion { spec: spec.to_string() });
        }
        let settings = match like {
            None => ListenSettings::default(),
            Some(name) => self.settings_of(name)?,
        };
        let name = like.unwrap_or(ADDED).to_owned();
        let groups = vec![Group { name, specs: vec![spec.clone()], settings }];
        // Ports of the kernel's choice are told apart from all others.
        let first = self.shared.ordinals.fetch_add(spec.chosen(), Ordering::Relaxed);
        let most = self.in_force(|config| config.limits.max_endpoints);
        let admin = self.in_force(|config| config.admin.listen);
        let without: Vec<Spec> = admin.and_then(endpoints::exclusion).into_iter().collect();
        let planned = aside(move || {
            endpoints::build_from(&groups, &without, most, &host::SystemResolver, first)
        });
        let planned = planned.await??;
        let group = planned.groups().first().cloned().ok_or(OperationError::Ended)?;
        let diff = self.replan(Replan { what: NewPlan::Also(group), dry_run: false }).await?;
        self.tell_replanned(Replanning::Add, &diff);
        Ok(diff)
    }

    /// Removes the endpoints that `selector` names: their listeners close, and
    /// their sessions end as in [`Self::drain`]. They are not listed any more.
    /// Those of the configuration come back with [`Self::reload`].
    ///
    /// Returns when the ports are free.
    ///
    /// # Errors
    /// [`OperationError`]; then nothing changed.
    pub async fn remove(&self, selector: &Selector) -> Result<Changed, OperationError> {
        self.change(selector, Change::Remove).await
    }

    /// Serves the groups of `config` from now on: opens what is new, drains
    /// what is gone, and touches nothing else. Endpoints whose settings changed
    /// are served anew from the same socket: no client is refused, and their
    /// sessions go on as they began. What was added or suspended stays so.
    /// With `dry_run` nothing changes, and the answer says what would.
    ///
    /// The settings that [`Self::set`] knows are taken over too, as
    /// [`PlanDiff::settings`] says, but for those that were set live
    /// ([`PlanDiff::kept`]). Other sections and keys whose values differ are named
    /// in [`PlanDiff::needs_restart`] and keep their old values.
    ///
    /// # Errors
    /// [`OperationError`]; then nothing changed.
    pub async fn reload(&self, config: &Config, dry_run: bool) -> Result<PlanDiff, OperationError> {
        let (next, _) =
            self.settings.borrow().follow(config).map_err(OperationError::BadSetting)?;
        let needs_restart = self.settings.borrow().needs_restart(config);
        if !dry_run {
            self.prepare(next.config()).await?;
        }
        let resolver = self.own_ports().await?;
        let most = next.config().limits.max_endpoints;
        let (groups, excludes) = (config.groups.clone(), config.excludes.clone());
        // A new admin address needs a restart: what counts is where it listens now.
        let admin = self.in_force(|config| config.admin.listen);
        let planned =
            aside(move || endpoints::build_around(admin, &groups, &excludes, most, &resolver));
        let (planned, _covered) = planned.await??;
        let groups = planned.groups().to_vec();
        let what = NewPlan::Instead { groups, config: Arc::new(config.clone()) };
        let mut diff = self.replan(Replan { what, dry_run }).await?;
        diff.needs_restart = needs_restart;
        if !dry_run {
            self.tell_replanned(Replanning::Reload, &diff);
        }
        Ok(diff)
    }

    fn tell_replanned(&self, operation: Replanning, diff: &PlanDiff) {
        let diff = Box::new(diff.clone());
        self.shared.events.tell(Event::Replanned { operation, diff });
    }

    async fn replan(&self, order: Replan) -> Result<PlanDiff, OperationError> {
        let done = self.supervisor.deliver(order).await.ok_or(OperationError::Ended)?;
        done.map_err(|refused| match refused {
            NotReplanned::Locked(locked) => locked.into(),
            NotReplanned::Plan(error) => OperationError::Plan(error),
            NotReplanned::Settings(errors) => OperationError::BadSetting(errors),
            NotReplanned::FdLimit { needed, have } => OperationError::FdLimit { needed, have },
        })
    }

    fn settings_of(&self, name: &str) -> Result<ListenSettings, OperationError> {
        let layout = self.layout.borrow();
        let known = layout.groups().iter().find(|group| group.name == name);
        known.map(|group| (*group.settings).clone()).ok_or_else(|| {
            let names = layout.groups().iter().map(|group| group.name.as_str());
            // What was added to a group is a group of that name, too.
            let known: Vec<_> = names.collect::<BTreeSet<_>>().into_iter().collect();
            OperationError::UnknownGroup { name: name.to_owned(), known: known.join(", ") }
        })
    }

    /// The machine, without the ports that this service itself uses.
    async fn own_ports(&self) -> Result<WithoutOwn, OperationError> {
        let rows = self.list(&Selector::all(), ListOptions::default()).await?.endpoints;
        Ok(WithoutOwn::new(rows.iter().map(|row| row.endpoint)))
    }
}
