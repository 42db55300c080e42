//! What the owner of a running service may change: endpoints are suspended,
//! drained, resumed and retried by selector.
//!
//! Each endpoint changes at once or not at all; a selector that names many is
//! carried out slice by slice. Nothing here touches what is not named.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc;

use super::handle::ServiceHandle;
use super::operations::OperationError;
use crate::actors::protocol::{AwaitClosed, Change, ChangeEndpoints, Sessions};
use crate::spec::Selector;
use crate::supervision::{Event, Place};

/// How endpoints are suspended. The default keeps sessions and lasts until
/// [`ServiceHandle::resume`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SuspendOptions {
    /// What becomes of their sessions.
    pub sessions: Sessions,
    /// After how long they are resumed, by the service's own timer.
    pub time: Option<Duration>,
}

impl SuspendOptions {
    /// What becomes of their sessions.
    #[must_use]
    pub const fn sessions(mut self, sessions: Sessions) -> Self {
        self.sessions = sessions;
        self
    }

    /// They are resumed after this long, whoever is gone by then.
    #[must_use]
    pub const fn lasting(mut self, time: Duration) -> Self {
        self.time = Some(time);
        self
    }
}

/// What a change did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Changed {
    /// Endpoints that were named; at least 1.
    pub matched: u64,
    /// Those of them that are different now. The others were so already, or
    /// the change makes no sense for them.
    pub changed: u64,
    /// Those whose listener did not close within two seconds: their thread
    /// hangs, or is still opening them. They close as soon as it answers.
    pub closing: u64,
}

impl ServiceHandle {
    /// Closes the listeners that `selector` names: clients are refused, as in a
    /// real outage. Clients that the backlog held are served first.
    ///
    /// Returns when the ports are free. The endpoints are
    /// [`Suspended`](crate::supervision::EndpointState::Suspended), keep the
    /// numbers that the kernel chose, and are not missing: their chunk may be
    /// completed. A second order replaces the first, its time included.
    ///
    /// # Errors
    /// [`OperationError`]; then nothing changed.
    pub async fn suspend(
        &self,
        selector: &Selector,
        options: SuspendOptions,
    ) -> Result<Changed, OperationError> {
        let SuspendOptions { sessions, time } = options;
        self.change(selector, Change::Suspend { sessions, time }).await
    }

    /// Closes the listeners that `selector` names and lets their sessions end:
    /// quiet ones with FIN, the others by themselves, or cut off when
    /// `shutdown.drain_timeout_secs` are over. Then the endpoints are suspended.
    ///
    /// Returns when the ports are free.
    ///
    /// # Errors
    /// [`OperationError`]; then nothing changed.
    pub async fn drain(&self, selector: &Selector) -> Result<Changed, OperationError> {
        self.change(selector, Change::Drain).await
    }

    /// Opens again what was suspended or drains. Returns at once: what cannot
    /// be bound is retried like any other endpoint.
    ///
    /// # Errors
    /// [`OperationError`]; then nothing changed.
    pub async fn resume(&self, selector: &Selector) -> Result<Changed, OperationError> {
        self.change(selector, Change::Resume).await
    }

    /// Opens again now what failed, with fresh attempts, also what is in
    /// quarantine. Its chunk and every worker that crashed too often are
    /// forgiven too. Returns at once.
    ///
    /// # Errors
    /// [`OperationError`]; then nothing changed.
    pub async fn retry(&self, selector: &Selector) -> Result<Changed, OperationError> {
        self.change(selector, Change::Retry).await
    }

    pub(super) async fn change(
        &self,
        selector: &Selector,
        change: Change,
    ) -> Result<Changed, OperationError> {
        let selection = Arc::new(self.resolve(selector).await?);
        let mut order = ChangeEndpoints { selection, change, from: 0 };
        let mut done = Changed::default();
        let mut closing: Vec<Place> = Vec::new();
        loop {
            let slice = self.supervisor.deliver(order.clone()).await;
            let slice = slice.ok_or(OperationError::Ended)??;
            done.matched += slice.matched;
            done.changed += slice.changed;
            closing.extend(slice.closing);
            let Some(next) = slice.next else { break };
            order.from = next;
        }
        if done.matched == 0 {
            return Err(OperationError::NothingMatches { selector: selector.to_string() });
        }
        self.shared.events.tell(Event::OrderDone {
            order: order.change.into(),
            select: selector.to_string(),
            matched: done.matched,
            changed: done.changed,
        });
        done.closing = self.closed(closing).await?;
        Ok(done)
    }

    /// Waits until these listeners are gone, and says how many are not.
    pub(super) async fn closed(&self, places: Vec<Place>) -> Result<u64, OperationError> {
        if places.is_empty() {
            return Ok(0);
        }
        let (tell, mut told) = mpsc::channel(1);
        let wait = AwaitClosed { places: places.into(), tell };
        self.supervisor.deliver(wait).await.ok_or(OperationError::Ended)?;
        told.recv().await.ok_or(OperationError::Ended)
    }
}
