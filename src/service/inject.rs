//! Carries injected faults to where they hurt. For tests alone.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::handle::Shared;
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
