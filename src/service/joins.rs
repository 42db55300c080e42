//! Joining worker threads off the service's own: one that ends may take its time.
//!
//! Never stops a thread: whoever hands one over has told it to end.

use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use actix_rt::Arbiter;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::supervision::WorkerId;

/// Longest wait for threads that were told to stop and end no session: one that hangs
/// would keep the service from its end.
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

    /// Waits for all, and says whether all ended well. `open` counts the sessions that are
    /// left: threads that end some are not hung, however long all of them take. Where none
    /// ends for [`PATIENCE`], the threads that are left are logged and left behind.
    pub(super) async fn finish(&mut self, open: impl Fn() -> u64) -> bool {
        let mut all_well = true;
        let mut deadline = Instant::now() + PATIENCE;
        let mut left = open();
        for Joining { worker, mut told, joiner } in self.joining.drain(..) {
            let joined = loop {
                if let Ok(joined) = timeout_at(deadline, &mut told).await {
                    break Some(joined.unwrap_or(false));
                }
                let before = std::mem::replace(&mut left, open());
                if left >= before {
                    break None;
                }
                deadline = Instant::now() + PATIENCE;
            };
            let Some(joined) = joined else {
                tracing::error!(%worker, "a worker's thread hangs; the service ends without it");
                continue;
            };
            all_well &= joined;
            all_well &= joiner.join().is_ok();
        }
        for thread in self.unjoined.drain(..) {
            all_well &= thread.join().is_ok();
        }
        all_well
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::mpsc;

    use super::*;

    /// A thread that has something to do until it is released.
    fn busy_thread() -> (Joins, mpsc::Sender<()>) {
        let (release, released) = mpsc::channel::<()>();
        let (begin, begun) = mpsc::channel::<()>();
        let thread = Arbiter::try_new().expect("a thread");
        assert!(thread.spawn_fn(move || {
            drop(begin);
            let _ended = released.recv();
        }));
        assert!(begun.recv().is_err(), "nothing is sent");
        thread.stop();
        let mut joins = Joins::default();
        joins.begin(WorkerId(1), thread);
        (joins, release)
    }

    #[actix::test]
    async fn a_thread_that_ends_sessions_is_waited_for_and_one_that_does_not_is_left() {
        tokio::time::pause();
        let (mut joins, release) = busy_thread();
        let (release, open) = (Cell::new(Some(release)), Cell::new(u64::MAX));
        // The clock is ahead of the thread: each look finds one session less.
        let ends_some = || {
            open.set(open.get() - 1);
            if open.get() == u64::MAX - 10 {
                drop(release.take());
            }
            std::thread::yield_now();
            open.get()
        };
        assert!(joins.finish(ends_some).await);
        assert!(open.get() <= u64::MAX - 10, "it was given up too early");

        let (mut joins, release) = busy_thread();
        assert!(joins.finish(|| 7).await, "what is left behind has not panicked");
        drop(release);
    }
}
