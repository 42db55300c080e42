//! The error log: where every failure arrives, and where retries are decided.
//!
//! Applies [`RetryPolicy`] to failed endpoints and counts everything by kind.
//! Writes one grouped log line for a batch, never one a failure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix::{Actor, Addr, AsyncContext, Context, Handler, MessageResult, WrapFuture};

use super::protocol::{Failure, FailuresJudged, JudgeFailures, ReportErrors, SessionFailed};
use super::supervisor::Supervisor;
use crate::spec::{Endpoint, compress};
use crate::supervision::{ErrorReport, Fault, FaultClass, FaultKind, RetryPolicy, Verdict};

/// Most session failures that wait to be logged; more are counted as dropped.
const QUEUE: usize = 10_000;
/// Longest list of endpoints in a log line. Unit: characters.
const NAMED: usize = 200;
/// Session failures are logged together, at most this often; so is a shortage.
const FLUSH: Duration = Duration::from_secs(1);

/// The actor that failures flow to.
pub(crate) struct ErrorLog {
    policy: RetryPolicy,
    supervisor: Option<Addr<Supervisor>>,
    by_kind: BTreeMap<FaultKind, u64>,
    logged: u64,
    unlogged: Arc<AtomicU64>,
    sessions: BTreeMap<FaultKind, SessionBatch>,
    /// When a shortage was logged last: it comes back after each pause.
    shortage_logged: Option<Instant>,
}

/// Session failures of one kind that were not written to the log yet.
struct SessionBatch {
    count: u64,
    last: SessionFailed,
}

impl ErrorLog {
    /// `unlogged` counts the session failures that did not fit into the queue.
    pub(crate) const fn new(policy: RetryPolicy, unlogged: Arc<AtomicU64>) -> Self {
        Self {
            policy,
            supervisor: None,
            by_kind: BTreeMap::new(),
            logged: 0,
            unlogged,
            sessions: BTreeMap::new(),
            shortage_logged: None,
        }
    }

    fn count(&mut self, kind: FaultKind) {
        self.logged += 1;
        *self.by_kind.entry(kind).or_default() += 1;
    }

    /// False for a shortage that was logged within the last second.
    fn is_news(&mut self, fault: Fault) -> bool {
        if fault.class() != FaultClass::Resource {
            return true;
        }
        let news = self.shortage_logged.is_none_or(|at| at.elapsed() >= FLUSH);
        if news {
            self.shortage_logged = Some(Instant::now());
        }
        news
    }

    fn flush_sessions(&mut self) {
        for (kind, batch) in std::mem::take(&mut self.sessions) {
            tracing::debug!(
                kind = kind.as_str(),
                count = batch.count,
                endpoint = %batch.last.endpoint,
                peer = %batch.last.peer,
                "sessions failed; the last one is named"
            );
        }
    }
}

impl Actor for ErrorLog {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(QUEUE);
    }
}

/// Command, service → ErrorLog: verdicts go to this supervisor.
#[derive(Debug, actix::Message)]
#[rtype(result = "()")]
pub(crate) struct AttachSupervisor(pub(crate) Addr<Supervisor>);

impl Handler<AttachSupervisor> for ErrorLog {
    type Result = ();

    fn handle(&mut self, AttachSupervisor(supervisor): AttachSupervisor, _: &mut Self::Context) {
        self.supervisor = Some(supervisor);
    }
}

impl Handler<JudgeFailures> for ErrorLog {
    type Result = ();

    fn handle(&mut self, order: JudgeFailures, ctx: &mut Self::Context) {
        // One draw for the batch: what failed together is retried together.
        let chance = fastrand::f64();
        let mut groups: BTreeMap<(FaultKind, &str), (Fault, Vec<Endpoint>)> = BTreeMap::new();
        let mut verdicts = Vec::with_capacity(order.failures.len());
        for Failure { place, endpoint, fault, attempts } in &order.failures {
            self.count(fault.kind);
            let verdict = self.policy.judge(*fault, *attempts, chance);
            let group = groups.entry((fault.kind, outlook(verdict)));
            group.or_insert_with(|| (*fault, Vec::new())).1.push(*endpoint);
            verdicts.push((*place, verdict));
        }
        for ((kind, outlook), (fault, endpoints)) in groups {
            if !self.is_news(fault) {
                continue;
            }
            tracing::warn!(
                chunk = %order.chunk,
                kind = kind.as_str(),
                count = endpoints.len(),
                endpoints = compress(endpoints, NAMED),
                outlook,
                "endpoints do not listen: {}",
                fault.explain()
            );
        }
        if let Some(supervisor) = self.supervisor.clone() {
            let judged = FailuresJudged { verdicts };
            // Waits for room in the supervisor's mailbox.
            let sent = async move {
                let _gone = supervisor.send(judged).await;
            };
            ctx.spawn(sent.into_actor(self));
        }
    }
}

impl Handler<SessionFailed> for ErrorLog {
    type Result = ();

    fn handle(&mut self, failed: SessionFailed, ctx: &mut Self::Context) {
        self.count(failed.fault.kind);
        if self.sessions.is_empty() {
            ctx.run_later(FLUSH, |log, _ctx| log.flush_sessions());
        }
        let batch = self
            .sessions
            .entry(failed.fault.kind)
            .or_insert(SessionBatch { count: 0, last: failed });
        batch.count += 1;
        batch.last = failed;
    }
}

impl Handler<ReportErrors> for ErrorLog {
    type Result = MessageResult<ReportErrors>;

    fn handle(&mut self, _question: ReportErrors, _ctx: &mut Self::Context) -> Self::Result {
        self.flush_sessions();
        MessageResult(ErrorReport {
            logged: self.logged,
            dropped: self.unlogged.load(Ordering::Relaxed),
            by_kind: self.by_kind.clone(),
        })
    }
}

const fn outlook(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::RetryAfter(_) => "retrying",
        Verdict::Pause(_) => "waiting for resources",
        Verdict::Quarantine { probe: Some(_) } => "quarantined, probed now and then",
        Verdict::Quarantine { probe: None } => "quarantined",
    }
}
