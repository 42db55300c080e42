//! The Supervisor: owns the chunk table and gives chunks to workers.
//!
//! Takes reports, passes failures to the error log, applies its verdicts, and
//! says when the service is ready. Every decision about states is the table's.

mod dispatch;
mod story;

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, Addr, AsyncContext, Context, Handler, MessageResult, SpawnHandle, WrapFuture};
use tokio::sync::{mpsc, oneshot, watch};

use super::error_log::ErrorLog;
use super::orders;
use super::protocol::{
    AttachWorker, BeginDispatch, BeginDrain, ChunkFailed, ChunkOpened, DrainWorker, Failure,
    FailuresJudged, GroupRuntime, JudgeFailures, ListenerFailed, Outcomes, WorkerDrained,
};
use super::worker::Worker;
use crate::net::bind::Bound;
use crate::plan::endpoints::PlanEndpoints;
use crate::spec::Endpoint;
use crate::supervision::{
    Board, ChunkId, ChunkTable, Coverage, DrainReport, FaultClass, Lease, Outcome, Ready, Verdict,
    WorkerId, WorkerState,
};

/// Pause before a worker whose mailbox was full is offered a chunk again, and
/// before the error log is asked again whose mailbox was full.
const AGAIN: Duration = Duration::from_millis(250);

/// Event, Supervisor → service: something that its owner may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// An endpoint that had failed listens.
    Recovered(Endpoint),
}

/// Everything that a Supervisor is made of.
pub(crate) struct Setup {
    pub(crate) endpoints: PlanEndpoints,
    /// In the plan's order.
    pub(crate) groups: Vec<Arc<GroupRuntime>>,
    pub(crate) table: ChunkTable<Bound>,
    pub(crate) coverage: Coverage,
    /// `SO_RCVBUF` of UDP sockets; `None` = the kernel's default.
    pub(crate) receive_buffer: Option<u32>,
    /// How long `ready` waits for undecided endpoints.
    /// `None` = until all are.
    pub(crate) wait: Option<Duration>,
    pub(crate) started: Instant,
    pub(crate) board: Arc<Board>,
    pub(crate) ready: watch::Sender<Option<Ready>>,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) error_log: Addr<ErrorLog>,
}

/// The actor at the top of the tree.
pub(crate) struct Supervisor {
    setup: Setup,
    workers: Vec<WorkerSlot>,
    /// Nothing is leased before: the machine is short of something.
    paused_until: Option<Instant>,
    timer: Option<(Instant, SpawnHandle)>,
    drain: Option<Drain>,
}

struct WorkerSlot {
    id: WorkerId,
    addr: Addr<Worker>,
    state: WorkerState,
    drained: bool,
}

/// A drain under way; `None` inside once the service was told of its end.
struct Drain(Option<oneshot::Sender<()>>);

impl Supervisor {
    pub(crate) const fn new(setup: Setup) -> Self {
        Self { setup, workers: Vec::new(), paused_until: None, timer: None, drain: None }
    }

    fn take_report(&mut self, lease: Lease, outcomes: Outcomes, ctx: &mut Context<Self>) {
        if self.drain.is_some() {
            return;
        }
        if let Some(slot) = self.workers.iter_mut().find(|slot| slot.id == lease.worker) {
            slot.state = WorkerState::Idle;
        }
        let short = outcomes.iter().any(|(_, outcome)| is_shortage(outcome));
        match self.setup.table.finish(lease, outcomes, Instant::now()) {
            Ok(recovered) => {
                self.tell_recovered(&recovered);
                self.send_failures(lease.chunk, ctx);
                if short {
                    // What comes next would meet it too: the verdict says how long to pause.
                    return;
                }
            }
            Err(refused) => tracing::warn!(%refused, ?lease, "a report was refused"),
        }
        self.advance(ctx);
    }

    /// Puts a chunk's new failures to the error log; after a while, when its
    /// mailbox is full.
    fn send_failures(&mut self, chunk: ChunkId, ctx: &mut Context<Self>) {
        let failures: Vec<_> = self
            .setup
            .table
            .unjudged(chunk)
            .filter_map(|(place, fault, attempts)| {
                let endpoint = orders::endpoint_at(&self.setup, place)?;
                Some(Failure { place, endpoint, fault, attempts })
            })
            .collect();
        if failures.is_empty() || self.drain.is_some() {
            return;
        }
        if self.setup.error_log.try_send(JudgeFailures { chunk, failures }).is_ok() {
            self.setup.table.asked(chunk);
        } else {
            ctx.run_later(AGAIN, move |supervisor, ctx| supervisor.send_failures(chunk, ctx));
        }
    }

