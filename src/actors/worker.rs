//! A worker: one arbiter thread that opens chunks and serves their endpoints.
//!
//! Takes one chunk at a time, reports, and keeps the thread's sessions to
//! their deadlines. What lives on the thread is in [`WorkerLocal`], so that it
//! outlives this actor.

use std::rc::Rc;
use std::time::{Duration, Instant};

use actix::{Actor, AsyncContext, Context, Handler, WrapFuture};

use super::local::WorkerLocal;
use super::opening::open_chunk;
use super::protocol::{AssignChunk, ChunkFailed, ChunkOpened, DrainWorker, WorkerDrained};
use crate::supervision::Outcome;

/// How often deadlines are looked at: they are met within this much.
const TICK: Duration = Duration::from_millis(100);

/// The actor of one arbiter thread.
pub(crate) struct Worker {
    local: Rc<WorkerLocal>,
}

impl Worker {
    pub(crate) const fn new(local: Rc<WorkerLocal>) -> Self {
        Self { local }
    }
}

impl Actor for Worker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(TICK, |worker, _ctx| {
            worker.local.set_now(Instant::now());
            worker.local.expire_sessions();
        });
    }
}

impl Handler<AssignChunk> for Worker {
    type Result = ();

    fn handle(&mut self, order: AssignChunk, ctx: &mut Self::Context) {
        let local = Rc::clone(&self.local);
        let report = async move {
            let lease = order.lease;
            let supervisor = local.share.supervisor.clone();
            let outcomes = open_chunk(local, order).await;
            let complete =
                outcomes.iter().all(|(_, outcome)| matches!(outcome, Outcome::Opened { .. }));
            // Waits for room in the supervisor's mailbox: a report must not be lost.
            let _gone = if complete {
                supervisor.send(ChunkOpened { lease, outcomes }).await
            } else {
                supervisor.send(ChunkFailed { lease, outcomes }).await
            };
        };
        ctx.spawn(report.into_actor(self));
    }
}

impl Handler<DrainWorker> for Worker {
    type Result = ();

    fn handle(&mut self, _drain: DrainWorker, ctx: &mut Self::Context) {
        self.local.begin_drain();
        let local = Rc::clone(&self.local);
        let drained = async move {
            let supervisor = local.share.supervisor.clone();
            for closer in local.closers() {
                let _gone = closer.send(super::protocol::CloseListener).await;
            }
            local.emptied().await;
            let _gone = supervisor.send(WorkerDrained { worker: local.id }).await;
        };
        ctx.spawn(drained.into_actor(self));
    }
}
