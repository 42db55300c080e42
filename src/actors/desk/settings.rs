//! Settings that change while the service runs, and who follows them.
//!
//! What is in force lies in one place, where everybody looks who decides something;
//! what threads look at for each session or datagram is told here.

use std::time::Duration;

use tokio::sync::mpsc;

use super::Desk;
use crate::actors::protocol::{ChangeSettings, SettingsRefused};
use crate::config::{Config, LiveConfig, OnLimit, SettingChange};
use crate::plan::demand::Demand;
use crate::supervision::{Coverage, Event, RestartPolicy};

/// Longest wait for threads to count their sessions; one that hangs does it when it
/// answers again.
const PATIENCE: Duration = Duration::from_secs(2);

impl Desk {
    /// Sets all of these, or none.
    pub(crate) fn set(
        &mut self,
        order: &ChangeSettings,
    ) -> Result<Vec<SettingChange>, SettingsRefused> {
        if let Some(locked) = self.locked() {
            return Err(SettingsRefused::Locked(locked));
        }
        let next = self.setup.settings.borrow().set(&order.assignments);
        let (next, changed) = next.map_err(SettingsRefused::NotSet)?;
        self.follow(next, &changed);
        Ok(changed)
    }

    /// Lets everybody follow what is in force from now on.
    pub(super) fn follow(&mut self, next: LiveConfig, changed: &[SettingChange]) {
        if !changed.is_empty() {
            self.tell(Event::SettingsChanged { changed: changed.to_vec() });
        }
        let before = self.setup.settings.send_replace(next);
        let settings = self.setup.settings.borrow();
        let (before, now) = (before.config(), settings.config());
        self.setup.udp.follow(&now.udp);
        if before.log.level != now.log.level {
            self.setup.handlers.log_level.tell(now.log.level);
        }
        if let Some(share) = self.setup.shares.first() {
            share.settings.follow(now);
            share.admission.on_limit(now.limits.on_limit);
            share.admission.limit_sources(now.limits.max_sessions_per_source);
        }
        if before.limits != now.limits {
            self.limit_sessions((self.setup.budget)(&self.demand(), &now.limits).sessions);
            if now.limits.on_limit == OnLimit::Close {
                self.on_threads(|_| true, |local| local.look_again());
            }
        }
    }

    /// So many sessions may be open from now on, as descriptors are left. Those that
    /// are open stay; the next ones wait until there are fewer.
    pub(super) fn limit_sessions(&self, sessions: u64) {
        if let Some(share) = self.setup.shares.first() {
            share.admission.limit(usize::try_from(sessions).unwrap_or(usize::MAX));
        }
    }

    /// Has every thread count the sessions of each source, and tells when they have.
    pub(crate) fn count_sources(&self, tell: mpsc::Sender<()>) {
        if let Some(share) = self.setup.shares.first() {
            share.admission.count_sources();
        }
        let (counted, mut counts) = mpsc::channel(self.setup.shares.len().max(1));
        let mut threads = self.on_threads(
            |_| true,
            move |local| {
                local.count_sources();
                let _nobody_waits = counted.try_send(());
            },
        );
        actix::spawn(async move {
            let all = async {
                while threads > 0 && counts.recv().await.is_some() {
                    threads -= 1;
                }
            };
            let _one_hangs = tokio::time::timeout(PATIENCE, all).await;
            let _nobody_waits = tell.try_send(());
        });
    }

    /// How many endpoints are served, or shall be.
    fn demand(&self) -> Demand {
        let (mut demand, workers) = (Demand::default(), self.setup.shares.len() as u64);
        let groups = self.setup.endpoints.groups();
        for live in self.live() {
            if let Some(group) = groups.get(live.group) {
                demand.add(live.endpoint.protocol, 1, &group.settings, workers);
            }
        }
        demand
    }

    /// What is in force, as far as this needs it.
    pub(super) fn in_force<T>(&self, what: impl FnOnce(&Config) -> T) -> T {
        what(self.setup.settings.borrow().config())
    }

    /// `coverage.min_bound` of what is served now.
    pub(super) fn coverage(&self) -> Coverage {
        let total = self.setup.table.endpoint_counts().total;
        self.in_force(|config| Coverage::new(config.coverage.min_bound, total))
    }

    /// What crashes are judged by.
    pub(crate) fn restart_policy(&self) -> RestartPolicy {
        self.in_force(|config| RestartPolicy::new(&config.supervision, &config.retry))
    }
}
