//! A bound UDP endpoint: answers datagrams.
//!
//! The datagrams are `net::datagram`'s; this holds the lifecycle.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};
use std::time::Instant;

use actix::fut::ActorFuture;
use actix::{Actor, ActorContext, AsyncContext, Context, Handler};
use tokio::time::Sleep;

use super::flows::Flows;
use super::local::WorkerLocal;
use super::protocol::{CloseListener, GroupRuntime, OpenOrder};
use crate::net::accept::{AcceptClass, AcceptPause, classify};
use crate::net::datagram::{DatagramSocket, Tap, UdpTally};
use crate::supervision::{DropReason, Fault, FaultKind, Meter, Place};

/// Most datagrams that are answered when the listener closes.
const LAST_DATAGRAMS: usize = 1024;

/// The listener of one UDP endpoint.
pub(crate) struct UdpListener {
    place: Place,
    /// Of the lease under which it serves.
    epoch: u64,
    group: Arc<GroupRuntime>,
    meter: Meter,
    local: Rc<WorkerLocal>,
    socket: DatagramSocket,
}

impl UdpListener {
    pub(crate) fn new(
        (place, epoch): (Place, u64),
        order: OpenOrder,
        local: Rc<WorkerLocal>,
        socket: DatagramSocket,
    ) -> Self {
        let OpenOrder { group, meter, .. } = order;
        Self { place, epoch, group, meter, local, socket }
    }

    /// Serves what has arrived; how many datagrams, and the error that a call ended with.
    fn serve(&mut self, task: &mut Task<'_>) -> (u64, Poll<std::io::Error>) {
        let mut tally = UdpTally::default();
        let polled = {
            let mut pool = self.local.datagrams().borrow_mut();
            let polled = self.socket.poll_serve(task, &mut pool, &self.group.datagrams, &mut tally);
            self.record(&mut pool.tap);
            polled
        };
        self.book(&tally);
        (tally.received, polled)
    }

    /// Answers what the kernel has delivered: a close would lose it.
    fn empty_queue(&mut self) {
        let mut tally = UdpTally::default();
        {
            let mut pool = self.local.datagrams().borrow_mut();
            let rules = &self.group.datagrams;
            let _failed = self.socket.try_drain(&mut pool, rules, &mut tally, LAST_DATAGRAMS);
            self.record(&mut pool.tap);
        }
        self.book(&tally);
    }

    /// Notes which flows these datagrams belong to, where flows are recorded.
    fn record(&self, tap: &mut Tap) {
        let Some(records) = &self.local.share.records else { return };
        if !tap.seen.is_empty() {
            let now = Instant::now();
            let mut flows = self.local.flows.borrow_mut();
            let flows = flows.get_or_insert_with(|| {
                let ending = Arc::clone(&self.local.share.ending);
                Flows::new(Arc::clone(records), ending, now)
            });
            flows.see(self.place, &self.group.name, &tap.seen, now);
            tap.seen.clear();
        }
    }

    fn book(&self, tally: &UdpTally) {
        let share = &self.local.share;
        let dropped = tally.dropped.iter().sum();
        self.meter.datagrams(tally.received, tally.replied, dropped);
        if tally.received > 0 {
            let (bytes_in, bytes_out, at) = (tally.bytes_in, tally.bytes_out, self.local.stamp());
            self.meter.datagram_bytes(bytes_in, bytes_out, tally.last_source, at);
        }
        share.counters.datagrams_received(tally.received, tally.bytes_in);
        share.counters.datagrams_replied(tally.replied, tally.bytes_out);
        for reason in DropReason::ALL {
            match tally.dropped(reason) {
                0 => {}
                count => {
                    share.counters.datagrams_dropped(reason, count);
                    share.first_drops.warn_once(reason, &share.events);
                }
            }
        }
    }
}

impl Actor for UdpListener {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.spawn(ServeLoop::default());
    }
}

impl Handler<CloseListener> for UdpListener {
    type Result = ();

    fn handle(&mut self, close: CloseListener, ctx: &mut Self::Context) {
        if self.local.empties(close) {
            self.empty_queue();
        }
        ctx.stop();
    }
}

/// Serves, and leaves the socket alone for a while when the machine has no room.
#[derive(Default)]
struct ServeLoop {
    pause: AcceptPause,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl ActorFuture<UdpListener> for ServeLoop {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        listener: &mut UdpListener,
        ctx: &mut Context<UdpListener>,
        task: &mut Task<'_>,
    ) -> Poll<()> {
        ready!(listener.local.poll_gate(task));
        loop {
            if let Some(sleep) = &mut self.sleep {
                ready!(sleep.as_mut().poll(task));
                self.sleep = None;
            }
            let (received, polled) = listener.serve(task);
            if received > 0 {
                self.pause.reset();
            }
            let error = ready!(polled);
            match error.raw_os_error().map(classify) {
                Some(AcceptClass::Retry) => {
                    task.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(AcceptClass::Pause) => {
                    let wait = self.pause.next(fastrand::f64());
                    tracing::debug!(place = ?listener.place, %error, ?wait, "a UDP socket pauses");
                    self.sleep = Some(Box::pin(tokio::time::sleep(wait)));
                }
                Some(AcceptClass::Fatal) | None => {
                    let errno = error.raw_os_error().unwrap_or(0);
                    let fault = Fault { kind: FaultKind::Listener, errno };
                    listener.local.report_listener(listener.place, listener.epoch, fault);
                    ctx.stop();
                    return Poll::Ready(());
                }
            }
        }
    }
}
