//! What everything on one worker's thread shares: counters, the read buffer,
//! a coarse clock, and who is alive.
//!
//! Reached through an `Rc`, so it never leaves the thread. It outlives the
//! Worker actor, and holds no decision of its own.

mod ending;
mod gate;
mod holding;
mod listeners;
#[cfg(feature = "fault-injection")]
mod poison;
mod scratch;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::{Duration, Instant};

use actix::{Actor, Arbiter, Context, Handler, WeakAddr};
use slab::Slab;
use tokio::sync::Notify;

use super::flows::Flows;
use super::listener::Listener;
use super::protocol::{CloseListener, CutSession, EndSession, SessionFailed};
use super::session::SessionHandle;
use super::share::WorkerShare;
use super::udp_listener::UdpListener;
use crate::net::accept::shortage::Shortage;
use crate::net::bind::Bound;
use crate::net::datagram::DatagramPool;
use crate::net::reactor::Reactor;
use crate::supervision::{Fault, Place, Stamp, WorkerId};
pub(crate) use gate::Gate;
use scratch::Scratch;

thread_local! {
    /// The worker state of this thread, for whoever runs on it next.
    static HERE: RefCell<Option<Rc<WorkerLocal>>> = const { RefCell::new(None) };
}

/// How often deadlines are looked at: they are met within this much.
const TICK: Duration = Duration::from_millis(100);

/// The address of a listener's actor. A weak one: a listener lives by what it
/// serves, and a strong address costs 80 bytes.
#[derive(Debug, Clone)]
pub(crate) enum ListenerAddr {
    Tcp(WeakAddr<Listener>),
    Udp(WeakAddr<UdpListener>),
}

impl ListenerAddr {
    async fn close(self, how: CloseListener) {
        match self {
            Self::Tcp(addr) => close(&addr, how).await,
            Self::Udp(addr) => close(&addr, how).await,
        }
    }
}

async fn close<A>(listener: &WeakAddr<A>, how: CloseListener)
where
    A: Actor<Context = Context<A>> + Handler<CloseListener>,
{
    if let Some(listener) = listener.upgrade() {
        let _gone = listener.send(how).await;
    }
}

/// A listener that lives on this thread.
struct ListenerEntry {
    addr: ListenerAddr,
    socket: Bound,
    /// Why it was told to close, when that was not the drain's doing.
    given_up: Option<Fault>,
}

struct SessionEntry {
    session: SessionHandle,
    /// The endpoint that it came to.
    place: Place,
    /// An operator's order that it did not hear yet.
    cut: Cell<Option<CutSession>>,
    #[cfg(feature = "fault-injection")]
    peer: SocketAddr,
}

/// An opening under way.
pub(crate) struct OpeningGuard(Rc<WorkerLocal>);

impl Drop for OpeningGuard {
    fn drop(&mut self) {
        self.0.opening.set(self.0.opening.get() - 1);
        self.0.gone.notify_waiters();
    }
}

/// One worker thread's own state.
pub(crate) struct WorkerLocal {
    pub(crate) id: WorkerId,
    pub(crate) share: WorkerShare,
    pub(crate) scratch: RefCell<Box<Scratch>>,
    /// Made for the first datagram.
    datagrams: OnceCell<RefCell<DatagramPool>>,
    /// Polls the sessions that echo.
    reactor: OnceCell<Rc<Reactor>>,
    /// UDP flows, where they are recorded; made for the first datagram.
    pub(super) flows: RefCell<Option<Flows>>,
    now: Cell<Instant>,
    /// How long this thread had run at the last tick.
    pub(super) ran: Cell<Duration>,
    /// Nothing is opened or accepted any more.
    draining: Cell<bool>,
    /// Sessions end when they are quiet.
    sessions_end: Cell<bool>,
    /// Listeners that wait for the gate.
    gated: RefCell<Vec<Waker>>,
    sessions: RefCell<Slab<SessionEntry>>,
    /// By place, and by the epoch of the lease under which they serve: of one
    /// endpoint there may be several. A chunk is opened in order: that fills a
    /// tree from one end, and never moves it.
    listeners: RefCell<BTreeMap<(Place, u64), ListenerEntry>>,
    /// The epoch of the last sub-lease that this thread was told of.
    last_member: Cell<u64>,
    /// Endpoints whose sessions end when they are quiet.
    draining_places: RefCell<HashSet<Place>>,
    /// Lets the listeners try again one by one when there was no room.
    pub(crate) shortage: Rc<Shortage>,
    /// The panic of the session that is being dropped, if it is one.
    pub(crate) session_panic: RefCell<Option<String>>,
    /// What an own session that is being dropped said of its failure.
    pub(crate) session_error: RefCell<Option<String>>,
    /// Chunks that are being opened or reported; a drain waits for them.
    opening: Cell<usize>,
    /// Told when a session, a listener or an opening is gone.
    gone: Notify,
}

impl WorkerLocal {
    /// This thread's own state; made, with its clock, the first time it is asked for.
    pub(crate) fn here(id: WorkerId, share: WorkerShare) -> Rc<Self> {
        let known = HERE.with_borrow(Option::clone);
        known.unwrap_or_else(|| {
            let local = Rc::new(Self {
                id,
                share,
                scratch: RefCell::new(Scratch::new()),
                datagrams: OnceCell::new(),
                reactor: OnceCell::new(),
                flows: RefCell::default(),
                now: Cell::new(Instant::now()),
                ran: Cell::default(),
                draining: Cell::new(false),
                sessions_end: Cell::new(false),
                gated: RefCell::default(),
                opening: Cell::new(0),
                sessions: RefCell::default(),
                listeners: RefCell::default(),
                last_member: Cell::new(0),
                draining_places: RefCell::default(),
                shortage: Rc::default(),
                session_panic: RefCell::default(),
                session_error: RefCell::default(),
                gone: Notify::new(),
            });
            HERE.set(Some(Rc::clone(&local)));
            // Where there is no descriptor for it now, the first session tries again.
            let _later = local.reactor();
            actix::spawn(Rc::clone(&local).tick());
            actix::spawn(Rc::clone(&local).take_sessions());
            local
        })
    }

