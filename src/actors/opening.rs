//! Opening a chunk: bind, listen, start a listener, endpoint after endpoint.
//!
//! An async function that yields every few milliseconds, so that a big chunk
//! never keeps its thread from answering. Decides nothing about retries.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::local::WorkerLocal;
use super::protocol::{AssignChunk, OpenOrder, Outcomes};
use super::serving::{self, Watched, fault};
use crate::config::OnBindError;
use crate::net::bind::{self, BindOptions, Bound};
use crate::net::host::Zones;
use crate::plan::reach::{LocalRoutes, Reach};
use crate::spec::Protocol;
use crate::supervision::{Fault, FaultClass, FaultKind, Lease, Outcome, Slot};

/// Longest time the thread is kept before its other tasks have a turn.
const SLICE: Duration = Duration::from_millis(2);

/// Opens every endpoint of the order and says what became of each.
pub(crate) async fn open_chunk(local: Rc<WorkerLocal>, order: AssignChunk) -> Outcomes {
    let lease = order.lease;
    #[cfg(feature = "fault-injection")]
    if local.share.poisoned.load(std::sync::atomic::Ordering::Relaxed) == lease.chunk.0 {
        super::poison::die("poisoned chunk");
    }
    let mut opening = Opening {
        routes: LocalRoutes::read().ok(),
        outcomes: Vec::with_capacity(order.orders.len()),
        slice: Instant::now(),
        short: false,
        lease,
        local,
    };
    let mut zones = Zones::default();
    let in_zone = |mut order: OpenOrder| {
        order.endpoint.address = zones.present(order.endpoint.address);
        order
    };
    let mut orders = order.orders.into_iter().map(in_zone).peekable();
    while let Some(first) = orders.next() {
        opening.breathe().await;
        if first.group.settings.on_bind_error == OnBindError::Keep {
            opening.open(first);
            continue;
        }
        let group = Arc::clone(&first.group);
        let mut unit = vec![first];
        while let Some(next) = orders.next_if(|next| Arc::ptr_eq(&next.group, &group)) {
            unit.push(next);
        }
        opening.open_all_or_none(unit).await;
    }
    opening.outcomes
}

struct Opening {
    local: Rc<WorkerLocal>,
    lease: Lease,
    /// `None` when the kernel would not say: then every address is tried.
    routes: Option<LocalRoutes>,
    outcomes: Outcomes,
    slice: Instant,
    /// The machine is short of something: nothing more is tried.
    short: bool,
}

impl Opening {
    async fn breathe(&mut self) {
        if self.slice.elapsed() >= SLICE {
            tokio::task::yield_now().await;
            self.slice = Instant::now();
        }
    }

    /// True when the rest of the order shall not be tried.
    fn is_over(&self) -> bool {
        self.short || self.local.is_draining()
    }

    fn open(&mut self, order: OpenOrder) {
        let slot = order.slot;
        if self.is_over() {
            self.outcomes.push((slot, Outcome::Deferred));
            return;
        }
        let begun = Instant::now();
        let opened = self.bind(&order).and_then(|bound| {
            let watched = watch(&order, &bound, &self.local)?;
            Ok((bound, watched))
        });
        self.local.share.counters.bind_took(begun.elapsed());
        let outcome = match opened {
            Ok((bound, watched)) => self.serve(order, bound, watched),
            Err(fault) => self.failed(fault),
        };
        self.outcomes.push((slot, outcome));
    }

    /// Serves all of the unit, or leaves none of its sockets behind.
    async fn open_all_or_none(&mut self, unit: Vec<OpenOrder>) {
        let culprit = match self.watch_all(&unit).await {
            Ok(sockets) => {
                // Without a pause: a drain that begins must find all of them.
                for (order, (bound, watched)) in unit.into_iter().zip(sockets) {
                    let slot = order.slot;
                    let outcome = self.serve(order, bound, watched);
                    self.outcomes.push((slot, outcome));
                }
                return;
            }
            Err(culprit) => culprit,
        };
        for order in unit {
            let outcome = match culprit {
                None => Outcome::Deferred,
                Some((slot, fault)) if slot == order.slot => self.failed(fault),
                Some((_, fault)) => {
                    self.failed(Fault { kind: FaultKind::BindRolledBack, errno: fault.errno })
                }
            };
            self.outcomes.push((order.slot, outcome));
        }
    }

