//! A worker: one arbiter thread that opens chunks and serves their endpoints.
//!
//! Takes one chunk at a time and reports. What lives on the thread is in
//! [`WorkerLocal`], so that it outlives this actor: a successor adopts it.

use std::rc::Rc;

use actix::{Actor, ArbiterHandle, AsyncContext, Context, Handler, WrapFuture};

use super::local::WorkerLocal;
use super::opening::open_chunk;
use super::protocol::{
    ActorEnded, AssignChunk, ChunkFailed, ChunkOpened, HeartBeaten, Heartbeat, WorkerEnded,
    WorkerStarted,
};
use super::share::WorkerShare;
use super::watch::{Ended, start_watched_in};
use crate::net::sys;
use crate::supervision::{Outcome, WorkerId};

/// The actor of one arbiter thread.
pub(crate) struct Worker {
    local: Rc<WorkerLocal>,
    epoch: u64,
}

/// Starts the Worker of this epoch on `thread`. It reports when it runs, and
/// the thread reports when it has ended.
pub(crate) fn start(thread: &ArbiterHandle, id: WorkerId, epoch: u64, share: WorkerShare) {
    let _reported = start_watched_in(thread, move || {
        let _unnamed = sys::name_thread(&format!("ipcow-worker-{}", id.0));
        let local = WorkerLocal::here(id, share);
        let told = local.share.ended.clone();
        let tell = move |ended: Ended| {
            let panic = match ended {
                Ended::Stopped => None,
                Ended::Panicked(message) => Some(message),
            };
            let _ending = told.send(ActorEnded::Worker(WorkerEnded { worker: id, epoch, panic }));
        };
        (Worker { local, epoch }, tell)
    });
}

impl Actor for Worker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let started = WorkerStarted {
            worker: self.local.id,
            epoch: self.epoch,
            addr: ctx.address(),
            adopted: self.local.listeners(),
        };
        let supervisor = self.local.share.supervisor.clone();
        let reported = async move {
            let _ending = supervisor.deliver(started).await;
        };
        ctx.spawn(reported.into_actor(self));
    }
}

impl Handler<AssignChunk> for Worker {
    type Result = ();

    fn handle(&mut self, order: AssignChunk, ctx: &mut Self::Context) {
        let local = Rc::clone(&self.local);
        let opening = local.begin_opening();
        let report = async move {
            let lease = order.lease;
            let supervisor = local.share.supervisor.clone();
            let outcomes = open_chunk(local, order).await;
            let complete =
                outcomes.iter().all(|(_, outcome)| matches!(outcome, Outcome::Opened { .. }));
            let _ending = if complete {
                supervisor.deliver(ChunkOpened { lease, outcomes }).await
            } else {
                supervisor.deliver(ChunkFailed { lease, outcomes }).await
            };
            drop(opening);
        };
        ctx.spawn(report.into_actor(self));
    }
}

impl Handler<Heartbeat> for Worker {
    type Result = ();

    fn handle(&mut self, _heartbeat: Heartbeat, _ctx: &mut Self::Context) {
        // A full mailbox loses a beat, and the next one tells.
        if let Some(supervisor) = self.local.share.supervisor.current() {
            let beat = HeartBeaten { worker: self.local.id, epoch: self.epoch };
            let _full = supervisor.try_send(beat);
        }
    }
}
