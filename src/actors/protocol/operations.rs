//! What the owner of a service asks of it while it runs.
//!
//! A question that takes long is put slice by slice, so that the Supervisor is
//! never kept for more than a millisecond or two. Each may be heard twice (see
//! `link`): a question changes nothing, and a change is the same when repeated.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use actix::Message;
use tokio::sync::mpsc;

use crate::config::{Config, ConfigErrors, NotSet, SettingChange};
use crate::plan::endpoints::{PlanError, PlannedGroup};
use crate::spec::Selection;
use crate::supervision::{
    ChunkInfo, EndpointInfo, EndpointState, ErrorGroup, Lease, Order, Place, PlanDiff, Status,
};

/// Question, service → Supervisor: these endpoints, a slice of the plan's places.
#[derive(Debug, Clone, Message)]
#[rtype(result = "EndpointSlice")]
pub(crate) struct ListEndpoints {
    pub(crate) selection: Arc<Selection>,
    /// Those in this state alone.
    pub(crate) state: Option<EndpointState>,
    /// Those that do not listen for a fault alone.
    pub(crate) failed: bool,
    /// By who came to them since the last mark.
    pub(crate) touch: Option<Touch>,
    /// The first place of the plan to look at.
    pub(crate) from: u64,
    /// How many of those that match are wanted, after how many that are not.
    pub(crate) skip: u64,
    pub(crate) take: u64,
}

/// Who came to an endpoint since the last mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touch {
    Nobody,
    /// The last client was from this network, of so many bits.
    From(IpAddr, u8),
}

/// Answer to [`ListEndpoints`].
#[derive(Debug)]
pub(crate) struct EndpointSlice {
    pub(crate) endpoints: Vec<EndpointInfo>,
    /// How many matched within the slice.
    pub(crate) matched: u64,
    /// Where the next slice begins.
    pub(crate) next: Option<u64>,
}

/// Question, service → Supervisor: so many chunks, after so many.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Vec<ChunkInfo>")]
pub(crate) struct ListChunks {
    pub(crate) skip: usize,
    pub(crate) take: usize,
}

/// Question, service → Supervisor: how is everything?
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Status")]
pub(crate) struct DescribeStatus;

/// Question, service → ErrorLog: which connections failed?
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Vec<ErrorGroup>")]
pub(crate) struct GroupConnections;

/// Command, service → Supervisor: take these endpoints out of service, or put
/// them back, a slice of the plan's places.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<ChangeSlice, Locked>")]
pub(crate) struct ChangeEndpoints {
    pub(crate) selection: Arc<Selection>,
    pub(crate) change: Change,
    /// The first place of the plan to look at.
    pub(crate) from: u64,
}

/// What shall become of endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Closed until it is resumed, or for so long.
    Suspend { sessions: Sessions, time: Option<Duration> },
    /// Closed, and its sessions end in time.
    Drain,
    /// Opened again.
    Resume,
    /// Opened again although its attempts or restarts are used up.
    Retry,
    /// Gone for good; its sessions end in time.
    Remove,
}

impl From<Change> for Order {
    fn from(change: Change) -> Self {
        match change {
            Change::Suspend { .. } => Self::Suspend,
            Change::Drain => Self::Drain,
            Change::Resume => Self::Resume,
            Change::Retry => Self::Retry,
            Change::Remove => Self::Remove,
        }
    }
}

/// What becomes of the sessions of an endpoint that is suspended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sessions {
    /// They go on.
    #[default]
    Keep,
    /// They end with FIN, in order.
    Fin,
    /// They are reset, as when a machine fails. Counted as forced.
    Reset,
}

/// Answer to [`ChangeEndpoints`].
#[derive(Debug, Default)]
pub(crate) struct ChangeSlice {
    /// How many were named.
    pub(crate) matched: u64,
    /// How many of them are different now.
    pub(crate) changed: u64,
    /// Those whose listener is still to close.
    pub(crate) closing: Vec<Place>,
    /// Where the next slice begins.
    pub(crate) next: Option<u64>,
}

/// Why nothing is changed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Locked {
    /// The service ends.
    Draining,
    /// Another instance is taking it over.
    HandingOver,
}

/// Command, service → Supervisor: say when the listeners of these endpoints are
/// gone, or after a while how many are not.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct AwaitClosed {
    pub(crate) places: Arc<[Place]>,
    pub(crate) tell: mpsc::Sender<u64>,
}

/// Event, thread → Supervisor: these listeners were told to close, and are gone.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct ListenersClosed {
    pub(crate) listeners: Arc<[(Place, Lease)]>,
}

/// Command, thread → Listener: clients that wait for room may not have to any more.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct LookAgain;

/// Command, thread → EchoSession: an operator ends you.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Message)]
#[rtype(result = "()")]
pub(crate) enum CutSession {
    /// With FIN, after what waits for the peer.
    Fin,
    /// With a reset.
    Reset,
    /// At once: it had its time.
    Overdue,
}

/// Command, service → Supervisor: serve this from now on, and touch nothing
/// that stays as it is.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<PlanDiff, NotReplanned>")]
pub(crate) struct Replan {
    pub(crate) what: NewPlan,
    /// Only say what would be done.
    pub(crate) dry_run: bool,
}

/// What shall be served.
#[derive(Debug, Clone)]
pub(crate) enum NewPlan {
    /// These groups instead of the configured ones; what was added stays.
    /// With the configuration that they are of.
    Instead { groups: Vec<PlannedGroup>, config: Arc<Config> },
    /// This group too.
    Also(PlannedGroup),
}

/// Why a plan was refused. Nothing changed.
#[derive(Debug, Clone)]
pub(crate) enum NotReplanned {
    Locked(Locked),
    /// It contradicts what is served.
    Plan(PlanError),
    /// It contradicts what was set live.
    Settings(ConfigErrors),
    /// So many descriptors would be needed, and so many may be had.
    FdLimit {
        needed: u64,
        have: u64,
    },
}

/// Command, service → Supervisor: set all of these keys, or none; written as
/// `--set` takes them.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Vec<SettingChange>, SettingsRefused>")]
pub(crate) struct ChangeSettings {
    pub(crate) assignments: Arc<[(String, String)]>,
}

/// Why settings stay as they are.
#[derive(Debug, Clone)]
pub(crate) enum SettingsRefused {
    Locked(Locked),
    NotSet(NotSet),
}

/// Command, service → Supervisor: have every thread count the sessions of each
/// source, and tell when they have.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct CountSources {
    pub(crate) tell: mpsc::Sender<()>,
}
