//! The Supervisor: takes messages to the desk, and wakes it when time is up.
//!
//! A thin actor: everything it knows lies on the [`Desk`], which the service
//! lends to it and to its successor, should it die.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix::{Actor, AsyncContext, Context, Handler, MessageResult, SpawnHandle};

use super::desk::Desk;
use super::protocol::{
    AddressesChanged, AttachThread, AwaitClosed, ChangeEndpoints, ChangeSettings, ChunkFailed,
    ChunkOpened, CountSources, DescribeStatus, ErrorLogReturned, FailuresJudged, HeartBeaten,
    ListChunks, ListEndpoints, ListenerCrashed, ListenerFailed, ListenersClosed, OfferSockets,
    Replan, WithdrawSockets, WorkerDrained, WorkerEnded, WorkerStarted,
};

/// The shortest time between two wake-ups of its own.
const BREATH: Duration = Duration::from_millis(1);

/// The actor at the top of the tree.
pub(crate) struct Supervisor {
    desk: Rc<RefCell<Desk>>,
    timer: Option<(Instant, SpawnHandle)>,
}

impl Supervisor {
    pub(crate) const fn new(desk: Rc<RefCell<Desk>>) -> Self {
        Self { desk, timer: None }
    }

    /// Does something at the desk, then whatever has become due.
    fn work<T>(
        &mut self,
        ctx: &mut Context<Self>,
        work: impl FnOnce(&mut Desk, Instant) -> T,
    ) -> T {
        let now = Instant::now();
        let mut desk = self.desk.borrow_mut();
        let result = work(&mut desk, now);
        desk.advance(now);
        let next = desk.next_wake();
        drop(desk);
        self.wake_at(next.max(now + BREATH), ctx);
        result
    }

    fn wake_at(&mut self, due: Instant, ctx: &mut Context<Self>) {
        if let Some((at, handle)) = self.timer {
            if at <= due {
                return;
            }
            ctx.cancel_future(handle);
        }
        let delay = due.saturating_duration_since(Instant::now());
        let handle = ctx.run_later(delay, |supervisor, ctx| {
            supervisor.timer = None;
            supervisor.work(ctx, |_desk, _now| ());
        });
        self.timer = Some((due, handle));
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    /// A successor finds the desk as its predecessor left it.
    fn started(&mut self, ctx: &mut Self::Context) {
        self.work(ctx, Desk::take_over);
    }
}

/// A message whose meaning is one call at the desk.
macro_rules! at_the_desk {
    ($($message:ty => |$desk:ident, $content:pat_param, $now:ident| $work:expr;)*) => {$(
        impl Handler<$message> for Supervisor {
            type Result = ();

            fn handle(&mut self, message: $message, ctx: &mut Self::Context) {
                self.work(ctx, |$desk, $now| {
                    let _ = $now;
                    let $content = message;
                    $work
                });
            }
        }
    )*};
}

at_the_desk! {
    AttachThread => |desk, AttachThread { worker, thread }, now| desk.attach(worker, thread, now);
    WorkerStarted => |desk, started, now| desk.worker_started(started, now);
    WorkerEnded => |desk, ended, now| desk.worker_ended(ended, now);
    HeartBeaten => |desk, beat, now| desk.heart_beaten(beat, now);
    ChunkOpened => |desk, report, now| desk.take_report(report.lease, report.outcomes, now);
    ChunkFailed => |desk, report, now| desk.take_report(report.lease, report.outcomes, now);
    ListenerFailed => |desk, failed, now| desk.listener_failed(failed, now);
    ListenerCrashed => |desk, crashed, now| desk.listener_crashed(crashed, now);
    AddressesChanged => |desk, AddressesChanged, now| desk.addresses_changed();
    FailuresJudged => |desk, judged, now| desk.failures_judged(judged, now);
    ErrorLogReturned => |desk, ErrorLogReturned, now| desk.error_log_returned(now);
    AwaitClosed => |desk, wait, now| desk.await_closed(wait, now);
    CountSources => |desk, CountSources { tell }, now| desk.count_sources(tell);
    ListenersClosed => |desk, closed, now| desk.listeners_closed(&closed.listeners);
    WorkerDrained => |desk, drained, now| desk.worker_drained(drained.worker);
    WithdrawSockets => |desk, WithdrawSockets, now| desk.withdraw();
}

/// A question that the desk answers.
macro_rules! asked_at_the_desk {
    ($($message:ty => |$desk:ident, $content:pat_param, $now:ident| $answer:expr;)*) => {$(
        impl Handler<$message> for Supervisor {
            type Result = MessageResult<$message>;

            fn handle(&mut self, message: $message, ctx: &mut Self::Context) -> Self::Result {
                MessageResult(self.work(ctx, |$desk, $now| {
                    let _ = $now;
                    let $content = message;
                    $answer
                }))
            }
        }
    )*};
}

asked_at_the_desk! {
    ListEndpoints => |desk, query, now| desk.list(&query, now);
    ListChunks => |desk, ListChunks { skip, take }, now| desk.list_chunks(skip, take);
    DescribeStatus => |desk, DescribeStatus, now| desk.status(now);
    ChangeEndpoints => |desk, order, now| desk.change(&order, now);
    Replan => |desk, order, now| desk.replan(order, now);
    ChangeSettings => |desk, order, now| desk.set(&order);
    OfferSockets => |desk, OfferSockets { offer }, now| desk.offer(offer);
}
