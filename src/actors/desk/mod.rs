//! The desk: all that the Supervisor knows and decides about the tree.
//!
//! Owns the chunk table and one slot a worker. Outlives the Supervisor: the
//! service lends it to one after another. Decisions about states are the
//! table's; decisions about crashes are [`crash`]'s.

mod addresses;
mod changes;
mod crash;
mod dispatch;
mod drain;
mod handover;
mod limits;
mod listing;
mod members;
mod operate;
mod replan;
mod reports;
mod settings;
mod slot;
mod story;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use actix::ArbiterHandle;
use tokio::sync::{mpsc, watch};

use super::error_log::ErrorLog;
use super::event_hub::EventHub;
use super::handlers::Handlers;
use super::link::Link;
use super::protocol::GroupRuntime;
use super::share::WorkerShare;
use crate::config::{Limits, LiveConfig};
use crate::net::bind::Bound;
use crate::net::datagram_limits::DatagramLimits;
use crate::plan::demand::Demand;
use crate::plan::endpoints::{PlanEndpoints, PlannedGroup};
use crate::plan::reach::LocalRoutes;
use crate::plan::resources::FdBudget;
use crate::supervision::{
    Board, ChunkId, ChunkTable, DrainReport, Event, Meters, Place, Ready, RestartCounters,
    Restarts, WorkerId, WorkerState,
};
use operate::Orders;
pub(crate) use replan::rollback_runs;
use slot::WorkerSlot;

/// A part of the tree that restarts are charged to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Part {
    Endpoint(Place),
    Chunk(ChunkId),
    Worker(WorkerId),
}

/// Makes what the endpoints of a group share.
pub(crate) type MakeRuntime = Box<dyn Fn(&PlannedGroup) -> GroupRuntime>;

/// Divides the descriptors of the process for so many endpoints.
pub(crate) type DivideDescriptors = Box<dyn Fn(&Demand, &Limits) -> FdBudget>;

/// Everything that a desk is made of.
pub(crate) struct Setup {
    pub(crate) endpoints: PlanEndpoints,
    /// In the plan's order.
    pub(crate) groups: Vec<Arc<GroupRuntime>>,
    pub(crate) table: ChunkTable<Bound>,
    /// What the endpoints count, of each chunk that was leased.
    pub(crate) meters: HashMap<ChunkId, Meters>,
    /// The configuration in force.
    pub(crate) settings: watch::Sender<LiveConfig>,
    /// `[udp]`, as the listeners look at it.
    pub(crate) udp: Arc<DatagramLimits>,
    /// What is served now, for whoever else has to know.
    pub(crate) layout: watch::Sender<PlanEndpoints>,
    /// How the descriptors are divided for so many endpoints.
    pub(crate) budget: DivideDescriptors,
    pub(crate) runtime: MakeRuntime,
    /// What an embedder brought along.
    pub(crate) handlers: Arc<Handlers>,
    /// `SO_RCVBUF` of UDP sockets; `None` = the kernel's default.
    pub(crate) receive_buffer: Option<u32>,
    /// How long `ready` waits for undecided endpoints; `None` = until all are.
    pub(crate) wait: Option<Duration>,
    pub(crate) started: Instant,
    pub(crate) board: Arc<Board>,
    pub(crate) restarts: Arc<RestartCounters>,
    /// The machine's own addresses; `None` = the kernel would not say.
    pub(crate) routes: watch::Sender<Option<LocalRoutes>>,
    pub(crate) ready: watch::Sender<Option<Ready>>,
    /// Set when a drain is over.
    pub(crate) drained: watch::Sender<bool>,
    pub(crate) events: Arc<EventHub>,
    pub(crate) error_log: Link<ErrorLog>,
    /// To the error log; bounded.
    pub(crate) notices: mpsc::Sender<Event>,
    /// What did not fit into a queue to the error log.
    pub(crate) dropped: Arc<AtomicU64>,
    /// Asks the service for a new thread where one has ended.
    pub(crate) replace: mpsc::UnboundedSender<WorkerId>,
    /// What each worker is given, by number from 1.
    pub(crate) shares: Vec<WorkerShare>,
}

/// The Supervisor's knowledge; see the module.
pub(crate) struct Desk {
    pub(super) setup: Setup,
    slots: Vec<WorkerSlot>,
    /// Counts Workers, so that no two are taken for one.
    epochs: u64,
    /// Nothing is leased before: the machine is short of something.
    paused_until: Option<Instant>,
    /// When failures that found the error log's mailbox full are sent again.
    resend_at: Option<Instant>,
    ready_at: Option<Instant>,
    /// When more members of endpoints are given out.
    share_out_at: Option<Instant>,
    heartbeat_at: Instant,
    crashes: HashMap<Part, Restarts>,
    /// Another instance may take everything over.
    offering: Option<u64>,
    /// What was there when the drain under way began.
    drain: Option<DrainReport>,
    orders: Orders,
    /// How many of the plan's groups are configured; the others were added live.
    configured: usize,
    limits: limits::LimitWatch,
}

impl Desk {
    /// A desk whose chunks are stacked: they are given out once workers are there.
    pub(crate) fn new(mut setup: Setup, now: Instant) -> Self {
        setup.table.stack_all();
        let configured = setup.endpoints.groups().len();
        let slots = (1..).take(setup.shares.len()).map(|id| WorkerSlot::new(WorkerId(id)));
        Self {
            slots: slots.collect(),
            epochs: 0,
            paused_until: None,
            resend_at: None,
            ready_at: setup.wait.map(|wait| now + wait),
            share_out_at: None,
            heartbeat_at: now + slot::HEARTBEAT,
            crashes: HashMap::new(),
            offering: None,
            drain: None,
            orders: Orders::default(),
            configured,
            limits: limits::LimitWatch::default(),
            setup,
        }
    }

    /// A thread is there for this worker: starts its Worker.
    pub(crate) fn attach(&mut self, worker: WorkerId, thread: ArbiterHandle, now: Instant) {
        let draining = self.drain.is_some();
        if let Some(slot) = self.slot_mut(worker) {
            slot.thread = Some(thread);
            slot.drained = draining;
            slot.restart_at = match slot.restart_at {
                Some(due) => Some(due.max(now)),
                // It crashed too often, and nothing probes it.
                None if slot.greeted => None,
                None => Some(now),
            };
        }
        self.setup.table.worker_came();
    }

    /// A Supervisor begins: what its predecessor was about to do when it died
    /// is done again.
    pub(crate) fn take_over(&mut self, now: Instant) {
        for slot in &self.slots {
            let Some(lease) = self.setup.table.lease_of(slot.id) else { continue };
            // Granted, and never sent: a Worker that got it is processing it,
            // and one that died with it is adopted from.
            if slot.addr.is_some() && slot.state != WorkerState::Processing(lease.chunk) {
                let _present = self.setup.table.revoke(lease, now);
            }
        }
        self.repeat_orders();
        self.share_out_again();
        self.addresses_changed();
    }

    fn slot_mut(&mut self, worker: WorkerId) -> Option<&mut WorkerSlot> {
        self.slots.iter_mut().find(|slot| slot.id == worker)
    }

    fn tell(&self, event: Event) {
        self.setup.events.tell(event);
    }
}

#[cfg(test)]
mod tests;
