//! What operators order, carried out: suspend, drain, resume, retry.
//!
//! States are the table's; this tells the threads what follows from them, and
//! whoever waits when it is done.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::{Desk, Part, listing};
use crate::actors::local::WorkerLocal;
use crate::actors::protocol::{
    AwaitClosed, Change, ChangeEndpoints, ChangeSlice, CutSession, Locked, Sessions,
};
use crate::supervision::{EndpointState, Hold, Lease, Place, WorkerId};

/// Most endpoints that one slice looks at.
const SLICE: u64 = 1024;
/// Between two looks at endpoints that drain.
const LOOK: Duration = Duration::from_millis(100);
/// A session that was cut and still lives after this long is on a thread that
/// hangs.
const GRACE: Duration = Duration::from_secs(2);
/// Longest wait of an operator for listeners to close.
const PATIENCE: Duration = Duration::from_secs(2);

/// Orders that are not carried out yet.
#[derive(Debug, Default)]
pub(super) struct Orders {
    /// How sessions end once their endpoint's listener is gone.
    cuts: HashMap<Place, CutSession>,
    /// Endpoints that drain, each with its deadline.
    drains: HashMap<Place, Option<Instant>>,
    waiters: Vec<Waiter>,
    /// When to look at the drains again.
    look_at: Option<Instant>,
}

/// Somebody who waits for listeners to be gone.
#[derive(Debug)]
struct Waiter {
    left: HashSet<Place>,
    deadline: Instant,
    tell: mpsc::Sender<u64>,
}

impl Orders {
    /// When there is something to do by itself.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        let waiters = self.waiters.iter().map(|waiter| waiter.deadline);
        waiters.chain(self.look_at).min()
    }
}

impl Desk {
    /// Changes one slice of the endpoints that are named.
    pub(crate) fn change(
        &mut self,
        order: &ChangeEndpoints,
        now: Instant,
    ) -> Result<ChangeSlice, Locked> {
        if let Some(locked) = self.locked() {
            return Err(locked);
        }
        let mut slice = ChangeSlice::default();
        let mut at = Some(order.from);
        let mut changed = HashSet::new();
        for _ in 0..SLICE {
            let from = at.unwrap_or(order.from);
            at = order.selection.next_in(&self.setup.endpoints, from);
            let Some(index) = at else { break };
            at = Some(index + 1);
            let Some((group, endpoint, place, row)) = self.known(index) else { continue };
            if !order.selection.names(&listing::candidate(group, endpoint, place, &row)) {
                continue;
            }
            slice.matched += 1;
            if self.change_one(place, row.state, order.change, now) {
                changed.insert(place);
            }
            if self.setup.table.is_closing(place) {
                slice.closing.push(place);
            }
        }
        if slice.matched > 0 && order.change == Change::Retry {
            self.release_workers(now);
        }
        slice.changed = changed.len() as u64;
        slice.next = at;
        let drains = matches!(order.change, Change::Drain | Change::Remove);
        self.tell_of_drains(changed, drains);
        Ok(slice)
    }

    /// Whether the endpoint is different now.
    fn change_one(
        &mut self,
        place: Place,
        state: EndpointState,
        change: Change,
        now: Instant,
    ) -> bool {
        let table = &mut self.setup.table;
        match change {
            Change::Suspend { sessions, time } => {
                // A time that no clock can show is no time.
                let until = time.and_then(|time| now.checked_add(time));
                self.orders.drains.remove(&place);
                // A second order replaces the first.
                self.orders.cuts.remove(&place);
                let cut = match sessions {
                    Sessions::Keep => None,
                    Sessions::Fin => Some(CutSession::Fin),
                    Sessions::Reset => Some(CutSession::Reset),
                };
                self.orders.cuts.extend(cut.map(|cut| (place, cut)));
                table.hold(place, Hold::Suspended(until)).is_ok()
                    && state != EndpointState::Suspended
            }
            Change::Drain if state == EndpointState::Draining => false,
            Change::Drain => {
                self.drain_one(place, now);
                self.setup.table.hold(place, Hold::Draining).is_ok()
            }
            Change::Resume => {
                self.orders.drains.remove(&place);
                self.orders.cuts.remove(&place);
                table.resume(place, now)
            }
            Change::Remove => {
                self.remove_one(place, now);
                true
            }
            Change::Retry => {
                self.crashes.remove(&Part::Endpoint(place));
                if let Some(restarts) = self.crashes.get_mut(&Part::Chunk(place.chunk)) {
                    restarts.release();
                }
                table.release(place, now)
            }
        }
    }

    /// An endpoint goes for good.
    pub(super) fn remove_one(&mut self, place: Place, now: Instant) {
        self.drain_one(place, now);
        self.crashes.remove(&Part::Endpoint(place));
        let _removed_before = self.setup.table.hold(place, Hold::Closed);
    }

    fn drain_one(&mut self, place: Place, now: Instant) {
        let timeout = self.in_force(|config| config.shutdown.drain_timeout);
        let deadline = timeout.and_then(|time| now.checked_add(time));
        self.orders.drains.insert(place, deadline);
        self.orders.look_at.get_or_insert(now);
    }

    /// Workers that crashed too often are tried again: a slot has no endpoint's
    /// name, so each retry means it.
    fn release_workers(&mut self, now: Instant) {
        for slot in &mut self.slots {
            if slot.greeted && slot.addr.is_none() {
                slot.restart_at = Some(now);
                self.crashes.remove(&Part::Worker(slot.id));
            }
        }
    }