    /// Keeps the sessions to their deadlines, whether a Worker lives or not.
    async fn tick(self: Rc<Self>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut before = Instant::now();
        loop {
            ticks.tick().await;
            let now = Instant::now();
            self.set_now(now);
            self.show_itself(now, before);
            self.visit_sessions();
            if let Some(flows) = &mut *self.flows.borrow_mut() {
                flows.look(now);
            }
            before = now;
        }
    }

    /// Where this thread's datagrams are while they are answered.
    pub(crate) fn datagrams(&self) -> &RefCell<DatagramPool> {
        self.datagrams.get_or_init(|| {
            let mut pool = DatagramPool::default();
            pool.tap.keeps = self.share.records.as_ref().map(|records| records.capture());
            RefCell::new(pool)
        })
    }

    /// What polls the sessions that echo.
    ///
    /// # Errors
    /// As [`Reactor::new`], until there is one.
    pub(crate) fn reactor(&self) -> io::Result<&Rc<Reactor>> {
        if let Some(reactor) = self.reactor.get() {
            return Ok(reactor);
        }
        let made = Rc::new(Reactor::new()?);
        Ok(self.reactor.get_or_init(|| {
            let run = Rc::clone(&made).run();
            actix::spawn(async move {
                let error = run.await;
                tracing::error!(%error, "a worker's thread cannot watch its sessions, and ends");
                // Another one takes its place.
                Arbiter::current().stop();
            });
            made
        }))
    }

    /// Lets the first of those who wait for room try after this time.
    pub(crate) fn pause_accepting(&self, pause: Duration) {
        let shortage = Rc::clone(&self.shortage);
        actix::spawn(async move {
            tokio::time::sleep(pause).await;
            shortage.over();
        });
    }

    /// The time of the last tick or accept: good enough for deadlines.
    pub(crate) fn now(&self) -> Instant {
        self.now.get()
    }

    /// What a meter notes beside the time.
    pub(crate) fn stamp(&self) -> Stamp {
        let time = self.now().saturating_duration_since(self.share.started);
        Stamp { time, run: self.run() }
    }

    /// How often an operator has set a mark.
    pub(crate) fn run(&self) -> u64 {
        self.share.run.load(Ordering::Relaxed)
    }

    pub(crate) fn set_now(&self, now: Instant) {
        self.now.set(now);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Registers the session that `start` starts under the key it is given.
    pub(crate) fn enter_session(
        &self,
        place: Place,
        peer: SocketAddr,
        start: impl FnOnce(usize) -> SessionHandle,
    ) {
        let mut sessions = self.sessions.borrow_mut();
        let vacant = sessions.vacant_entry();
        let session = start(vacant.key());
        #[cfg(not(feature = "fault-injection"))]
        let _ = peer;
        vacant.insert(SessionEntry {
            session,
            place,
            cut: Cell::new(None),
            #[cfg(feature = "fault-injection")]
            peer,
        });
        self.count_sessions(sessions.len());
    }

    fn count_sessions(&self, count: usize) {
        if let Some(load) = self.share.roster.load(self.id) {
            load.set_sessions(count);
        }
    }

    pub(crate) fn leave_session(&self, key: usize) {
        let mut sessions = self.sessions.borrow_mut();
        let entry = sessions.try_remove(key);
        self.count_sessions(sessions.len());
        drop(sessions);
        drop(entry);
        self.gone.notify_waiters();
    }

    /// Has each session count what it moved, and tells it where its deadline has
    /// passed. A full mailbox is told again at the next tick.
    pub(crate) fn visit_sessions(&self) {
        let times = self.share.settings.times();
        let draining = self.draining_places.borrow();
        let stamp = self.stamp();
        for (_, entry) in self.sessions.borrow().iter() {
            holding::tell_cut(entry);
            entry.session.settle(stamp);
            let drains =
                self.sessions_end.get() || !draining.is_empty() && draining.contains(&entry.place);
            entry.session.drains(drains, self.now());
            let quiet = times.quiet.filter(|_| drains);
            if let Some(expired) = entry.session.clock().expired(self.now(), &times.limits, quiet) {
                entry.session.tell(EndSession(expired));
            }
        }
    }

    /// Notes that a chunk is being opened, until the guard is dropped.
    pub(crate) fn begin_opening(self: &Rc<Self>) -> OpeningGuard {
        self.opening.set(self.opening.get() + 1);
        OpeningGuard(Rc::clone(self))
    }

    /// Resolves when `holds`, which only the end of something can bring about.
    async fn until(&self, holds: impl Fn() -> bool) {
        while !holds() {
            // Nothing else runs on this thread until it waits.
            self.gone.notified().await;
        }
    }

    /// Hands a session's failure to the error log, or counts that it was full.
    pub(crate) fn report_session(&self, failed: SessionFailed) {
        if self.share.failures.try_send(failed).is_err() {
            self.share.unlogged.fetch_add(1, Ordering::Relaxed);
        }
    }
}
