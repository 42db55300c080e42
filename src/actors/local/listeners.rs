//! The listeners of a thread: which there are, under which lease, and how each
//! ended. Decides nothing about what becomes of their endpoints.

use super::{ListenerAddr, ListenerEntry, WorkerLocal};
use crate::actors::protocol::{ActorEnded, CloseListener, ListenerCrashed, ListenerFailed};
use crate::actors::watch::Ended;
use crate::net::bind::Bound;
use crate::supervision::{Fault, Lease, Place, Slot};

impl WorkerLocal {
    pub(crate) fn enter_listener(
        &self,
        place: Place,
        lease: Lease,
        addr: ListenerAddr,
        socket: Bound,
    ) {
        self.listeners
            .borrow_mut()
            .insert((place, lease.epoch), ListenerEntry { addr, socket, given_up: None });
    }

    /// Has a listener close its socket, which is of no more use for this reason;
    /// the supervisor is told when it has. Does nothing where it is gone already.
    pub(crate) fn give_up_listener(&self, place: Place, lease: Lease, fault: Fault) {
        let mut listeners = self.listeners.borrow_mut();
        if let Some(entry) = listeners.get_mut(&(place, lease.epoch)) {
            entry.given_up = Some(fault);
            actix::spawn(entry.addr.clone().close(CloseListener::Emptied));
        }
    }

    /// Forgets a listener; what was known of it.
    fn leave_listener(&self, place: Place, epoch: u64) -> Option<ListenerEntry> {
        let entry = self.listeners.borrow_mut().remove(&(place, epoch));
        self.gone.notify_waiters();
        entry
    }

    /// Whether this sub-lease is news. The Supervisor tells of them in order, and
    /// its successor of all that last.
    pub(crate) fn hears_first(&self, lease: Lease) -> bool {
        let first = self.last_member.get() < lease.epoch;
        self.last_member.set(self.last_member.get().max(lease.epoch));
        first
    }

    const fn lease(&self, place: Place, epoch: u64) -> Lease {
        Lease { chunk: place.chunk, worker: self.id, epoch }
    }

    /// Whether the listener that was opened under this lease lives here.
    pub(super) fn serves(&self, place: Place, lease: Lease) -> bool {
        self.listeners.borrow().contains_key(&(place, lease.epoch))
    }

    pub(super) fn listener_under(&self, place: Place, lease: Lease) -> Option<ListenerAddr> {
        let listeners = self.listeners.borrow();
        listeners.get(&(place, lease.epoch)).map(|entry| entry.addr.clone())
    }

    /// The listeners of this thread, with their leases and sockets.
    pub(crate) fn listeners(&self) -> Vec<(Slot, Lease, Bound)> {
        let listeners = self.listeners.borrow();
        let row = |((place, epoch), entry): (&(Place, u64), &ListenerEntry)| {
            (place.slot, self.lease(*place, *epoch), entry.socket.clone())
        };
        listeners.iter().map(row).collect()
    }

    /// A listener's actor is gone; a panic, and the end of one that was given
    /// up, is told to the supervisor.
    pub(crate) fn listener_ended(&self, place: Place, epoch: u64, ended: Ended) {
        let Some(ListenerEntry { given_up, .. }) = self.leave_listener(place, epoch) else {
            return;
        };
        let lease = self.lease(place, epoch);
        if let Ended::Panicked(panic) = ended {
            let crashed = ListenerCrashed { place, lease, panic };
            let _ending = self.share.ended.send(ActorEnded::Listener(crashed));
        } else if let Some(fault) = given_up {
            self.tell_of_failure(ListenerFailed { place, lease, fault });
        }
    }

    /// Tells the supervisor that a listener failed. Waits for room in its
    /// mailbox: this must not be lost.
    pub(crate) fn report_listener(&self, place: Place, epoch: u64, fault: Fault) {
        let lease = self.lease(place, epoch);
        self.tell_of_failure(ListenerFailed { place, lease, fault });
    }

    pub(crate) fn tell_of_failure(&self, failed: ListenerFailed) {
        let supervisor = self.share.supervisor.clone();
        actix::spawn(async move {
            let _ending = supervisor.deliver(failed).await;
        });
    }
}
