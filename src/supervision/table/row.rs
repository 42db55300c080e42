//! One endpoint's row in the chunk table.
//!
//! Holds what is known of one endpoint and how a report changes it. Never
//! counts and never schedules: the table does.

use std::time::Instant;

use crate::supervision::failure::Fault;
use crate::supervision::states::EndpointState;

/// How far a failure is on its way to a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::supervision) enum Judgement {
    /// Nothing failed, or the verdict is there.
    Over,
    /// It failed, and nobody was asked.
    Wanted,
    /// The error log was asked; its verdict is on the way.
    Asked,
}

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
    /// What became of its last failure.
    pub(in crate::supervision) judgement: Judgement,
    /// Its listener failed before the report that it was opened.
    pub(in crate::supervision) lost: Option<Fault>,
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
            judgement: Judgement::Over,
            lost: None,
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
        self.lost = None;
        // A verdict on the attempt before would judge this one.
        self.judgement = Judgement::Over;
        self.attempts = self.attempts.saturating_add(1);
    }

    /// It does not listen, and a verdict is wanted.
    pub(in crate::supervision) const fn fail(&mut self, fault: Fault) {
        self.fault = Some(fault);
        self.judgement = Judgement::Wanted;
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
