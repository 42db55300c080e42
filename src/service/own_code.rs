//! What an embedder brings along: sessions, datagrams and a failure policy of its own.
//!
//! Only keeps it for the tree, which runs it.

use std::sync::Arc;

use actix::Recipient;

use super::builder::ServiceBuilder;
use crate::actors::policy::{EndpointFailed, FailurePolicy, OwnPolicy};
use crate::actors::session::{SessionHandler, erase};
use crate::net::datagram::DatagramHandler;

impl ServiceBuilder {
    /// Serves the TCP sessions of all groups with code of your own instead of the echo;
    /// see [`SessionHandler`]. `mode` and `termination` of a group mean nothing then;
    /// limits, drains, counters and supervision are what they are for the echo.
    #[must_use]
    pub fn sessions(mut self, handler: impl SessionHandler) -> Self {
        self.handlers.sessions.set_for_all(erase(handler));
        self
    }

    /// Serves the TCP sessions of one group with code of your own, whatever
    /// [`Self::sessions`] says for the others. [`Self::build`] refuses a group that
    /// there is not.
    #[must_use]
    pub fn group_sessions(mut self, group: &str, handler: impl SessionHandler) -> Self {
        self.handlers.sessions.set(group.to_owned(), erase(handler));
        self
    }

    /// Answers the datagrams of all groups with code of your own instead of the echo; see
    /// [`DatagramHandler`]. `mode` of a group means nothing for UDP then.
    #[must_use]
    pub fn datagrams(mut self, handler: impl DatagramHandler) -> Self {
        self.handlers.datagrams.set_for_all(Arc::new(handler));
        self
    }

    /// Answers the datagrams of one group with code of your own, whatever
    /// [`Self::datagrams`] says for the others. [`Self::build`] refuses a group that there
    /// is not.
    #[must_use]
    pub fn group_datagrams(mut self, group: &str, handler: impl DatagramHandler) -> Self {
        self.handlers.datagrams.set(group.to_owned(), Arc::new(handler));
        self
    }

    /// Lets code of your own decide what becomes of endpoints that fail, before `[retry]`
    /// does; see [`FailurePolicy`].
    #[must_use]
    pub fn failure_policy(mut self, policy: impl FailurePolicy) -> Self {
        self.handlers.policy = Some(OwnPolicy::Function(Arc::new(policy)));
        self
    }

    /// Lets an actor of your own decide what becomes of endpoints that fail. All failures
    /// of a chunk have a second together; where it does not answer in time, or is gone,
    /// `[retry]` decides, and a line in the log says so.
    #[must_use]
    pub fn failure_policy_actor(mut self, policy: Recipient<EndpointFailed>) -> Self {
        self.handlers.policy = Some(OwnPolicy::Actor(policy));
        self
    }
}
