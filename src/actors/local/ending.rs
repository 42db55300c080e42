//! The end of a thread's part in the service: its listeners close, its sessions end,
//! and it says so. Or its listeners go to another process, and its sessions live on.
//!
//! Ends no thread, and decides no deadline.

use std::collections::HashSet;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;

use super::WorkerLocal;
use crate::actors::protocol::{CloseListener, WorkerDrained};
use crate::net::bind::Bound;
use crate::supervision::{EndReason, Place};

impl WorkerLocal {
    /// Closes every listener, lets the sessions end, and says so. Where the listeners
    /// were handed over before, only lets the sessions end.
    pub(crate) fn drain(self: Rc<Self>) {
        self.sessions_end.set(true);
        self.close_all(|_| CloseListener::Emptied);
    }

    /// Leaves these sockets to another process, which serves from them by now, and
    /// closes the others. Sessions go on until they end, but for those of endpoints
    /// that are `gone`, which end when they are quiet. Says so when all is over.
    pub(crate) fn retire(self: Rc<Self>, taken: Arc<HashSet<RawFd>>, gone: &HashSet<Place>) {
        self.drain_sessions(gone, true);
        self.close_all(move |socket| match taken.contains(&socket.as_raw_fd()) {
            true => CloseListener::HandedOver,
            false => CloseListener::Emptied,
        });
    }

    fn close_all(self: Rc<Self>, how: impl Fn(&Bound) -> CloseListener + 'static) {
        if self.draining.replace(true) {
            return;
        }
        self.stop_taking();
        actix::spawn(async move {
            let listeners: Vec<_> = {
                let listeners = self.listeners.borrow();
                listeners.values().map(|entry| (entry.addr.clone(), how(&entry.socket))).collect()
            };
            for (listener, how) in listeners {
                listener.close(how).await;
            }
            if let Some(flows) = &mut *self.flows.borrow_mut() {
                flows.end(EndReason::Drain);
            }
            self.emptied().await;
            let _ending = self.share.supervisor.deliver(WorkerDrained { worker: self.id }).await;
        });
    }

    /// Resolves when no listener and no session is left.
    async fn emptied(&self) {
        let empty = || {
            self.opening.get() == 0
                && self.listeners.borrow().is_empty()
                && self.sessions.borrow().is_empty()
        };
        self.until(empty).await;
    }
}
