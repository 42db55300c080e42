//! One endpoint's row in the chunk table.
//!
//! Holds what is known of one endpoint and how a report changes it. Never
//! counts and never schedules: the table does.

use std::time::Instant;

use crate::supervision::chunk::{Lease, WorkerId};
use crate::supervision::failure::{Fault, FaultKind};
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

/// The end of a listener that the table does not know of yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::supervision) enum Lost {
    /// Its socket failed.
    Failed(Fault),
    /// Its actor crashed; the endpoint is opened again from then on.
    Crashed(Fault, Instant),
    /// Its actor crashed once too often; the endpoint is probed then, if ever.
    Exhausted(Fault, Option<Instant>),
    /// It serves, and shall not: a member was lost as [`ChunkTable::member_lost`]
    /// says.
    ///
    /// [`ChunkTable::member_lost`]: super::ChunkTable::member_lost
    Member(Fault, Option<Option<Instant>>),
}

/// What the table knows of one endpoint; `S` is its listening socket.
#[derive(Debug)]
pub(in crate::supervision) struct Row<S> {
    /// Its index in the plan.
    pub(in crate::supervision) index: u64,
    pub(in crate::supervision) state: EndpointState,
    /// Attempts since it last listened, the one under way included.
    pub(in crate::supervision) attempts: u32,
    pub(in crate::supervision) fault: Option<Fault>,
    /// When it shall be opened; `None` = never by itself, or if it is pending,
    /// at once.
    pub(in crate::supervision) due: Option<Instant>,
    /// A worker is opening it.
    pub(in crate::supervision) leased: bool,
    /// What became of its last failure.
    pub(in crate::supervision) judgement: Judgement,
    /// What became of its listener before the report that it was opened.
    /// Rare, so it does not take its room in every row.
    pub(in crate::supervision) lost: Option<Box<Lost>>,
    /// It listened or was quarantined at least once.
    pub(in crate::supervision) decided: bool,
    /// The port that the kernel chose; 0 = none yet.
    pub(in crate::supervision) number: u16,
    /// Present while the endpoint listens, and while it waits to be served
    /// again from the same socket. A quarantined endpoint has none.
    pub(in crate::supervision) socket: Option<S>,
    /// The worker whose listener serves the socket, or the first of several. A
    /// row that has one is never leased: that is why a socket has at most one owner.
    pub(in crate::supervision) owner: Option<WorkerId>,
    /// The lease under which it was opened last.
    pub(in crate::supervision) epoch: u64,
    /// Its listener was told to close, and is not known to be gone.
    pub(in crate::supervision) closing: bool,
    /// How many of its further sockets somebody serves.
    pub(in crate::supervision) members: u16,
    /// How often its listener crashed.
    pub(in crate::supervision) restarts: u32,
}

impl<S> Row<S> {
    pub(in crate::supervision) const fn new(index: u64) -> Self {
        Self {
            index,
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
            owner: None,
            epoch: 0,
            closing: false,
            members: 0,
            restarts: 0,
        }
    }

    /// Whether a lease that is granted `now` takes this endpoint.
    pub(in crate::supervision) fn wants_opening(&self, now: Instant) -> bool {
        match self.state {
            EndpointState::Pending => self.is_free() && self.due.is_none_or(|due| due <= now),
            EndpointState::Listening
            | EndpointState::Draining
            | EndpointState::Suspended
            | EndpointState::Closed => false,
            EndpointState::Retrying | EndpointState::Quarantined => {
                self.next_try().is_some_and(|due| due <= now)
            }
        }
    }

    /// When it is opened again, as far as that is scheduled.
    pub(in crate::supervision) fn next_try(&self) -> Option<Instant> {
        let opens = self.is_free() && !self.is_fd_limited() && !self.state.is_held();
        self.due.filter(|_| opens)
    }

    /// Whether it may be leased. While others serve its further sockets it is
    /// opened from those alone, and not bound anew.
    pub(in crate::supervision) const fn is_free(&self) -> bool {
        let bound_by_others = self.members > 0 && self.socket.is_none();
        !self.leased && self.owner.is_none() && !bound_by_others
    }

    /// Whether it is opened when a sibling of its all-or-nothing run is. One
    /// that was quarantined for a crash stays where it is.
    pub(in crate::supervision) fn joins_siblings(&self) -> bool {
        let crashed = self.fault.is_some_and(|fault| fault.kind.is_crash());
        let crashed = self.state == EndpointState::Quarantined && crashed;
        let locked = crashed || self.state.is_held();
        self.is_free() && !self.is_fd_limited() && !locked
    }

    /// An endpoint beyond the fd budget is not tried at all.
    pub(in crate::supervision) fn is_fd_limited(&self) -> bool {
        self.fault.is_some_and(|fault| fault.kind == FaultKind::FdLimit)
    }

    pub(in crate::supervision) fn lease(&mut self) {
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

    /// The attempt did not take place; the next one is at `due`.
    pub(in crate::supervision) const fn give_back(&mut self, due: Instant) {
        self.leased = false;
        self.attempts = self.attempts.saturating_sub(1);
        if !self.state.is_held() {
            self.due = Some(due);
        }
    }

    /// It listens, opened under this lease. Returns whether it had failed.
    pub(in crate::supervision) fn open(
        &mut self,
        lease: Lease,
        port: u16,
        socket: Option<S>,
    ) -> bool {
        self.leased = false;
        self.judgement = Judgement::Over;
        self.attempts = 0;
        self.number = port;
        self.socket = socket;
        self.owner = Some(lease.worker);
        self.epoch = lease.epoch;
        self.fault.take().is_some()
    }

    /// Nobody serves it any more; its next attempt is at `due`.
    pub(in crate::supervision) const fn let_go(&mut self, fault: Fault, due: Option<Instant>) {
        self.owner = None;
        self.fault = Some(fault);
        self.judgement = Judgement::Over;
        self.due = due;
    }
}
