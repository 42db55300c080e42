//! What the owner of a service asks of it while it runs.
//!
//! A question that takes long is put slice by slice, so that the Supervisor is
//! never kept for more than a millisecond or two. Each may be heard twice (see
//! `link`): a question changes nothing, and a change is the same when repeated.

use std::sync::Arc;

use actix::Message;

use crate::spec::Selection;
use crate::supervision::{ChunkInfo, EndpointInfo, EndpointState, ErrorGroup, Status};

/// Question, service → Supervisor: these endpoints, a slice of the plan's places.
#[derive(Debug, Clone, Message)]
#[rtype(result = "EndpointSlice")]
pub(crate) struct ListEndpoints {
    pub(crate) selection: Arc<Selection>,
    /// Those in this state alone.
    pub(crate) state: Option<EndpointState>,
    /// Those that do not listen for a fault alone.
    pub(crate) failed: bool,
    /// The first place of the plan to look at.
    pub(crate) from: u64,
    /// How many of those that match are wanted, after how many that are not.
    pub(crate) skip: u64,
    pub(crate) take: u64,
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
