//! Poison for what lives on a worker's thread. For tests alone.

use std::net::SocketAddr;
use std::rc::Rc;

use super::{HERE, ListenerAddr, WorkerLocal};
use crate::actors::poison::{Poison, order};

impl ListenerAddr {
    fn poison(&self) {
        match self {
            Self::Tcp(addr) => drop(addr.upgrade().map(|addr| order(addr, Poison))),
            Self::Udp(addr) => drop(addr.upgrade().map(|addr| order(addr, Poison))),
        }
    }
}

impl WorkerLocal {
    /// The state of this thread, if a worker ever ran on it.
    pub(crate) fn known() -> Option<Rc<Self>> {
        HERE.with_borrow(Option::clone)
    }

    /// Poisons the session with this peer.
    pub(crate) fn poison_session(&self, peer: SocketAddr) {
        for (_, entry) in self.sessions.borrow().iter() {
            if entry.peer == peer {
                entry.session.tell(Poison);
            }
        }
    }

    /// Poisons the listener of this endpoint; false where it is not here.
    pub(crate) fn poison_listener(&self, endpoint: SocketAddr, tcp: bool) -> bool {
        let listeners = self.listeners.borrow();
        let found = listeners.values().find(|entry| {
            entry.socket.local_addr() == endpoint
                && matches!(entry.addr, ListenerAddr::Tcp(_)) == tcp
        });
        found.map(|entry| entry.addr.poison()).is_some()
    }

    /// Poisons one session or, where there is none, one listener.
    pub(crate) fn poison_any(&self, listener: bool) {
        let sessions = self.sessions.borrow();
        if !listener && !sessions.is_empty() {
            let nth = fastrand::usize(..sessions.len());
            if let Some((_, entry)) = sessions.iter().nth(nth) {
                entry.session.tell(Poison);
            }
            return;
        }
        let listeners = self.listeners.borrow();
        if !listeners.is_empty() {
            let nth = fastrand::usize(..listeners.len());
            if let Some(entry) = listeners.values().nth(nth) {
                entry.addr.poison();
            }
        }
    }
}
