//! What operators order of a thread: listeners close, sessions end.
//!
//! Orders come from the desk by place, and not to a Worker: one may be dead
//! while its listeners and sessions live.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use super::{ListenerAddr, SessionEntry, WorkerLocal};
use crate::actors::protocol::{CloseListener, CutSession, ListenersClosed, LookAgain};
use crate::supervision::{Lease, Place};

impl WorkerLocal {
    /// Closes these listeners, and says so when they are gone, also of those
    /// that are gone already.
    pub(crate) fn close_listeners(self: Rc<Self>, listeners: Arc<[(Place, Lease)]>) {
        actix::spawn(async move {
            for (place, lease) in listeners.iter() {
                if let Some(addr) = self.listener_under(*place, *lease) {
                    addr.close(CloseListener::Emptied).await;
                }
            }
            let gone = || !listeners.iter().any(|(place, lease)| self.serves(*place, *lease));
            self.until(gone).await;
            let _ending = self.share.supervisor.deliver(ListenersClosed { listeners }).await;
        });
    }

    /// Ends the sessions of these endpoints.
    pub(crate) fn cut_sessions(&self, places: &HashSet<Place>, cut: CutSession) {
        for (_, entry) in self.sessions.borrow().iter() {
            if places.contains(&entry.place) {
                entry.cut.set(Some(cut));
                tell_cut(entry);
            }
        }
    }

    /// Counts the sessions of this thread among those of their sources.
    pub(crate) fn count_sources(&self) {
        for (_, entry) in self.sessions.borrow().iter() {
            entry.session.count_source(&self.share.admission);
        }
    }

    /// Has the listeners that wait for room see whether clients still wait for it.
    pub(crate) fn look_again(&self) {
        for entry in self.listeners.borrow().values() {
            if let ListenerAddr::Tcp(addr) = &entry.addr
                && let Some(listener) = addr.upgrade()
            {
                // One that finds no room has mail, and is polled for that.
                let _full = listener.try_send(LookAgain);
            }
        }
    }

    /// From now on sessions of these endpoints end when they are quiet, or no
    /// longer for that.
    pub(crate) fn drain_sessions(&self, places: &HashSet<Place>, drains: bool) {
        let mut draining = self.draining_places.borrow_mut();
        if drains {
            draining.extend(places);
        } else {
            draining.retain(|place| !places.contains(place));
        }
    }
}

/// Tells a session that it was cut. A full mailbox is told again at the next tick.
pub(super) fn tell_cut(entry: &SessionEntry) {
    if let Some(cut) = entry.cut.get()
        && entry.session.tell(cut)
    {
        entry.cut.set(None);
    }
}
