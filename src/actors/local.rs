//! What everything on one worker's thread shares: counters, the read buffer,
//! a coarse clock, and who is alive.
//!
//! Reached through an `Rc`, so it never leaves the thread. It outlives the
//! Worker actor, and holds no decision of its own.

#[cfg(feature = "fault-injection")]
mod poison;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use actix::{Actor, Context, Handler, WeakAddr};
use slab::Slab;
use tokio::sync::Notify;

use super::listener::Listener;
use super::protocol::{
    ActorEnded, CloseListener, EndSession, ListenerCrashed, ListenerFailed, SessionFailed,
    WorkerDrained,
};
use super::session::SessionHandle;
use super::share::WorkerShare;
use super::udp_listener::UdpListener;
use super::watch::Ended;
use crate::net::accept::shortage::Shortage;
use crate::net::bind::Bound;
use crate::net::datagram::DatagramPool;
use crate::supervision::{Fault, Lease, Place, Slot, WorkerId};

/// Size of the buffer that all sessions of a thread read into. Unit: bytes.
const SCRATCH: usize = 64 * 1024;

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
    async fn close(self) {
        match self {
            Self::Tcp(addr) => close(&addr).await,
            Self::Udp(addr) => close(&addr).await,
        }
    }
}

async fn close<A>(listener: &WeakAddr<A>)
where
    A: Actor<Context = Context<A>> + Handler<CloseListener>,
{
    if let Some(listener) = listener.upgrade() {
        let _gone = listener.send(CloseListener).await;
    }
}

/// A listener that lives on this thread.
struct ListenerEntry {
    addr: ListenerAddr,
    lease: Lease,
    socket: Bound,
    /// Why it was told to close, when that was not the drain's doing.
    given_up: Option<Fault>,
}

struct SessionEntry {
    session: SessionHandle,
    #[cfg(feature = "fault-injection")]
    peer: SocketAddr,
}

/// An opening under way.
pub(crate) struct OpeningGuard(Rc<WorkerLocal>);

impl Drop for OpeningGuard {
    fn drop(&mut self) {
        self.0.opening.set(self.0.opening.get() - 1);
        self.0.gone.notify_one();
    }
}

