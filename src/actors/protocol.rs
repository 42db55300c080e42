//! Every message of the actor tree, with its direction.
//!
//! Commands are imperative, events are in the past tense.

mod handover;
mod operations;

use std::net::SocketAddr;
use std::sync::Arc;

use actix::{Addr, ArbiterHandle, Message};

pub(crate) use handover::{NotOffered, OfferSockets, Offered, Retirement, WithdrawSockets};
pub use operations::Sessions;
pub(crate) use operations::{
    AwaitClosed, Change, ChangeEndpoints, ChangeSettings, ChangeSlice, CountSources, CutSession,
    DescribeStatus, EndpointSlice, GroupConnections, ListChunks, ListEndpoints, ListenersClosed,
    Locked, LookAgain, NewPlan, NotReplanned, Replan, SettingsRefused, Touch,
};

use super::session::{Accepted, OwnSessions, Served};
use super::worker::Worker;
use crate::config::ListenSettings;
use crate::net::bind::Bound;
use crate::net::datagram::DatagramRules;
use crate::net::terminator::Terminator;
use crate::spec::Endpoint;
use crate::supervision::{
    Charge, ChunkId, ErrorReport, Expired, Fault, Lease, Meter, Outcome, Place, Slot, Verdict,
    WorkerId,
};

/// What all endpoints of a group share once the service runs.
#[derive(Debug)]
pub(crate) struct GroupRuntime {
    pub(crate) name: Arc<str>,
    pub(crate) settings: Arc<ListenSettings>,
    /// `settings.termination`, compiled; `None` = none.
    pub(crate) terminator: Option<Terminator>,
    /// `settings.backlog`, with the system's value where it says auto.
    pub(crate) backlog: u16,
    /// Who serves its sessions; `None` = they echo, or discard.
    pub(crate) sessions: Option<OwnSessions>,
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
    /// What it counts into.
    pub(crate) meter: Meter,
    /// A socket that is bound already, or why none could be.
    pub(crate) reserved: Option<Result<Bound, Fault>>,
    /// It failed when it was tried before.
    pub(crate) retry: bool,
}

/// What became of the endpoints of a lease.
pub(crate) type Outcomes = Vec<(Slot, Outcome<Bound>)>;

/// Command, service → Supervisor: this thread is there to run a worker.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct AttachThread {
    pub(crate) worker: WorkerId,
    pub(crate) thread: ArbiterHandle,
}

/// Event, Worker → Supervisor: it runs, and this is what lives on its thread.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct WorkerStarted {
    pub(crate) worker: WorkerId,
    /// Counts the Workers of the service; the newest of a thread is its owner.
    pub(crate) epoch: u64,
    pub(crate) addr: Addr<Worker>,
    /// Listeners that a predecessor left behind, with their leases and sockets.
    pub(crate) adopted: Vec<(Slot, Lease, Bound)>,
}

/// Event, thread → Supervisor: the Worker actor of this epoch is gone. What it
/// started lives on.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct WorkerEnded {
    pub(crate) worker: WorkerId,
    pub(crate) epoch: u64,
    pub(crate) panic: Option<String>,
}

/// Question, Supervisor → Worker: do you still run?
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Heartbeat;

/// Event, Worker → Supervisor: it still runs.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct HeartBeaten {
    pub(crate) worker: WorkerId,
    pub(crate) epoch: u64,
}

/// Command, Supervisor → Worker: open these endpoints of the chunk.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct AssignChunk {
    pub(crate) lease: Lease,
    pub(crate) orders: Vec<OpenOrder>,
}

/// Command, Supervisor → thread: serve this further socket of an endpoint, which
/// another worker has opened, under this sub-lease.
#[derive(Debug)]
pub(crate) struct ServeMember {
    pub(crate) lease: Lease,
    pub(crate) order: OpenOrder,
    pub(crate) socket: Bound,
}

/// Event, Worker → Supervisor: every endpoint of the order listens.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct ChunkOpened {
    pub(crate) lease: Lease,
    pub(crate) outcomes: Outcomes,
}

/// Event, Worker → Supervisor: at least one endpoint of the order does not listen.
#[derive(Debug, Clone, Message)]
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
    /// Under which it was opened.
    pub(crate) lease: Lease,
    pub(crate) fault: Fault,
}

/// Event, thread → Supervisor: the actor of a listener panicked. Its socket is
/// whole, and its sessions live on.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct ListenerCrashed {
    pub(crate) place: Place,
    /// Under which it was opened.
    pub(crate) lease: Lease,
    pub(crate) panic: String,
}

/// Event, thread → service: one of its actors is gone, and the Supervisor shall
/// know. Travels through a queue instead of from the thread, so that it survives
/// a thread that ends next.
#[derive(Debug)]
pub(crate) enum ActorEnded {
    Worker(WorkerEnded),
    Listener(ListenerCrashed),
}

/// Event, watcher → Supervisor: an address or a route of the machine changed.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct AddressesChanged;

/// One failed endpoint of a [`JudgeFailures`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failure {
    pub(crate) place: Place,
    pub(crate) endpoint: Endpoint,
    pub(crate) fault: Fault,
    /// Attempts used, this one included.
    pub(crate) attempts: u32,
    /// Of a listening socket that failed: what its endpoint's restart intensity
    /// says. An endpoint that listened has used no attempts.
    pub(crate) charge: Option<Charge>,
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
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct FailuresJudged {
    pub(crate) verdicts: Vec<(Place, Verdict)>,
}

/// Event, service → Supervisor: the error log died and has a successor.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct ErrorLogReturned;

/// Event, Listener → the least loaded worker's thread: this connection is yours.
/// Travels through the roster's mailboxes instead of an actor's, so that it
/// survives the Worker, and its thread.
#[derive(Debug)]
pub(crate) struct SessionAccepted {
    pub(crate) served: Served,
    pub(crate) group: Arc<GroupRuntime>,
    pub(crate) accepted: Accepted,
}

/// Event, EchoSession or Listener → ErrorLog: a connection failed, or could not
/// be accepted. Disturbs nothing else.
/// Travels through a bounded queue instead of a mailbox, so that it survives
/// the error log's own death.
#[derive(Debug, Clone)]
pub(crate) struct SessionFailed {
    pub(crate) endpoint: Endpoint,
    /// `None` where nobody was accepted.
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) fault: Fault,
    /// The message, where the session panicked.
    pub(crate) panic: Option<String>,
    /// What an embedder's own session says of it.
    pub(crate) error: Option<String>,
}

/// Question, service → ErrorLog: what was logged so far?
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "ErrorReport")]
pub(crate) struct ReportErrors;

/// Event, thread → Supervisor: no listener and no session is left on it.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct WorkerDrained {
    pub(crate) worker: WorkerId,
}

/// Command, Worker → Listener: close the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub(crate) enum CloseListener {
    /// After what waits in it: nobody else serves it.
    Emptied,
    /// As it is: another process serves it, too.
    HandedOver,
}

/// Command, Worker → EchoSession: this deadline of yours has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub(crate) struct EndSession(pub(crate) Expired);
