//! From a bound socket to a listener's actor on this thread: the first socket of
//! an endpoint, which was opened here, or a member, which another worker opened.
//!
//! Never binds, and decides nothing about retries.

use std::io;
use std::rc::Rc;

use super::listener::Listener;
use super::local::{ListenerAddr, WorkerLocal};
use super::protocol::{ListenerFailed, OpenOrder, ServeMember};
use super::udp_listener::UdpListener;
use super::watch::start_watched;
use crate::net::accept::Acceptor;
use crate::net::bind::Bound;
use crate::net::datagram::DatagramSocket;
use crate::spec::Protocol;
use crate::supervision::{Fault, Lease, Place};

/// A socket that this thread's runtime watches, and nobody serves yet.
pub(super) enum Watched {
    Tcp(Acceptor),
    Udp(DatagramSocket),
}

impl Watched {
    /// Has this thread's runtime watch a socket that listens.
    pub(super) fn new(bound: &Bound, local: &WorkerLocal) -> Result<Self, Fault> {
        match bound.protocol() {
            Protocol::Tcp => {
                let options = local.share.settings.stream();
                Acceptor::new(bound.clone(), options).map(Self::Tcp)
            }
            Protocol::Udp => DatagramSocket::new(bound.clone()).map(Self::Udp),
        }
        .map_err(|error| fault(&error))
    }
}

/// Starts the actor that serves the socket.
pub(super) fn start(
    local: &Rc<WorkerLocal>,
    lease: Lease,
    order: OpenOrder,
    bound: &Bound,
    watched: Watched,
) {
    let place = Place { chunk: lease.chunk, slot: order.slot };
    // What it captures is kept for each listener.
    let (told, epoch) = (Rc::clone(local), lease.epoch);
    let tell = move |ended| told.listener_ended(place, epoch, ended);
    let own = Rc::clone(local);
    let addr = match watched {
        Watched::Tcp(acceptor) => {
            let listener = Listener::new((place, epoch), order, own, acceptor);
            ListenerAddr::Tcp(start_watched(listener, tell).downgrade())
        }
        Watched::Udp(socket) => {
            let listener = UdpListener::new((place, epoch), order, own, socket);
            ListenerAddr::Udp(start_watched(listener, tell).downgrade())
        }
    };
    local.enter_listener(place, lease, addr, bound.clone());
}

impl WorkerLocal {
    /// Serves sockets of endpoints that were opened elsewhere. An order that was
    /// heard before is not obeyed again: its listener may have ended meanwhile.
    pub(crate) fn serve_members(self: Rc<Self>, orders: Vec<ServeMember>) {
        for ServeMember { lease, order, socket } in orders {
            if self.is_draining() || !self.hears_first(lease) {
                continue;
            }
            match Watched::new(&socket, &self) {
                Ok(watched) => start(&self, lease, order, &socket, watched),
                Err(fault) => {
                    let place = Place { chunk: lease.chunk, slot: order.slot };
                    self.tell_of_failure(ListenerFailed { place, lease, fault });
                }
            }
        }
    }
}

/// What the kernel said when a socket was to be opened or watched.
pub(super) fn fault(error: &io::Error) -> Fault {
    Fault::from_bind_errno(error.raw_os_error().unwrap_or(0))
}
