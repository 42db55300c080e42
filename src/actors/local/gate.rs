//! The gate: a service that takes another one over serves nobody before it is told to.
//!
//! Its sockets are bound and watched by then, and clients wait in them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use super::WorkerLocal;
use crate::actors::protocol::CloseListener;

/// Whether the listeners of a service may serve. It opens once, for good.
#[derive(Debug)]
pub(crate) struct Gate(AtomicBool);

impl Gate {
    pub(crate) const fn new(open: bool) -> Self {
        Self(AtomicBool::new(open))
    }

    /// Opens it; then each thread is to be told ([`WorkerLocal::pass_gate`]).
    pub(crate) fn open(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(crate) fn is_open(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl WorkerLocal {
    /// Waits until the listeners of this thread may serve.
    pub(crate) fn poll_gate(&self, task: &Context<'_>) -> Poll<()> {
        if self.share.gate.is_open() {
            return Poll::Ready(());
        }
        // A listener is polled once before the gate opens, and again for its mail alone.
        self.gated.borrow_mut().push(task.waker().clone());
        Poll::Pending
    }

    /// Whether a listener that closes serves first what waits in its socket. One that
    /// never served leaves it to whoever does.
    pub(crate) fn empties(&self, close: CloseListener) -> bool {
        close == CloseListener::Emptied && self.share.gate.is_open()
    }

    /// The gate is open: wakes the listeners that wait for it.
    pub(crate) fn pass_gate(&self) {
        for waker in self.gated.take() {
            waker.wake();
        }
    }
}
