//! Every message of the actor tree, with its direction.
//!
//! Commands are imperative, events are in the past tense.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, Message};
use tokio::sync::oneshot;

use super::worker::Worker;
use crate::config::ListenSettings;
use crate::net::bind::Bound;
use crate::net::datagram::DatagramRules;
use crate::net::terminator::Terminator;
use crate::spec::Endpoint;
use crate::supervision::{
    ChunkId, DrainReport, ErrorReport, Expired, Fault, Lease, Outcome, Place, Slot, Verdict,
    WorkerId,
};

/// What all endpoints of a group share once the service runs.
#[derive(Debug)]
pub(crate) struct GroupRuntime {
    pub(crate) settings: Arc<ListenSettings>,
    /// `settings.termination`, compiled; `None` = none.
    pub(crate) terminator: Option<Terminator>,
    /// `settings.backlog`, with the system's value where it says auto.
    pub(crate) backlog: u16,
    /// What its UDP listeners do with datagrams.
    pub(crate) datagrams: DatagramRules,
}

/// One endpoint of an [`AssignChunk`].
#[derive(Debug)]
pub(crate) struct OpenOrder {
    pub(crate) slot: Slot,
    /// With the port that it got before, where the kernel chose one.
    pub(crate) endpoint: Endpoint,
    pub(crate) group: Arc<GroupRuntime>,
    /// A socket that is bound already, or why none could be.
    pub(crate) reserved: Option<Result<Bound, Fault>>,
}

/// What became of the endpoints of a lease.
pub(crate) type Outcomes = Vec<(Slot, Outcome<Bound>)>;

/// Command, service → Supervisor: this worker is there to be given chunks.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct AttachWorker {
    pub(crate) worker: WorkerId,
    pub(crate) addr: Addr<Worker>,
}

/// Command, service → Supervisor: put the chunks on the stack and dispatch them.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct BeginDispatch;

/// Command, Supervisor → Worker: open these endpoints of the chunk.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct AssignChunk {
    pub(crate) lease: Lease,
    pub(crate) orders: Vec<OpenOrder>,
}

/// Event, Worker → Supervisor: every endpoint of the order listens.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct ChunkOpened {
    pub(crate) lease: Lease,
    pub(crate) outcomes: Outcomes,
}

/// Event, Worker → Supervisor: at least one endpoint of the order does not listen.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct ChunkFailed {
    pub(crate) lease: Lease,
    pub(crate) outcomes: Outcomes,
}

/// Event, Listener → Supervisor: the socket of an opened endpoint failed.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct ListenerFailed {
    pub(crate) place: Place,
    pub(crate) fault: Fault,
}

/// One failed endpoint of a [`JudgeFailures`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failure {
    pub(crate) place: Place,
    pub(crate) endpoint: Endpoint,
    pub(crate) fault: Fault,
    /// Attempts used, this one included.
    pub(crate) attempts: u32,
}

/// Command, Supervisor → ErrorLog: log these failures of a chunk and apply the
/// retry policy. Each failure is put, and so counted, once.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct JudgeFailures {
    pub(crate) chunk: ChunkId,
    pub(crate) failures: Vec<Failure>,
}

/// Event, ErrorLog → Supervisor: what shall become of failed endpoints.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct FailuresJudged {
    pub(crate) verdicts: Vec<(Place, Verdict)>,
}

/// Event, EchoSession → ErrorLog: a connection failed. Disturbs nothing else.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct SessionFailed {
    pub(crate) endpoint: Endpoint,
    pub(crate) peer: SocketAddr,
    pub(crate) fault: Fault,
}

/// Question, service → ErrorLog: what was logged so far?
#[derive(Debug, Message)]
#[rtype(result = "ErrorReport")]
pub(crate) struct ReportErrors;

/// Command, service → Supervisor: accept nothing new, let sessions end.
/// Answers with what was there; `done` is told when all ended, or the time is up.
#[derive(Debug, Message)]
#[rtype(result = "DrainReport")]
pub(crate) struct BeginDrain {
    /// `None` = wait for ever.
    pub(crate) timeout: Option<Duration>,
    pub(crate) done: oneshot::Sender<()>,
}

/// Command, Supervisor → Worker: close the listeners, drain the sessions.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct DrainWorker;

/// Event, Worker → Supervisor: no listener and no session is left.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct WorkerDrained {
    pub(crate) worker: WorkerId,
}

/// Command, Worker → Listener: take what the backlog holds, then close.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct CloseListener;

/// Command, Worker → EchoSession: this deadline of yours has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub(crate) struct EndSession(pub(crate) Expired);