/// One worker thread's own state.
pub(crate) struct WorkerLocal {
    pub(crate) id: WorkerId,
    pub(crate) share: WorkerShare,
    pub(crate) scratch: RefCell<Box<[u8]>>,
    /// Made for the first datagram.
    datagrams: OnceCell<RefCell<DatagramPool>>,
    now: Cell<Instant>,
    /// How long this thread had run at the last tick.
    pub(super) ran: Cell<Duration>,
    draining: Cell<bool>,
    sessions: RefCell<Slab<SessionEntry>>,
    /// A chunk is opened in order: that fills a tree from one end, and never moves it.
    listeners: RefCell<BTreeMap<Place, ListenerEntry>>,
    /// Lets the listeners try again one by one when there was no room.
    pub(crate) shortage: Rc<Shortage>,
    /// The panic of the session that is being dropped, if it is one.
    pub(crate) session_panic: RefCell<Option<String>>,
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
                scratch: RefCell::new(vec![0; SCRATCH].into_boxed_slice()),
                datagrams: OnceCell::new(),
                now: Cell::new(Instant::now()),
                ran: Cell::default(),
                draining: Cell::new(false),
                opening: Cell::new(0),
                sessions: RefCell::default(),
                listeners: RefCell::default(),
                shortage: Rc::default(),
                session_panic: RefCell::default(),
                gone: Notify::new(),
            });
            HERE.set(Some(Rc::clone(&local)));
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
            self.expire_sessions();
            before = now;
        }
    }

    /// Where this thread's datagrams are while they are answered.
    pub(crate) fn datagrams(&self) -> &RefCell<DatagramPool> {
        self.datagrams.get_or_init(RefCell::default)
    }

    /// Closes every listener, lets the sessions end, and says so.
    pub(crate) fn drain(self: Rc<Self>) {
        if self.draining.replace(true) {
            return;
        }
        self.stop_taking();
        actix::spawn(async move {
            let listeners: Vec<_> =
                self.listeners.borrow().values().map(|entry| entry.addr.clone()).collect();
            for listener in listeners {
                listener.close().await;
            }
            self.emptied().await;
            let _ending = self.share.supervisor.deliver(WorkerDrained { worker: self.id }).await;
        });
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

    pub(crate) fn set_now(&self, now: Instant) {
        self.now.set(now);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Registers the session that `start` starts under the key it is given.
    pub(crate) fn enter_session(
        &self,
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
        self.gone.notify_one();
    }

    pub(crate) fn enter_listener(
        &self,
        place: Place,
        lease: Lease,
        addr: ListenerAddr,
        socket: Bound,
    ) {
        self.listeners
            .borrow_mut()
            .insert(place, ListenerEntry { addr, lease, socket, given_up: None });
    }

    /// Has a listener close its socket, which is of no more use for this reason;
    /// the supervisor is told when it has. Does nothing where it is gone already.
    pub(crate) fn give_up_listener(&self, place: Place, lease: Lease, fault: Fault) {
        let mut listeners = self.listeners.borrow_mut();
        if let Some(entry) = listeners.get_mut(&place).filter(|entry| entry.lease == lease) {
            entry.given_up = Some(fault);
            actix::spawn(entry.addr.clone().close());
        }
    }

    /// Forgets a listener; what was known of it.
    fn leave_listener(&self, place: Place) -> Option<ListenerEntry> {
        let entry = self.listeners.borrow_mut().remove(&place);
        self.gone.notify_one();
        entry
    }

    /// The listeners of this thread, with their leases and sockets.
    pub(crate) fn listeners(&self) -> Vec<(Slot, Lease, Bound)> {
        let listeners = self.listeners.borrow();
        let row = |(place, entry): (&Place, &ListenerEntry)| {
            (place.slot, entry.lease, entry.socket.clone())
        };
        listeners.iter().map(row).collect()
    }

    /// A listener's actor is gone; a panic, and the end of one that was given
    /// up, is told to the supervisor.
    pub(crate) fn listener_ended(&self, place: Place, ended: Ended) {
        let Some(ListenerEntry { lease, given_up, .. }) = self.leave_listener(place) else {
            return;
        };
        if let Ended::Panicked(panic) = ended {
            let crashed = ListenerCrashed { place, lease, panic };
            let _ending = self.share.ended.send(ActorEnded::Listener(crashed));
        } else if let Some(fault) = given_up {
            self.tell_of_failure(ListenerFailed { place, lease, fault });
        }
    }

    /// Tells each session whose deadline has passed. A full mailbox is told
    /// again at the next tick.
    pub(crate) fn expire_sessions(&self) {
        let quiet = self.share.settings.quiet.filter(|_| self.is_draining());
        let limits = &self.share.settings.limits;
        for (_, entry) in self.sessions.borrow().iter() {
            if let Some(expired) = entry.session.clock().expired(self.now(), limits, quiet) {
                entry.session.tell(EndSession(expired));
            }
        }
    }

    /// Notes that a chunk is being opened, until the guard is dropped.
    pub(crate) fn begin_opening(self: &Rc<Self>) -> OpeningGuard {
        self.opening.set(self.opening.get() + 1);
        OpeningGuard(Rc::clone(self))
    }

    /// Resolves when no listener and no session is left.
    async fn emptied(&self) {
        while self.opening.get() > 0
            || !self.listeners.borrow().is_empty()
            || !self.sessions.borrow().is_empty()
        {
            self.gone.notified().await;
        }
    }

    /// Tells the supervisor that a listener failed. Waits for room in its
    /// mailbox: this must not be lost.
    pub(crate) fn report_listener(&self, place: Place, fault: Fault) {
        let lease = self.listeners.borrow().get(&place).map(|entry| entry.lease);
        let Some(lease) = lease else { return };
        self.tell_of_failure(ListenerFailed { place, lease, fault });
    }

    fn tell_of_failure(&self, failed: ListenerFailed) {
        let supervisor = self.share.supervisor.clone();
        actix::spawn(async move {
            let _ending = supervisor.deliver(failed).await;
        });
    }

    /// Hands a session's failure to the error log, or counts that it was full.
    pub(crate) fn report_session(&self, failed: SessionFailed) {
        if self.share.failures.try_send(failed).is_err() {
            self.share.unlogged.fetch_add(1, Ordering::Relaxed);
        }
    }
}
