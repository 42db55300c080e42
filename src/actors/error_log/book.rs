//! The error log's book: counts by kind, verdicts, and lines within a budget.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::repeat;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use crate::actors::event_hub::{EventHub, lines};
use crate::actors::policy::{Decided, Decision, EndpointFailed, Escalation, OwnPolicy};
use crate::actors::protocol::{Failure, FailuresJudged, JudgeFailures, SessionFailed};
use crate::config::LiveConfig;
use crate::spec::Endpoint;
use crate::supervision::{
    EndpointFailures, ErrorGroup, ErrorReport, Event, Fault, FaultClass, FaultKind, LineBudget,
    Outlook, RetryPolicy, Verdict,
};

/// Most endpoints that are remembered for a cause of failed connections.
const PLACES: usize = 256;
/// The least delay before an endpoint is opened again, whatever an embedder says.
const LEAST_DELAY: Duration = Duration::from_millis(10);
/// Most lines a second that failures may write; more are counted.
const LINES_A_SECOND: u32 = 20;

/// What the error log knows.
pub(crate) struct Book {
    /// The configuration in force: `[retry]` of it.
    settings: watch::Receiver<LiveConfig>,
    /// Who is asked before `[retry]`, if an embedder says so.
    pub(super) own: Option<OwnPolicy>,
    /// The failure that ends the service, if an embedder says so.
    escalation: Arc<Escalation>,
    by_kind: BTreeMap<FaultKind, u64>,
    logged: u64,
    /// Session failures that did not fit into the queue.
    dropped: Arc<AtomicU64>,
    /// Session failures on their way; bounded by its capacity.
    pub(super) queue: mpsc::Receiver<SessionFailed>,
    /// What else is to be logged: it travels through a queue instead of a mailbox, so
    /// that it survives the error log's own death. Bounded by its capacity.
    pub(super) notices: mpsc::Receiver<Event>,
    events: Arc<EventHub>,
    sessions: BTreeMap<FaultKind, SessionBatch>,
    /// Every connection that failed since the start.
    connections: BTreeMap<FaultKind, Connections>,
    lines: LineBudget,
    /// When a shortage was logged last.
    shortage: Option<Instant>,
}

/// Session failures of one kind that were not written to the log yet.
struct SessionBatch {
    count: u64,
    last: SessionFailed,
}

/// Connections that failed of one cause.
struct Connections {
    fault: Fault,
    count: u64,
    /// Where; at most [`PLACES`].
    endpoints: BTreeSet<Endpoint>,
    last_peer: Option<SocketAddr>,
}

impl Book {
    pub(crate) fn new(
        settings: watch::Receiver<LiveConfig>,
        (own, escalation): (Option<OwnPolicy>, Arc<Escalation>),
        queue: mpsc::Receiver<SessionFailed>,
        notices: mpsc::Receiver<Event>,
        events: Arc<EventHub>,
        dropped: Arc<AtomicU64>,
    ) -> Self {
        Self {
            settings,
            own,
            escalation,
            by_kind: BTreeMap::new(),
            logged: 0,
            dropped,
            queue,
            notices,
            events,
            sessions: BTreeMap::new(),
            connections: BTreeMap::new(),
            lines: LineBudget::new(LINES_A_SECOND),
            shortage: None,
        }
    }

    /// Logs a batch of failures and decides what becomes of each, as an embedder said,
    /// if it did.
    pub(super) fn judge(
        &mut self,
        order: &JudgeFailures,
        decided: Decided,
        chance: f64,
        now: Instant,
    ) -> FailuresJudged {
        let policy = RetryPolicy::new(self.settings.borrow().config().retry.clone());
        let mut groups: BTreeMap<(Fault, Outlook), Vec<Endpoint>> = BTreeMap::new();
        let mut verdicts = Vec::with_capacity(order.failures.len());
        if let Some(reason) = decided.silence
            && self.may_write(now)
        {
            tracing::warn!(reason, "the program's failure policy did not decide: [retry] does");
        }
        let decisions = decided.decisions.into_iter().map(Some).chain(repeat(None));
        for (failure, decision) in order.failures.iter().zip(decisions) {
            let Failure { place, endpoint, fault, attempts, charge } = failure;
            self.count(fault.kind);
            let verdict = match decision {
                Some(Decision::RetryAfter(delay)) => Verdict::RetryAfter(delay.max(LEAST_DELAY)),
                Some(Decision::GiveUp) => Verdict::Quarantine { probe: None },
                Some(Decision::Escalate) => {
                    self.escalate(EndpointFailed::from(failure));
                    Verdict::Quarantine { probe: None }
                }
                // One draw for the batch: what failed together is retried together.
                Some(Decision::BuiltIn) | None => {
                    charge.map_or_else(|| policy.judge(*fault, *attempts, chance), Verdict::from)
                }
            };
            groups.entry((*fault, verdict.into())).or_default().push(*endpoint);
            verdicts.push((*place, verdict));
        }
        for ((fault, outlook), endpoints) in groups {
            let failures = EndpointFailures::new(order.chunk, fault, outlook, endpoints.into());
            let event = Event::EndpointsFailed(failures);
            if self.is_news(fault, now) && self.may_write(now) {
                lines::write(&event);
            }
            self.events.publish(event);
        }
        FailuresJudged { verdicts }
    }

