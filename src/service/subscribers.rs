//! Actors of the embedding program that hear what happens.
//!
//! Each has a queue of its own, like every reader, and a task on the service's thread
//! that passes on what is in it: a slow actor holds up nobody, and loses the newest
//! events, with a count.

use std::fmt;
use std::time::Duration;

use actix::{Message, Recipient};
use tokio::task::JoinSet;

use crate::actors::event_hub::Events;
use crate::supervision::Occurrence;

/// Longest wait for actors to take the last events of a service that ends.
const PATIENCE: Duration = Duration::from_millis(200);

/// Event, service → an actor of the embedding program: this happened. See
/// [`ServiceHandle::subscribe`](super::ServiceHandle::subscribe).
#[derive(Debug, Clone, PartialEq, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct Happened {
    /// What, when, and its number.
    pub occurrence: Occurrence,
    /// How many events this subscriber has lost so far because it was late.
    pub lost: u64,
}

/// An actor that wants to hear, and what it is to hear.
pub(super) struct Subscription {
    pub(super) actor: Recipient<Happened>,
    pub(super) events: Events,
}

impl Subscription {
    /// Passes on until one of both has ended.
    async fn pass_on(self) {
        let Self { actor, mut events } = self;
        while let Some(occurrence) = events.next().await {
            let lost = events.lost();
            // Waits for room in its mailbox: meanwhile the queue fills, and then counts.
            if actor.send(Happened { occurrence, lost }).await.is_err() && !actor.connected() {
                return;
            }
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Subscription").finish_non_exhaustive()
    }
}

/// All of them.
#[derive(Default)]
pub(super) struct Subscribers(JoinSet<()>);

impl Subscribers {
    pub(super) fn add(&mut self, subscription: Subscription) {
        // Those that have ended are forgotten.
        while self.0.try_join_next().is_some() {}
        self.0.spawn_local(subscription.pass_on());
    }

    /// Waits for the last events to be taken, and for nobody longer than a moment.
    pub(super) async fn finish(mut self) {
        let all = async { while self.0.join_next().await.is_some() {} };
        let _late = tokio::time::timeout(PATIENCE, all).await;
    }
}