    /// Binds all, then listens on all: a client that got through to a socket
    /// which is rolled back would be reset. The error is the endpoint that
    /// failed; `None` when opening is over.
    async fn watch_all(
        &mut self,
        unit: &[OpenOrder],
    ) -> Result<Vec<(Bound, Watched)>, Option<(Slot, Fault)>> {
        let mut bound = Vec::with_capacity(unit.len());
        for order in unit {
            self.breathe().await;
            if self.is_over() {
                return Err(None);
            }
            let begun = Instant::now();
            let socket = self.bind(order);
            let spent = begun.elapsed();
            if socket.is_err() {
                self.local.share.counters.bind_took(spent);
            }
            bound.push((socket.map_err(|fault| Some((order.slot, fault)))?, spent));
        }
        let mut sockets = Vec::with_capacity(unit.len());
        for (order, (bound, spent)) in unit.iter().zip(bound) {
            self.breathe().await;
            if self.is_over() {
                return Err(None);
            }
            let begun = Instant::now();
            let watched = watch(order, &bound, &self.local);
            self.local.share.counters.bind_took(spent + begun.elapsed());
            sockets.push((bound, watched.map_err(|fault| Some((order.slot, fault)))?));
        }
        Ok(sockets)
    }

    fn failed(&mut self, fault: Fault) -> Outcome<Bound> {
        self.local.share.counters.bind_failed(fault.kind, 1);
        self.short |= fault.class() == FaultClass::Resource;
        Outcome::Failed(fault)
    }

    fn bind(&self, order: &OpenOrder) -> Result<Bound, Fault> {
        if order.retry {
            self.local.share.counters.retried();
        }
        self.check_reach(order)?;
        match &order.reserved {
            Some(Ok(bound)) if bound.is_in_zone_of(&order.endpoint) => Ok(bound.clone()),
            Some(Err(fault)) => Err(*fault),
            // Others may serve the members of what was kept: they close first.
            Some(Ok(bound)) if !bound.members().is_empty() => {
                Err(Fault::without_errno(FaultKind::AddressLost))
            }
            // One that was kept for an interface which is gone is of no use.
            Some(Ok(_)) | None => bind::bind(&order.endpoint, &bind_options(order, &self.local))
                .map_err(|error| fault(&error)),
        }
    }

    /// Linux binds TCP to addresses that nobody can connect to.
    fn check_reach(&self, order: &OpenOrder) -> Result<(), Fault> {
        let Some(routes) = &self.routes else { return Ok(()) };
        if order.endpoint.protocol == Protocol::Udp {
            return Ok(());
        }
        let unreachable = match routes.classify(&order.endpoint.address) {
            Reach::Local | Reach::Wildcard => false,
            Reach::Broadcast | Reach::Multicast => true,
            Reach::Absent => {
                self.local.share.settings.binds_absent(order.endpoint.address)
                    && !order.group.settings.freebind
            }
        };
        if unreachable {
            return Err(Fault::without_errno(FaultKind::BindUnreachable));
        }
        Ok(())
    }

    /// Starts the actor that serves the socket.
    fn serve(&self, order: OpenOrder, bound: Bound, watched: Watched) -> Outcome<Bound> {
        let port = bound.local_addr().port();
        serving::start(&self.local, self.lease, order, &bound, watched);
        self.local.share.counters.endpoint_opened();
        opened(port, bound)
    }
}

/// The outcome of an endpoint that listens.
pub(super) fn opened(port: u16, socket: Bound) -> Outcome<Bound> {
    let sockets = u16::try_from(1 + socket.members().len()).unwrap_or(u16::MAX);
    Outcome::Opened { port, socket, sockets }
}

/// Listens: all that can fail before a socket is served.
fn watch(order: &OpenOrder, bound: &Bound, local: &WorkerLocal) -> Result<Watched, Fault> {
    let workers = local.share.roster.workers();
    let listens = if order.group.settings.reuse_port && workers > 1 && local.share.gate.is_open() {
        bind::listen_together(bound, &bind_options(order, local), workers)
    } else {
        bind::listen(bound, order.group.backlog)
    };
    listens.map_err(|error| fault(&error))?;
    Watched::new(bound, local)
}

fn bind_options(order: &OpenOrder, local: &WorkerLocal) -> BindOptions {
    BindOptions {
        freebind: order.group.settings.freebind,
        backlog: order.group.backlog,
        receive_buffer: local.share.settings.receive_buffer,
    }
}
