//! The configuration that a running service follows: what it was given, and what an
//! operator has set over it since.
//!
//! Plain values: each change makes a new one, or says what is wrong with it by the
//! rules and in the words of the configuration. Never applies anything.

mod values;

use ::config::ConfigError;
use serde::Serialize;

use super::assign::{read_text, unknown_path};
use super::effective::{EffectiveValue, effective_value};
use super::fault::{ConfigErrors, Document, Fault, Faults, Origin, short};
use super::layer::{self, Layer, Rank, Setting};
use super::load::{BUILT_IN, backoffs, merge};
use super::log::Log;
use super::model::{Config, Coverage, Udp};
use super::schema::{self, Key, LISTEN, LISTEN_DEFAULTS};
use super::text::{self, Place};
use super::typed;

/// The configuration in force, and why it is what it is.
#[derive(Debug, Clone)]
pub(crate) struct LiveConfig {
    in_force: Config,
    /// What was set live; of each key once.
    set: Vec<Setting>,
    /// Somebody listens for `log.level`.
    follows_level: bool,
}

/// A setting that has another value, or would have.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SettingChange {
    /// `section.key`
    pub key: String,
    /// Its value before, in the units of the file.
    pub from: EffectiveValue,
    /// Its value from now on.
    pub to: EffectiveValue,
}

/// A setting that was set live and so does not follow the configuration.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct KeptSetting {
    /// `section.key`
    pub key: String,
    /// The value in force, in the units of the file.
    pub value: EffectiveValue,
    /// What the configuration says.
    pub configured: EffectiveValue,
}

/// Why settings were not changed; none of them was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotSet {
    /// Keys that a running service does not take over.
    NeedsRestart(ConfigErrors),
    /// Unknown keys or illegal values.
    Illegal(ConfigErrors),
}

/// What becomes of settings with another configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct Followed {
    pub(crate) changed: Vec<SettingChange>,
    pub(crate) kept: Vec<KeptSetting>,
}

impl LiveConfig {
    /// The configuration that a service starts with.
    pub(crate) const fn new(config: Config, follows_level: bool) -> Self {
        Self { in_force: config, set: Vec::new(), follows_level }
    }

    /// What is in force.
    pub(crate) const fn config(&self) -> &Config {
        &self.in_force
    }

    /// Every key that can be set live, with the value in force, in the order of the
    /// documentation.
    pub(crate) fn values(&self) -> Vec<(&'static Key, EffectiveValue)> {
        let mut values = values::of(&self.in_force);
        values.retain(|(key, _)| self.follows_level || key.section != "log");
        values
    }

    /// The same with these keys set to these values, which are written as after `--set`.
    ///
    /// # Errors
    /// [`NotSet`], with every fault.
    pub(crate) fn set(
        &self,
        assignments: &[(String, String)],
    ) -> Result<(Self, Vec<SettingChange>), NotSet> {
        let mut faults = Faults::new();
        let mut set = self.set.clone();
        let mut needs_restart = 0;
        for (path, text) in assignments {
            let document = Document::new(Origin::Live, &format!("{path}={text}"));
            let place = Place {
                document: &document,
                base: path.len() + 1,
                name: path,
                name_span: 0..path.len(),
            };
            match self.find(path) {
                Ok(key) => {
                    let Some(setting) = read_text(&place, key, text, &mut faults) else { continue };
                    set.retain(|before| before.key.path() != key.path());
                    set.push(setting);
                }
                Err(refused) => {
                    needs_restart += usize::from(refused.restart_would_do());
                    faults.push(&document.origin, || refused.fault(&place));
                }
            }
        }
        let only_restart = faults.len() == needs_restart;
        faults.into_result().map_err(|errors| match only_restart {
            true => NotSet::NeedsRestart(errors),
            false => NotSet::Illegal(errors),
        })?;
        let in_force = overlay(&self.in_force, &set).map_err(NotSet::Illegal)?;
        let next = Self { in_force, set, follows_level: self.follows_level };
        let changed = changes(&self.in_force, &next.in_force);
        Ok((next, changed))
    }

