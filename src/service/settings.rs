//! Settings of a running service: which there are, and changing them.
//!
//! Values are written as in the configuration, and judged by its rules. Nobody who has
//! a session loses it for a lower limit.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::handle::ServiceHandle;
use super::operations::OperationError;
use crate::actors::protocol::{ChangeSettings, CountSources, SettingsRefused};
use crate::config::{Config, EffectiveValue, NotSet, SettingChange};

impl ServiceHandle {
    /// Sets all of these keys, or none: `section.key`, and the value as after `--set`
    /// (TOML, or a word without quotes). Returns what is different now.
    ///
    /// What is set wins over the configuration until a restart ([`Self::reload`]).
    /// Limits hold at once: where more sessions are open than `limits.max_sessions`
    /// allows now, all go on, and nobody is admitted until they are fewer; a higher one
    /// admits who waits, in order. Time-outs hold for open sessions too,
    /// `session.keepalive_secs` for those that are accepted from now on, `[retry]` and
    /// `[supervision]` from the next failure on, `limits.max_endpoints` for what is
    /// added. A drain under way keeps its deadline.
    ///
    /// # Errors
    /// [`OperationError::BadSetting`] and [`OperationError::NeedsRestart`] name the key,
    /// what was found and what is allowed, for each fault; [`OperationError::Draining`],
    /// [`OperationError::HandingOver`], [`OperationError::Ended`]. Then nothing changed.
    pub async fn set(
        &self,
        settings: &[(&str, &str)],
    ) -> Result<Vec<SettingChange>, OperationError> {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let assignments: Arc<[_]> = settings.iter().map(owned).collect();
        let (next, _) = self.settings.borrow().set(&assignments).map_err(OperationError::from)?;
        self.prepare(next.config()).await?;
        let done = self.supervisor.deliver(ChangeSettings { assignments }).await;
        done.ok_or(OperationError::Ended)?.map_err(|refused| match refused {
            SettingsRefused::Locked(locked) => locked.into(),
            SettingsRefused::NotSet(not_set) => not_set.into(),
        })
    }

    /// Every key that [`Self::set`] takes, with the value in force in the units of the
    /// configuration, in the order of its documentation.
    ///
    /// `log.level` is there where somebody follows it
    /// ([`ServiceBuilder::on_log_level`](super::ServiceBuilder::on_log_level)).
    #[must_use]
    pub fn settings(&self) -> Vec<(String, EffectiveValue)> {
        let values = self.settings.borrow().values();
        values.into_iter().map(|(key, value)| (key.path(), value)).collect()
    }

    /// The configuration in force: what the service was started with, as it was reloaded
    /// and set since. What was added live is not in it.
    #[must_use]
    pub fn config(&self) -> Config {
        self.settings.borrow().config().clone()
    }

    /// What is in force, as far as this needs it.
    pub(super) fn in_force<T>(&self, what: impl FnOnce(&Config) -> T) -> T {
        what(self.settings.borrow().config())
    }

    /// Before sessions of a source are limited for the first time, those that are open
    /// are counted: the limit shall hold from its first moment on.
    pub(super) async fn prepare(&self, next: &Config) -> Result<(), OperationError> {
        let limited = next.limits.max_sessions_per_source.is_some();
        if !limited || self.shared.admission.counts_sources() {
            return Ok(());
        }
        let (tell, mut told) = mpsc::channel(1);
        let asked = self.supervisor.deliver(CountSources { tell }).await;
        asked.ok_or(OperationError::Ended)?;
        told.recv().await.ok_or(OperationError::Ended)
    }
}

impl From<NotSet> for OperationError {
    fn from(not_set: NotSet) -> Self {
        match not_set {
            NotSet::NeedsRestart(errors) => Self::NeedsRestart(errors),
            NotSet::Illegal(errors) => Self::BadSetting(errors),
        }
    }
}