    /// Tells the service that the drain is over, once.
    fn finish_drain(&mut self) {
        if let Some(Drain(done)) = &mut self.drain
            && let Some(done) = done.take()
        {
            let _gone = done.send(());
        }
    }
}

fn is_shortage(outcome: &Outcome<Bound>) -> bool {
    matches!(outcome, Outcome::Failed(fault) if fault.class() == FaultClass::Resource)
}

impl Actor for Supervisor {
    type Context = Context<Self>;
}

impl Handler<AttachWorker> for Supervisor {
    type Result = ();

    fn handle(&mut self, AttachWorker { worker, addr }: AttachWorker, _: &mut Self::Context) {
        let state = WorkerState::Idle;
        self.workers.push(WorkerSlot { id: worker, addr, state, drained: false });
    }
}

impl Handler<BeginDispatch> for Supervisor {
    type Result = ();

    fn handle(&mut self, _begin: BeginDispatch, ctx: &mut Self::Context) {
        self.setup.table.stack_all();
        if let Some(wait) = self.setup.wait {
            ctx.run_later(wait, |supervisor, _ctx| {
                if supervisor.drain.is_none() {
                    supervisor.announce();
                }
            });
        }
        self.advance(ctx);
    }
}

impl Handler<ChunkOpened> for Supervisor {
    type Result = ();

    fn handle(&mut self, report: ChunkOpened, ctx: &mut Self::Context) {
        tracing::debug!(chunk = %report.lease.chunk, worker = %report.lease.worker, "chunk opened");
        self.take_report(report.lease, report.outcomes, ctx);
    }
}

impl Handler<ChunkFailed> for Supervisor {
    type Result = ();

    fn handle(&mut self, report: ChunkFailed, ctx: &mut Self::Context) {
        self.take_report(report.lease, report.outcomes, ctx);
    }
}

impl Handler<ListenerFailed> for Supervisor {
    type Result = ();

    fn handle(&mut self, ListenerFailed { place, fault }: ListenerFailed, ctx: &mut Self::Context) {
        if self.setup.table.listener_lost(place, fault).is_ok() {
            self.send_failures(place.chunk, ctx);
            self.advance(ctx);
        }
    }
}

impl Handler<FailuresJudged> for Supervisor {
    type Result = ();

    fn handle(&mut self, judged: FailuresJudged, ctx: &mut Self::Context) {
        let now = Instant::now();
        for (place, verdict) in judged.verdicts {
            self.setup.table.verdict(place, verdict, now);
            if let Verdict::Pause(delay) = verdict {
                self.paused_until = self.paused_until.max(Some(now + delay));
            }
        }
        self.advance(ctx);
    }
}

impl Handler<BeginDrain> for Supervisor {
    type Result = MessageResult<BeginDrain>;

    fn handle(&mut self, begin: BeginDrain, ctx: &mut Self::Context) -> Self::Result {
        let BeginDrain { timeout, done } = begin;
        let report = DrainReport {
            endpoints: self.setup.table.endpoint_counts(),
            chunks: self.setup.table.chunk_counts(),
            picture: self.picture(),
            failures: self.failures(),
        };
        self.drain = Some(Drain(Some(done)));
        // The table's share of each socket goes first: a worker that closes
        // its own then really closes the port.
        self.setup.table.close();
        for slot in &self.workers {
            let addr = slot.addr.clone();
            let told = async move {
                let _gone = addr.send(DrainWorker).await;
            };
            ctx.spawn(told.into_actor(self));
        }
        if let Some(timeout) = timeout {
            ctx.run_later(timeout, |supervisor, _ctx| supervisor.finish_drain());
        }
        MessageResult(report)
    }
}

impl Handler<WorkerDrained> for Supervisor {
    type Result = ();

    fn handle(&mut self, WorkerDrained { worker }: WorkerDrained, _ctx: &mut Self::Context) {
        for slot in self.workers.iter_mut().filter(|slot| slot.id == worker) {
            slot.drained = true;
        }
        if self.workers.iter().all(|slot| slot.drained) {
            self.finish_drain();
        }
    }
}
