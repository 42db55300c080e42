//! Joining worker threads off the service's own: one that ends may take its time.
//!
//! Never stops a thread: whoever hands one over has told it to end.

use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use actix_rt::Arbiter;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::supervision::WorkerId;

/// Longest wait for threads that were told to stop: one that hangs would keep
/// the service from its end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Threads that are being joined.
#[derive(Default)]
pub(super) struct Joins {
    joining: Vec<Joining>,
    /// Those that nobody could be had to join.
    unjoined: Vec<Arbiter>,
}

/// A thread that is being joined: whose it was, what came of it, who does it.
struct Joining {
    worker: WorkerId,
    told: oneshot::Receiver<bool>,
    joiner: JoinHandle<()>,
}

impl Joins {
    /// Begins to join. Where there is no thread to do it on, it is done at the
    /// very end. (tokio's `spawn_blocking` panics where the system refuses it a
    /// thread.)
    pub(super) fn begin(&mut self, worker: WorkerId, thread: Arbiter) {
        self.joining.retain(|joining| !joining.joiner.is_finished());
        let (hand_over, handed) = std::sync::mpsc::sync_channel::<Arbiter>(1);
        let (tell, told) = oneshot::channel();
        let joiner = Builder::new().name("ipcow-joiner".to_owned()).spawn(move || {
            let joined = handed.recv().is_ok_and(|thread| thread.join().is_ok());
            let _ending = tell.send(joined);
        });
        match joiner {
            Ok(joiner) => {
                if let Err(back) = hand_over.send(thread) {
                    self.unjoined.push(back.0);
                }
                self.joining.push(Joining { worker, told, joiner });
            }
            Err(_refused) => self.unjoined.push(thread),
        }
    }

    /// Waits for all, and says whether all ended well. One that hangs for
    /// [`PATIENCE`] is logged and left behind.
    pub(super) async fn finish(&mut self) -> bool {
        let mut all_well = true;
        let deadline = Instant::now() + PATIENCE;
        for Joining { worker, told, joiner } in self.joining.drain(..) {
            let Ok(joined) = timeout_at(deadline, told).await else {
                tracing::error!(%worker, "a worker's thread hangs; the service ends without it");
                continue;
            };
            all_well &= joined.unwrap_or(false);
            all_well &= joiner.join().is_ok();
        }
        for thread in self.unjoined.drain(..) {
            all_well &= thread.join().is_ok();
        }
        all_well
    }
}
