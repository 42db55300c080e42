//! What everything on one worker's thread shares: counters, the read buffer,
//! a coarse clock, and who is alive.
//!
//! Reached through an `Rc`, so it never leaves the thread. It outlives the
//! Worker actor, and holds no decision of its own.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix::{Addr, Recipient};
use slab::Slab;
use tokio::sync::{Notify, Semaphore};

use super::error_log::ErrorLog;
use super::protocol::{CloseListener, EndSession, ListenerFailed, SessionFailed};
use super::session::EchoSession;
use super::supervisor::Supervisor;
use crate::spec::Address;
use crate::supervision::{
    DropReason, Place, SessionClock, SessionGauge, SessionLimits, WorkerCounters, WorkerId,
};

/// Size of the buffer that all sessions and listeners of a thread read into.
/// Unit: bytes; a UDP datagram of 65,507 fits (RFC 768).
const SCRATCH: usize = 64 * 1024;

/// What the service gives to each of its workers. Crosses threads.
#[derive(Debug, Clone)]
pub(crate) struct WorkerShare {
    pub(crate) counters: Arc<WorkerCounters>,
    /// Over all workers.
    pub(crate) gauge: Arc<SessionGauge>,
    /// One permit a session, over all workers.
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) first_drops: Arc<FirstDrops>,
    pub(crate) settings: Arc<SessionSettings>,
    /// Session failures that did not fit into the error log's queue.
    pub(crate) unlogged: Arc<AtomicU64>,
    pub(crate) supervisor: Addr<Supervisor>,
    pub(crate) error_log: Addr<ErrorLog>,
}

/// What all sessions and listeners of a service have in common.
#[derive(Debug)]
pub(crate) struct SessionSettings {
    pub(crate) limits: SessionLimits,
    pub(crate) keepalive: Option<Duration>,
    pub(crate) quiet: Option<Duration>,
    pub(crate) receive_buffer: Option<u32>,
    /// `net.ipv4.ip_nonlocal_bind` and its IPv6 sister (ip(7)).
    pub(crate) nonlocal_bind: [bool; 2],
}

impl SessionSettings {
    /// Whether the kernel binds addresses that no interface has.
    pub(crate) const fn binds_absent(&self, address: Address) -> bool {
        match address.ip() {
            IpAddr::V4(_) => self.nonlocal_bind[0],
            IpAddr::V6(_) => self.nonlocal_bind[1],
        }
    }
}

/// Which reasons for dropping datagrams were warned about already.
#[derive(Debug, Default)]
pub(crate) struct FirstDrops(AtomicU32);

impl FirstDrops {
    /// Says what was dropped and which key decides about it, the first time.
    pub(crate) fn warn_once(&self, reason: DropReason) {
        let bit = 1 << reason.index();
        if self.0.load(Ordering::Relaxed) & bit == 0
            && self.0.fetch_or(bit, Ordering::Relaxed) & bit == 0
        {
            let key = reason.key().unwrap_or("none: it is never answered");
            tracing::warn!(%reason, key, "a datagram got no answer; further ones are only counted");
        }
    }
}

struct SessionEntry {
    addr: Addr<EchoSession>,
    clock: Rc<SessionClock>,
}

/// One worker thread's own state.
pub(crate) struct WorkerLocal {
    pub(crate) id: WorkerId,
    pub(crate) share: WorkerShare,
    pub(crate) scratch: RefCell<Box<[u8]>>,
    now: Cell<Instant>,
    draining: Cell<bool>,
    sessions: RefCell<Slab<SessionEntry>>,
    listeners: RefCell<HashMap<Place, Recipient<CloseListener>>>,
    /// Told when a session or a listener is gone.
    gone: Notify,
}

impl WorkerLocal {
    pub(crate) fn new(id: WorkerId, share: WorkerShare) -> Rc<Self> {
        Rc::new(Self {
            id,
            share,
            scratch: RefCell::new(vec![0; SCRATCH].into_boxed_slice()),
            now: Cell::new(Instant::now()),
            draining: Cell::new(false),
            sessions: RefCell::default(),
            listeners: RefCell::default(),
            gone: Notify::new(),
        })
    }

    /// The time of the last tick or accept: good enough for deadlines.
    pub(crate) fn now(&self) -> Instant {
        self.now.get()
    }

    pub(crate) fn set_now(&self, now: Instant) {
        self.now.set(now);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    pub(crate) fn begin_drain(&self) {
        self.draining.set(true);
    }

    /// Registers the session that `start` starts under the key it is given.
    pub(crate) fn enter_session(
        &self,
        clock: &Rc<SessionClock>,
        start: impl FnOnce(usize) -> Addr<EchoSession>,
    ) {
        let mut sessions = self.sessions.borrow_mut();
        let vacant = sessions.vacant_entry();
        let addr = start(vacant.key());
        vacant.insert(SessionEntry { addr, clock: Rc::clone(clock) });
    }

    pub(crate) fn leave_session(&self, key: usize) {
        let entry = self.sessions.borrow_mut().try_remove(key);
        drop(entry);
        self.gone.notify_one();
    }

    pub(crate) fn enter_listener(&self, place: Place, closer: Recipient<CloseListener>) {
        self.listeners.borrow_mut().insert(place, closer);
    }

    pub(crate) fn leave_listener(&self, place: Place) {
        let closer = self.listeners.borrow_mut().remove(&place);
        drop(closer);
        self.gone.notify_one();
    }

    /// Everybody who can close a listener of this thread.
    pub(crate) fn closers(&self) -> Vec<Recipient<CloseListener>> {
        self.listeners.borrow().values().cloned().collect()
    }

    /// Tells each session whose deadline has passed. A full mailbox is told
    /// again at the next tick.
    pub(crate) fn expire_sessions(&self) {
        let quiet = self.share.settings.quiet.filter(|_| self.is_draining());
        let limits = &self.share.settings.limits;
        for (_, entry) in self.sessions.borrow().iter() {
            if let Some(expired) = entry.clock.expired(self.now(), limits, quiet) {
                let _full = entry.addr.try_send(EndSession(expired));
            }
        }
    }

    /// Resolves when no listener and no session is left.
    pub(crate) async fn emptied(&self) {
        while !self.listeners.borrow().is_empty() || !self.sessions.borrow().is_empty() {
            self.gone.notified().await;
        }
    }

    /// Tells the supervisor that a listener failed. Waits for room in its
    /// mailbox: this must not be lost.
    pub(crate) fn report_listener(&self, failed: ListenerFailed) {
        let supervisor = self.share.supervisor.clone();
        actix::spawn(async move {
            let _gone = supervisor.send(failed).await;
        });
    }

    /// Hands a session's failure to the error log, or counts that it was full.
    pub(crate) fn report_session(&self, failed: SessionFailed) {
        if self.share.error_log.try_send(failed).is_err() {
            self.share.unlogged.fetch_add(1, Ordering::Relaxed);
        }
    }
}
