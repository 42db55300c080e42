//! Where an accepted connection becomes a session: on the thread that accepted
//! it, or on the one that has least to do.
//!
//! A connection on its way lies in the other worker's mailbox ([`Roster`]), and
//! is known to no runtime there. It is booked where it becomes a session.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::local::WorkerLocal;
use super::protocol::SessionAccepted;
use super::records::Records;
use super::roster::Roster;
use super::session;
use crate::net::sys;
use crate::supervision::{AccessReason, EndReason, WorkerCounters, WorkerId};

/// Sessions of others in a row before other tasks of the thread have their turn.
const TAKEN_A_TURN: usize = 16;

/// Shuts the mailbox of a thread that ends: what is in it is left to others.
struct Presence(Arc<Roster<SessionAccepted>>, WorkerId);

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.leave(self.1);
    }
}

impl WorkerLocal {
    /// Starts the session of a connection that this thread has accepted, here or
    /// on the least loaded worker.
    pub(crate) fn place_session(self: &Rc<Self>, accepted: SessionAccepted) {
        if self.is_draining() {
            return self.begin_session(accepted);
        }
        if let Err(stays) = self.share.roster.give(self.id, accepted, self.now()) {
            self.begin_session(stays);
        }
    }

    fn begin_session(self: &Rc<Self>, accepted: SessionAccepted) {
        let SessionAccepted { served, group, accepted } = accepted;
        session::begin(self, served, &group, accepted);
    }

    /// Starts the sessions that others accepted for this thread, until it ends.
    pub(super) async fn take_sessions(self: Rc<Self>) {
        if self.is_draining() {
            // The thread was made to be told so: its mailbox stays shut.
            return;
        }
        let roster = Arc::clone(&self.share.roster);
        let _presence = Presence(Arc::clone(&roster), self.id);
        roster.open(self.id, Instant::now());
        let mut turn = 0;
        while let Some(accepted) = roster.next(self.id).await {
            self.set_now(Instant::now());
            self.begin_session(accepted);
            turn += 1;
            if turn % TAKEN_A_TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Shows that this thread runs and how busy it is, and takes what waits for
    /// threads that do not. Called at each tick.
    pub(super) fn show_itself(self: &Rc<Self>, now: Instant, before: Instant) {
        let roster = &self.share.roster;
        roster.show(self.id, now);
        if let (Some(load), Ok(time)) = (roster.load(self.id), sys::thread_time()) {
            let ran = time.saturating_sub(self.ran.replace(time));
            load.ran(ran, now.saturating_duration_since(before));
        }
        if !self.is_draining() {
            self.adopt_abandoned(now);
        }
    }

    /// Accepts nothing more from others; what waited begins here.
    pub(super) fn stop_taking(self: &Rc<Self>) {
        for accepted in self.share.roster.close(self.id) {
            self.begin_session(accepted);
        }
        self.adopt_abandoned(Instant::now());
    }

    fn adopt_abandoned(self: &Rc<Self>, now: Instant) {
        for accepted in self.share.roster.take_abandoned(now) {
            self.begin_session(accepted);
        }
    }
}

/// At the end of the service, when every thread is joined: what still waits in a
/// mailbox is cut off.
pub(crate) fn cut_off(
    roster: &Roster<SessionAccepted>,
    counters: &WorkerCounters,
    records: Option<&Records>,
) {
    for accepted in roster.close_all() {
        counters.session_accepted();
        counters.session_ended(EndReason::Forced);
        if let Some(records) = records {
            let SessionAccepted { served, group, accepted } = &accepted;
            let (to, reason) = ((&served.endpoint, &group.name), EndReason::Forced);
            let dialled = || accepted.stream.local_addr();
            records.never_served(to, accepted.peer, dialled, AccessReason::Ended(reason));
        }
        drop(accepted);
    }
}
