//! One endpoint's row in the chunk table.
//!
//! Holds what is known of one endpoint and how a report changes it. Never
//! counts and never schedules: the table does.

use std::time::Instant;

use crate::supervision::failure::Fault;
use crate::supervision::states::EndpointState;

/// What the table knows of one endpoint; `S` is its listening socket.
#[derive(Debug)]
pub(in crate::supervision) struct Row<S> {
    pub(in crate::supervision) state: EndpointState,
    /// Attempts since it last listened, the one under way included.
    pub(in crate::supervision) attempts: u32,
    pub(in crate::supervision) fault: Option<Fault>,
    /// When it shall be opened again; `None` = not scheduled.
    pub(in crate::supervision) due: Option<Instant>,
    /// A worker is opening it.
    pub(in crate::supervision) leased: bool,
    /// It failed and no verdict has come yet.
    pub(in crate::supervision) unjudged: bool,
    /// It listened or was quarantined at least once.
    pub(in crate::supervision) decided: bool,
    /// The port that the kernel chose; 0 = none yet.
    pub(in crate::supervision) number: u16,
    pub(in crate::supervision) socket: Option<S>,
}

impl<S> Row<S> {
    pub(in crate::supervision) const fn new() -> Self {
        Self {
            state: EndpointState::Pending,
            attempts: 0,
            fault: None,
            due: None,
            leased: false,
            unjudged: false,
            decided: false,
            number: 0,
            socket: None,
        }
    }

    /// Whether a lease that is granted `now` takes this endpoint.
    pub(in crate::supervision) fn wants_opening(&self, now: Instant) -> bool {
        match self.state {
            EndpointState::Pending => true,
            EndpointState::Listening => false,
            EndpointState::Retrying | EndpointState::Quarantined => {
                self.due.is_some_and(|due| due <= now)
            }
        }
    }

    pub(in crate::supervision) const fn lease(&mut self) {
        self.leased = true;
        self.due = None;
        self.attempts = self.attempts.saturating_add(1);
    }

    /// The attempt did not take place.
    pub(in crate::supervision) fn give_back(&mut self, now: Instant) {
        self.leased = false;
        self.attempts = self.attempts.saturating_sub(1);
        if self.state != EndpointState::Pending {
            self.due = Some(now);
        }
    }
}