    /// Does what follows from orders: listeners close, sessions end.
    pub(super) fn follow_orders(&mut self, now: Instant) {
        self.send_closings();
        self.send_cuts();
        for chunk in self.setup.table.retire() {
            self.crashes.remove(&Part::Chunk(chunk));
        }
        if self.orders.look_at.is_some_and(|due| due <= now) {
            self.look_at_drains(now);
        }
        self.answer_waiters(now);
    }

    /// A Supervisor begins: its predecessor may have died before it told anybody.
    pub(super) fn repeat_orders(&mut self) {
        self.setup.table.close_again();
        self.tell_of_drains(self.orders.drains.keys().copied().collect(), true);
    }

    pub(crate) fn listeners_closed(&mut self, listeners: &[(Place, Lease)]) {
        for (place, lease) in listeners {
            // Told twice, or it ended by itself meanwhile.
            let _known = self.setup.table.listener_closed(*place, *lease);
        }
    }

    pub(crate) fn await_closed(&mut self, wait: AwaitClosed, now: Instant) {
        let left = wait.places.iter().copied().collect();
        let deadline = now + PATIENCE;
        self.orders.waiters.push(Waiter { left, deadline, tell: wait.tell });
    }

    pub(super) fn answer_waiters(&mut self, now: Instant) {
        let table = &self.setup.table;
        self.orders.waiters.retain_mut(|waiter| {
            waiter.left.retain(|place| table.is_closing(*place));
            let over = waiter.left.is_empty() || waiter.deadline <= now;
            if over {
                let _nobody_waits = waiter.tell.try_send(waiter.left.len() as u64);
            }
            !over
        });
    }

    fn send_closings(&mut self) {
        let mut by_worker: HashMap<WorkerId, Vec<(Place, Lease)>> = HashMap::new();
        for (place, lease) in self.setup.table.take_closings() {
            by_worker.entry(lease.worker).or_default().push((place, lease));
        }
        for (worker, listeners) in by_worker {
            let listeners: Arc<[_]> = listeners.into();
            self.on_threads(
                |slot| slot == worker,
                move |local| {
                    WorkerLocal::close_listeners(local, Arc::clone(&listeners));
                },
            );
        }
    }

    /// Ends sessions whose endpoint's listener is gone: from here on there are
    /// no new ones.
    fn send_cuts(&mut self) {
        if self.orders.cuts.is_empty() {
            return;
        }
        let table = &self.setup.table;
        let mut due: HashMap<CutSession, HashSet<Place>> = HashMap::new();
        self.orders.cuts.retain(|place, cut| {
            let waits = table.is_closing(*place);
            if !waits {
                due.entry(*cut).or_default().insert(*place);
            }
            waits
        });
        for (cut, places) in due {
            self.cut(places, cut);
        }
    }

    pub(super) fn cut(&self, places: HashSet<Place>, cut: CutSession) {
        let places = Arc::new(places);
        self.on_threads(|_| true, move |local| local.cut_sessions(&places, cut));
    }

    /// Tells every thread which endpoints drain, or do no longer.
    pub(super) fn tell_of_drains(&self, places: HashSet<Place>, drains: bool) {
        if !places.is_empty() {
            let places = Arc::new(places);
            self.on_threads(|_| true, move |local| local.drain_sessions(&places, drains));
        }
    }

    fn look_at_drains(&mut self, now: Instant) {
        let (mut over, mut overdue) = (HashSet::new(), HashSet::new());
        for (place, deadline) in &self.orders.drains {
            let meters = self.setup.meters.get(&place.chunk);
            let active = meters.map_or(0, |meters| meters.read(place.slot).active());
            let late = deadline.is_some_and(|deadline| deadline <= now);
            let lost = deadline.is_some_and(|deadline| deadline + GRACE <= now);
            if self.setup.table.is_closing(*place) && !lost {
                continue;
            }
            if active == 0 || lost {
                over.insert(*place);
            } else if late {
                overdue.insert(*place);
            }
        }
        for place in &over {
            self.orders.drains.remove(place);
            self.setup.table.drained(*place);
        }
        self.tell_of_drains(over, false);
        if !overdue.is_empty() {
            self.cut(overdue, CutSession::Overdue);
        }
        self.orders.look_at = (!self.orders.drains.is_empty()).then(|| now + LOOK);
        if self.orders.drains.is_empty() {
            // Whoever was removed is counted until its last session has ended.
            let table = &self.setup.table;
            self.setup.meters.retain(|chunk, _| table.state(*chunk).is_some());
        }
    }

    /// Runs this on the threads of some workers, and says on how many.
    pub(super) fn on_threads(
        &self,
        which: impl Fn(WorkerId) -> bool,
        order: impl Fn(Rc<WorkerLocal>) + Clone + Send + 'static,
    ) -> usize {
        let mut told = 0;
        for slot in self.slots.iter().filter(|slot| which(slot.id)) {
            told += usize::from(self.on_thread(slot.id, order.clone()));
        }
        told
    }

    /// Runs this on the thread of a worker, whether a Worker lives there or not;
    /// false where there is no thread.
    pub(super) fn on_thread(
        &self,
        worker: WorkerId,
        order: impl FnOnce(Rc<WorkerLocal>) + Send + 'static,
    ) -> bool {
        let mut workers = self.slots.iter().zip(&self.setup.shares);
        let Some((slot, share)) = workers.find(|(slot, _)| slot.id == worker) else { return false };
        let Some(thread) = &slot.thread else { return false };
        let share = share.clone();
        // A thread that has ended is noticed at its next heartbeat.
        thread.spawn_fn(move || order(WorkerLocal::here(worker, share)))
    }
}