    /// The same with another configuration below what was set live. What needs a
    /// restart stays as it is ([`Self::needs_restart`]).
    ///
    /// # Errors
    /// What was set contradicts the configuration.
    pub(crate) fn follow(&self, config: &Config) -> Result<(Self, Followed), ConfigErrors> {
        let mut base = live_part(self.in_force.clone(), config.clone());
        base.groups.clone_from(&config.groups);
        base.excludes.clone_from(&config.excludes);
        if !self.follows_level {
            base.log.level = self.in_force.log.level;
        }
        let in_force = overlay(&base, &self.set)?;
        let next = Self { in_force, set: self.set.clone(), follows_level: self.follows_level };
        let value =
            |config, key: &Key| values::of_key(config, key).map(|kind| effective_value(&kind));
        let kept = self.set.iter().filter_map(|setting| {
            let configured = value(&base, setting.key)?;
            let value = value(&next.in_force, setting.key)?;
            let key = setting.key.path();
            (value != configured).then_some(KeptSetting { key, value, configured })
        });
        let followed =
            Followed { kept: kept.collect(), changed: changes(&self.in_force, &next.in_force) };
        Ok((next, followed))
    }

    /// The sections and keys of a new configuration that take a restart.
    pub(crate) fn needs_restart(&self, new: &Config) -> Vec<&'static str> {
        let mut names = self.in_force.needs_restart(new);
        if !self.follows_level && self.in_force.log.level != new.log.level {
            names.push("log.level");
        }
        names
    }

    /// The key of that name, if it can be set live.
    fn find(&self, name: &str) -> Result<&'static Key, Refused> {
        let (section, key) = name.split_once('.').unwrap_or((name, ""));
        if [LISTEN, LISTEN_DEFAULTS].contains(&section) {
            return Err(Refused::Groups);
        }
        let key = schema::find(section, key).ok_or(Refused::Unknown)?;
        if name == "log.level" && !self.follows_level {
            return Err(Refused::NoLog);
        }
        match values::of_key(&self.in_force, key) {
            Some(_) => Ok(key),
            None => Err(Refused::Restart),
        }
    }
}

/// Why a key cannot be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    Unknown,
    /// It belongs to groups.
    Groups,
    /// Nobody follows the level of the log.
    NoLog,
    /// It can, by a restart.
    Restart,
}

impl Refused {
    const fn restart_would_do(self) -> bool {
        matches!(self, Self::NoLog | Self::Restart)
    }

    /// What is wrong with the key at `place`.
    fn fault(self, place: &Place<'_>) -> Fault {
        let Place { document, name, name_span, .. } = place;
        let (message, help) = match self {
            Self::Unknown => return unknown_path(document, name, name_span.clone()),
            Self::Groups => (
                format!("`{}` belongs to the groups, which are not set key by key", short(name)),
                "change it in the configuration and reload: other endpoints do not notice",
            ),
            Self::NoLog => (
                format!("`{name}` is not followed by the program that runs this service"),
                "set the level of that program's own log",
            ),
            Self::Restart => (
                format!("`{name}` does not change while the service runs"),
                "change it in the configuration and start again",
            ),
        };
        document.fault(name_span.clone(), message).about(short(name)).help(help)
    }
}

/// `base` with what was set over it.
fn overlay(base: &Config, set: &[Setting]) -> Result<Config, ConfigErrors> {
    let mut faults = Faults::new();
    let built_in = text::read(&Document::new(Origin::BuiltIn, BUILT_IN), &mut faults);
    let given = Document::new(Origin::Given, "");
    let written = |(key, kind)| Setting::new(key, kind, &given, 0..0);
    let settings = values::kinds(base).map(written).collect();
    let whole = |settings| Layer { rank: Rank::Whole, settings, groups: None };
    let layers = vec![built_in, whole(settings), whole(set.to_vec())];
    backoffs(&layer::places(&layers), &mut faults);
    faults.into_result()?;
    let typed = merge(layers).and_then(|merged| typed::config(&merged, &[], Vec::new()));
    let misread = |error: ConfigError| {
        let message = format!("a checked value was not understood: {error}");
        ConfigErrors::one(Fault::placeless(Origin::Live, message))
    };
    Ok(live_part(base.clone(), typed.map_err(misread)?))
}

/// `base`, with the sections of `live` that a running service takes over.
fn live_part(base: Config, live: Config) -> Config {
    Config {
        retry: live.retry,
        supervision: live.supervision,
        coverage: Coverage { min_bound: live.coverage.min_bound, ..base.coverage },
        session: live.session,
        limits: live.limits,
        udp: Udp { receive_buffer_bytes: base.udp.receive_buffer_bytes, ..live.udp },
        shutdown: live.shutdown,
        log: Log { level: live.log.level, ..base.log },
        ..base
    }
}

fn changes(before: &Config, after: &Config) -> Vec<SettingChange> {
    let pairs = values::of(before).into_iter().zip(values::of(after));
    let changed = pairs.filter(|((_, from), (_, to))| from != to);
    changed.map(|((key, from), (_, to))| SettingChange { key: key.path(), from, to }).collect()
}

#[cfg(test)]
mod tests;