    /// Ends the service because of this failure. The first one counts.
    fn escalate(&mut self, failed: EndpointFailed) {
        let EndpointFailed { endpoint, fault, .. } = failed;
        let is_first = self.escalation.send_if_modified(|known| {
            let is_first = known.is_none();
            known.get_or_insert(failed);
            is_first
        });
        if is_first {
            let fault = fault.explain();
            tracing::error!(%endpoint, "the program's failure policy ends the service: {fault}");
        }
    }

    /// Logs what asks for no verdict.
    pub(super) fn take(&mut self, event: &Event, now: Instant) {
        if let Some((kind, times)) = event.fault() {
            self.logged += times;
            *self.by_kind.entry(kind).or_default() += times;
        }
        if self.may_write(now) {
            lines::write(event);
        }
    }

    pub(super) fn session_failed(&mut self, failed: SessionFailed) {
        let kind = failed.fault.kind;
        self.count(kind);
        self.remember(&failed);
        match self.sessions.get_mut(&kind) {
            Some(batch) => {
                batch.count += 1;
                batch.last = failed;
            }
            None => {
                self.sessions.insert(kind, SessionBatch { count: 1, last: failed });
            }
        }
    }

    fn remember(&mut self, failed: &SessionFailed) {
        let SessionFailed { endpoint, peer, fault, .. } = *failed;
        let known = self.connections.entry(fault.kind).or_insert_with(|| Connections {
            fault,
            count: 0,
            endpoints: BTreeSet::new(),
            last_peer: None,
        });
        known.fault = fault;
        known.count += 1;
        known.last_peer = peer;
        if known.endpoints.len() < PLACES {
            known.endpoints.insert(endpoint);
        }
    }

    /// The connections that failed since the start, by cause.
    pub(super) fn connections(&self) -> Vec<ErrorGroup> {
        let groups = self.connections.values().filter_map(|known| {
            ErrorGroup::of_connections(known.fault, known.count, &known.endpoints, known.last_peer)
        });
        groups.collect()
    }

    /// Writes a line for each kind of session failure since the last time.
    pub(super) fn flush(&mut self, now: Instant) {
        for (kind, SessionBatch { count, last }) in std::mem::take(&mut self.sessions) {
            let shortage = kind == FaultKind::AcceptShortage;
            // What peers do is no news to an operator; these two are.
            if (shortage || last.panic.is_some()) && !self.may_write(now) {
                continue;
            }
            let (name, endpoint, fault) = (kind.as_str(), last.endpoint, last.fault);
            let peer = last.peer.map(tracing::field::display);
            match last.panic {
                Some(panic) => {
                    tracing::error!(kind = name, count, %endpoint, peer, panic, "sessions panicked; the last one is named");
                }
                None if shortage => {
                    let errno = fault.errno_name();
                    tracing::warn!(kind = name, count, %endpoint, errno, "clients wait: {}", fault.explain());
                }
                None => {
                    let error = last.error;
                    tracing::debug!(kind = name, count, %endpoint, peer, error, "connections failed; the last one is named");
                }
            }
        }
    }

    /// Everything that was logged, also what is still in the queue.
    pub(crate) fn report(&mut self, now: Instant) -> ErrorReport {
        while let Ok(event) = self.notices.try_recv() {
            self.take(&event, now);
        }
        while let Ok(failed) = self.queue.try_recv() {
            self.session_failed(failed);
        }
        self.flush(now);
        ErrorReport {
            logged: self.logged,
            dropped: self.dropped.load(Ordering::Relaxed),
            by_kind: self.by_kind.clone(),
        }
    }

    fn count(&mut self, kind: FaultKind) {
        self.logged += 1;
        *self.by_kind.entry(kind).or_default() += 1;
    }

    /// False for a shortage that was logged within the last second: it comes
    /// back after each pause.
    fn is_news(&mut self, fault: Fault, now: Instant) -> bool {
        if fault.class() != FaultClass::Resource {
            return true;
        }
        let second = Duration::from_secs(1);
        let news = self.shortage.is_none_or(|logged| now.duration_since(logged) >= second);
        if news {
            self.shortage = Some(now);
        }
        news
    }

    fn may_write(&mut self, now: Instant) -> bool {
        let turn = self.lines.take(now);
        if let Some(suppressed) = turn.suppressed {
            tracing::warn!(suppressed, "more was counted than written");
        }
        turn.granted
    }
}
