//! Carries injected faults to where they hurt. For tests alone.

use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use tokio::sync::oneshot;

use super::handle::{ServiceHandle, Shared};
use super::system::Command;
use super::tree::Tree;
use crate::actors::local::WorkerLocal;
use crate::actors::poison::{Block, Injection, Poison, order};
use crate::spec::Protocol;
use crate::supervision::WorkerId;

/// Injects one fault.
pub(super) fn inject(tree: &Tree, shared: &Shared, injection: Injection) {
    let everywhere = |poison: &dyn Fn() -> Box<dyn FnOnce(&WorkerLocal) + Send>| {
        for thread in tree.guardian.handles() {
            let poison = poison();
            thread.spawn_fn(move || {
                if let Some(local) = WorkerLocal::known() {
                    poison(&local);
                }
            });
        }
    };
    match injection {
        Injection::PanicSupervisor => {
            let _gone = tree.guardian.supervisor().map(|addr| order(addr, Poison));
        }
        Injection::PanicErrorLog => {
            let _gone = tree.guardian.error_log().map(|addr| order(addr, Poison));
        }
        Injection::BlockErrorLog(time) => {
            let _gone = tree.guardian.error_log().map(|addr| order(addr, Block(time)));
        }
        Injection::PanicWorker(worker) => tree.guardian.poison_worker(worker),
        Injection::PanicListener(endpoint) => {
            // Once: several threads may serve it at the same time, and another one
            // again before it is asked.
            let done = Arc::new(Mutex::new(false));
            everywhere(&|| {
                let (done, at) = (Arc::clone(&done), endpoint.socket_addr());
                let tcp = endpoint.protocol == Protocol::Tcp;
                Box::new(move |local| {
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    *done = *done || local.poison_listener(at, tcp);
                })
            });
        }
        Injection::PanicSession(peer) => {
            everywhere(&|| Box::new(move |local| local.poison_session(peer)));
        }
        Injection::EndThread(worker) => {
            if let Some(thread) = tree.guardian.thread(worker) {
                thread.stop();
            }
        }
        Injection::Hang(worker, time) => hang(tree, worker, time),
        Injection::PoisonChunk(chunk) => shared.poisoned.store(chunk, Ordering::Relaxed),
        Injection::PanicAny => panic_any(tree, shared),
    }
}

fn hang(tree: &Tree, worker: WorkerId, time: Duration) {
    if let Some(thread) = tree.guardian.thread(worker) {
        thread.spawn_fn(move || std::thread::sleep(time));
    }
}

/// A worker's thread that does nothing until this is dropped.
#[derive(Debug)]
#[must_use = "the thread goes on when this is dropped"]
pub struct Hanging {
    _until_dropped: mpsc::Sender<Infallible>,
}

/// What has a thread hang.
#[derive(Debug)]
pub(super) struct Hold {
    begun: oneshot::Sender<()>,
    over: mpsc::Receiver<Infallible>,
}

impl Hold {
    /// Holds this worker's thread, if it has one.
    pub(super) fn place(self, tree: &Tree, worker: WorkerId) {
        let Some(thread) = tree.guardian.thread(worker) else { return };
        thread.spawn_fn(move || {
            let _nobody_waits = self.begun.send(());
            let _dropped = self.over.recv();
        });
    }
}

impl ServiceHandle {
    /// Has a worker's thread do nothing, from when this resolves until what it gives
    /// is dropped; `None` where there is no such thread. Only with the feature
    /// `fault-injection`.
    ///
    /// For whoever must know what is so while it hangs: when [`Injection::Hang`]
    /// begins and ends, nobody is told.
    pub async fn hang(&self, worker: WorkerId) -> Option<Hanging> {
        let (begun, begins) = oneshot::channel();
        let (until_dropped, over) = mpsc::channel();
        let _ended_already = self.commands.send(Command::Hang(worker, Hold { begun, over }));
        begins.await.ok().map(|()| Hanging { _until_dropped: until_dropped })
    }
}

fn panic_any(tree: &Tree, shared: &Shared) {
    let workers = u16::try_from(shared.counters.len()).unwrap_or(u16::MAX).max(1);
    let worker = WorkerId(fastrand::u16(1..=workers));
    match fastrand::u8(..8) {
        0 => inject(tree, shared, Injection::PanicSupervisor),
        1 => inject(tree, shared, Injection::PanicErrorLog),
        2 | 3 => inject(tree, shared, Injection::PanicWorker(worker)),
        kind => {
            if let Some(thread) = tree.guardian.thread(worker) {
                thread.spawn_fn(move || {
                    if let Some(local) = WorkerLocal::known() {
                        local.poison_any(kind < 6);
                    }
                });
            }
        }
    }
}
