//! Which code of an embedder's own serves which group.
//!
//! Filled before the service starts, and only read after that.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::policy::OwnPolicy;
use super::records::AccessSink;
use super::session::{OwnSessions, StartSession};
use crate::config::LogLevel;
use crate::net::datagram::DatagramHandler;

/// What an embedder brought along.
#[derive(Clone, Default)]
pub(crate) struct Handlers {
    pub(crate) sessions: ByGroup<dyn StartSession>,
    /// Who is asked what becomes of failed endpoints.
    pub(crate) policy: Option<OwnPolicy>,
    pub(crate) datagrams: ByGroup<dyn DatagramHandler>,
    pub(crate) log_level: LevelHook,
    pub(crate) access_log: Option<Arc<dyn AccessSink>>,
}

/// Who follows `log.level`, if anybody does: a service has no log of its own.
#[derive(Clone, Default)]
pub(crate) struct LevelHook(pub(crate) Option<Arc<dyn Fn(LogLevel) + Send + Sync>>);

impl LevelHook {
    pub(crate) fn tell(&self, level: LogLevel) {
        if let Some(hook) = &self.0 {
            hook(level);
        }
    }
}

impl fmt::Debug for LevelHook {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("LevelHook").field(&self.0.is_some()).finish()
    }
}

/// One for all groups, or for some.
pub(crate) struct ByGroup<T: ?Sized> {
    all: Option<Arc<T>>,
    groups: BTreeMap<String, Arc<T>>,
}

impl<T: ?Sized> ByGroup<T> {
    /// Of every group that has none of its own.
    pub(crate) fn set_for_all(&mut self, handler: Arc<T>) {
        self.all = Some(handler);
    }

    pub(crate) fn set(&mut self, group: String, handler: Arc<T>) {
        self.groups.insert(group, handler);
    }

    pub(crate) fn of(&self, group: &str) -> Option<Arc<T>> {
        self.groups.get(group).or(self.all.as_ref()).cloned()
    }

    /// The groups that have one of their own.
    fn named(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(String::as_str)
    }
}

impl Handlers {
    /// The sessions' numbers begin here: one `ids` for the service.
    pub(crate) fn own_sessions(
        &self,
        group: &str,
        ids: &Arc<std::sync::atomic::AtomicU64>,
    ) -> Option<OwnSessions> {
        let handler = self.sessions.of(group)?;
        Some(OwnSessions::new(handler, Arc::clone(ids)))
    }

    /// Whether an endpoint that moves from one group to the other is served
    /// otherwise, though the settings are the same.
    pub(crate) fn tell_apart(&self, one: &str, other: &str) -> bool {
        let own =
            |group: &str| self.sessions.of(group).is_some() || self.datagrams.of(group).is_some();
        one != other && (own(one) || own(other))
    }

    /// The groups that have something of their own.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &str> {
        self.sessions.named().chain(self.datagrams.named())
    }
}

impl<T: ?Sized> Clone for ByGroup<T> {
    fn clone(&self) -> Self {
        Self { all: self.all.clone(), groups: self.groups.clone() }
    }
}

impl<T: ?Sized> Default for ByGroup<T> {
    fn default() -> Self {
        Self { all: None, groups: BTreeMap::new() }
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Handlers").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::datagram::{Answers, Datagram};

    #[test]
    fn groups_are_told_apart_where_one_of_them_is_served_by_code_of_its_own() {
        let silent = |_: &Datagram<'_>, _: &mut Answers<'_>| {};
        let mut handlers = Handlers::default();
        assert!(!handlers.tell_apart("one", "other"));
        handlers.datagrams.set("one".to_owned(), Arc::new(silent));
        assert!(handlers.tell_apart("one", "other") && handlers.tell_apart("other", "one"));
        assert!(!handlers.tell_apart("one", "one") && !handlers.tell_apart("other", "third"));
        assert_eq!(handlers.groups().collect::<Vec<_>>(), ["one"]);
        assert!(handlers.datagrams.of("one").is_some() && handlers.datagrams.of("other").is_none());
        // Sessions know the name of their group, so that it matters which one it is.
        handlers.datagrams.set_for_all(Arc::new(silent));
        assert!(handlers.tell_apart("other", "third"));
    }
}
