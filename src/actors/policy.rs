//! An embedder's own say in what becomes of failed endpoints.
//!
//! Asks it, within a time; where it does not answer, the built-in policy decides, as it
//! does of shortages of the machine. Never writes a verdict itself: the book does.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use actix::{Message, MessageResponse, Recipient};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::protocol::{Failure, JudgeFailures};
use crate::spec::Endpoint;
use crate::supervision::{Fault, FaultClass};

/// How long all failures of one chunk may take an actor together.
const PATIENCE: Duration = Duration::from_secs(1);

/// Question, service → the embedder's policy: what shall become of this endpoint?
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "Decision")]
#[non_exhaustive]
pub struct EndpointFailed {
    /// Which one.
    pub endpoint: Endpoint,
    /// What went wrong. Shortages of the machine are not asked about.
    pub fault: Fault,
    /// How often it was tried since it last listened, this time included; at least 1.
    pub attempts: u32,
}

impl From<&Failure> for EndpointFailed {
    fn from(failure: &Failure) -> Self {
        let Failure { endpoint, fault, attempts, .. } = *failure;
        Self { endpoint, fault, attempts: attempts.max(1) }
    }
}

/// What shall become of a failed endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, MessageResponse)]
#[non_exhaustive]
pub enum Decision {
    /// What `[retry]` says.
    BuiltIn,
    /// It is opened again after this time, at least 10 ms.
    RetryAfter(Duration),
    /// It is quarantined, until an operator retries it.
    GiveUp,
    /// It is quarantined, and the service drains and ends: without this endpoint it is of
    /// no use. `Summary::escalated` names it.
    Escalate,
}

/// Decides what becomes of endpoints that fail, instead of `[retry]`.
///
/// A closure is one. It runs on the service's thread, for one endpoint after another, and
/// must not block. Where it panics, the built-in policy decides, and a line in the log
/// says so.
pub trait FailurePolicy: Send + Sync + 'static {
    /// What shall become of this endpoint.
    fn judge(&self, failed: &EndpointFailed) -> Decision;
}

impl<F: Fn(&EndpointFailed) -> Decision + Send + Sync + 'static> FailurePolicy for F {
    fn judge(&self, failed: &EndpointFailed) -> Decision {
        self(failed)
    }
}

/// Who is asked.
#[derive(Clone)]
pub(crate) enum OwnPolicy {
    Function(Arc<dyn FailurePolicy>),
    Actor(Recipient<EndpointFailed>),
}

/// What was decided, and what is to be said about it.
#[derive(Debug, Default)]
pub(crate) struct Decided {
    /// One for each failure of the order; none for the rest.
    pub(crate) decisions: Vec<Decision>,
    /// Why the built-in policy had to decide.
    pub(crate) silence: Option<&'static str>,
}

impl OwnPolicy {
    /// Asks about each failure of the order.
    pub(crate) async fn ask(&self, order: &JudgeFailures) -> Decided {
        let deadline = Instant::now() + PATIENCE;
        let mut decided = Decided::default();
        for failure in &order.failures {
            let decision = match self.ask_one(failure, deadline).await {
                Ok(decision) => decision,
                Err(silence) => {
                    decided.silence = Some(silence);
                    Decision::BuiltIn
                }
            };
            decided.decisions.push(decision);
        }
        decided
    }

    async fn ask_one(
        &self,
        failure: &Failure,
        deadline: Instant,
    ) -> Result<Decision, &'static str> {
        let failed = EndpointFailed::from(failure);
        if failed.fault.class() == FaultClass::Resource {
            return Ok(Decision::BuiltIn);
        }
        match self {
            Self::Function(policy) => {
                catch_unwind(AssertUnwindSafe(|| policy.judge(&failed))).map_err(|_| "it panicked")
            }
            Self::Actor(policy) => match timeout_at(deadline, policy.send(failed)).await {
                Ok(Ok(decision)) => Ok(decision),
                Ok(Err(_)) => Err("its actor is gone"),
                Err(_) => Err("it did not answer within a second"),
            },
        }
    }
}

impl fmt::Debug for OwnPolicy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("OwnPolicy").finish_non_exhaustive()
    }
}

/// Where an escalated failure is left: the first of a service.
pub(crate) type Escalation = watch::Sender<Option<EndpointFailed>>;
