//! What the owner of a running service may ask of it: lists, errors, status.
//!
//! Each is a plain async method of [`ServiceHandle`] and may be called from any
//! runtime. Long answers are fetched slice by slice, so that the Supervisor
//! serves others in between.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use super::handle::ServiceHandle;
use super::pages::Pages;
use super::port_holders::name_holders;
use crate::actors::protocol::{
    DescribeStatus, GroupConnections, ListChunks, ListEndpoints, Locked, ReportErrors, Touch,
};
use crate::config::ConfigErrors;
use crate::net::host;
use crate::plan::endpoints::PlanError;
use crate::spec::{Selection, Selector, SpecError, Zone};
use crate::supervision::{
    ChunkInfo, EndpointState, ErrorGroup, ErrorReport, Event, FaultKind, Listing, Status,
    group_failures,
};

/// Why a running service did not do what it was asked. Nothing changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperationError {
    /// The selector cannot be read, or names what the machine does not know.
    #[error("{0}")]
    Selector(#[from] SpecError),
    /// The selector names no endpoint of the service.
    #[error("`{selector}` names no endpoint of the service; a list of `*` shows what there is")]
    NothingMatches {
        /// The selector.
        selector: String,
    },
    /// The new endpoints make no plan with what is served.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The new plan does not fit into the process's file descriptors.
    #[error(
        "the plan would need {needed} file descriptors and the process may have {have}; raise \
         RLIMIT_NOFILE (`ulimit -n`) and start again, or serve fewer endpoints"
    )]
    FdLimit {
        /// Descriptors that it needs.
        needed: u64,
        /// Descriptors that the process may have.
        have: u64,
    },
    /// Keys that are unknown, or values that they do not take; also where what was
    /// set live contradicts a new configuration.
    #[error("{0}")]
    BadSetting(ConfigErrors),
    /// Keys that a running service does not take over.
    #[error("{0}")]
    NeedsRestart(ConfigErrors),
    /// A spec that only excludes adds nothing.
    #[error("`{spec}` only excludes, so it adds nothing; remove takes endpoints away")]
    Exclusion {
        /// The spec.
        spec: String,
    },
    /// No group has that name.
    #[error("there is no group `{name}`; there are {known}")]
    UnknownGroup {
        /// The name.
        name: String,
        /// The groups there are.
        known: String,
    },
    /// The service drains, so it changes nothing any more.
    #[error("the service drains and changes nothing any more; start it again")]
    Draining,
    /// Another instance is taking the service over.
    #[error(
        "another instance is taking this one over, and nothing is changed meanwhile; ask again \
         in a moment, and the one that serves then will answer"
    )]
    HandingOver,
    /// The service has ended.
    #[error("the service has ended; start it again")]
    Ended,
    /// The system gave no thread to look something up on.
    #[error("nothing can be looked up now: {0}; try again")]
    Io(#[from] std::io::Error),
}

impl From<Locked> for OperationError {
    fn from(locked: Locked) -> Self {
        match locked {
            Locked::Draining => Self::Draining,
            Locked::HandingOver => Self::HandingOver,
        }
    }
}

/// Which part of a list is wanted. The default is all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListOptions {
    /// Endpoints in this state alone.
    pub state: Option<EndpointState>,
    /// At most so many.
    pub limit: u64,
    /// After so many that are left out.
    pub offset: u64,
    touch: Option<Touch>,
}

impl Default for ListOptions {
    fn default() -> Self {
        Self { state: None, limit: u64::MAX, offset: 0, touch: None }
    }
}

impl ListOptions {
    /// Endpoints in this state alone.
    #[must_use]
    pub const fn state(mut self, state: EndpointState) -> Self {
        self.state = Some(state);
        self
    }

    /// Endpoints alone to which nobody came since the last
    /// [`mark`](ServiceHandle::mark), or since the start.
    #[must_use]
    pub const fn untouched(mut self) -> Self {
        self.touch = Some(Touch::Nobody);
        self
    }

    /// Endpoints alone whose last client since the last
    /// [`mark`](ServiceHandle::mark), or since the start, was in the network of
    /// `network` and this many bits. An endpoint remembers its last client only:
    /// who came before another is forgotten.
    #[must_use]
    pub const fn touched_by(mut self, network: IpAddr, prefix_bits: u8) -> Self {
        self.touch = Some(Touch::From(network, prefix_bits));
        self
    }

    /// At most so many, after `offset` that are left out.
    #[must_use]
    pub const fn page(mut self, limit: u64, offset: u64) -> Self {
        self.limit = limit;
        self.offset = offset;
        self
    }
}

impl ServiceHandle {
    /// The endpoints that `selector` names, in the order of the plan, each with
    /// all that is known of it. A selector that names nothing gives an empty list.
    ///
    /// Each endpoint is shown as it was at one moment, and another maybe a
    /// little later.
    ///
    /// # Errors
    /// [`OperationError::Selector`] where a host, an interface or a file cannot
    /// be resolved; [`OperationError::Ended`].
    pub async fn list(
        &self,
        selector: &Selector,
        options: ListOptions,
    ) -> Result<Listing, OperationError> {
        let mut pages = self.pages(selector, options).await?;
        let mut listing = Listing::default();
        while let Some(page) = pages.next().await? {
            listing.endpoints.extend(page);
        }
        listing.matched = pages.matched;
        Ok(listing)
    }

    /// As [`Self::list`], page by page: for lists that are too long to be held.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub async fn pages(
        &self,
        selector: &Selector,
        options: ListOptions,
    ) -> Result<Pages<'_>, OperationError> {
        let query = ListEndpoints {
            selection: Arc::new(self.resolve(selector).await?),
            state: options.state,
            failed: false,
            touch: options.touch,
            from: 0,
            skip: options.offset,
            take: options.limit,
        };
        Ok(Pages::new(self, query))
    }

    /// Begins a new run: from now on every endpoint is untouched until a client
    /// comes to it. A connection counts when it is accepted and when bytes
    /// arrive on it, a datagram when it is received.
    ///
    /// Runs are told apart by their last 16 bits: 65,536 marks later an endpoint
    /// that nobody came to meanwhile counts as touched again.
    ///
    /// Returns the number of the new run; the first is 0.
    pub fn mark(&self) -> u64 {
        let run = self.shared.run.fetch_add(1, Ordering::Relaxed) + 1;
        self.shared.events.tell(Event::Marked { run });
        run
    }

    /// Chunks by number: at most `limit`, after `offset` that are left out.
    ///
    /// # Errors
    /// [`OperationError::Ended`].
    pub async fn chunks(
        &self,
        limit: usize,
        offset: usize,
    ) -> Result<Vec<ChunkInfo>, OperationError> {
        /// Chunks that one message asks for.
        const SLICE: usize = 4096;
        let mut chunks = Vec::new();
        while chunks.len() < limit {
            let take = SLICE.min(limit - chunks.len());
            let query = ListChunks { skip: offset + chunks.len(), take };
            let slice = self.supervisor.deliver(query).await.ok_or(OperationError::Ended)?;
            let last = slice.len() < take;
            chunks.extend(slice);
            if last {
                break;
            }
        }
        Ok(chunks)
    }

    /// What is wrong, in a line for each cause: endpoints that do not listen
    /// now, and connections that failed since the start. The most numerous
    /// endpoints come first.
    ///
    /// Where another socket holds a port, its process is looked up; without
    /// root only those of the same user are found.
    ///
    /// # Errors
    /// [`OperationError::Ended`].
    pub async fn errors(&self) -> Result<Vec<ErrorGroup>, OperationError> {
        let query = ListEndpoints {
            selection: Arc::new(Selector::all().resolve(&host::SystemResolver, [])?),
            state: None,
            failed: true,
            touch: None,
            from: 0,
            skip: 0,
            take: u64::MAX,
        };
        let mut pages = Pages::new(self, query);
        let mut failed = Vec::new();
        while let Some(page) = pages.next().await? {
            failed.extend(page);
        }
        let mut groups = group_failures(&failed);
        if groups.iter().any(|group| group.fault.kind == FaultKind::BindInUse) {
            groups = aside(move || name_holders(groups)).await?;
        }
        let connections = self.error_log.deliver(GroupConnections).await;
        groups.extend(connections.ok_or(OperationError::Ended)?);
        Ok(groups)
    }

    /// How the service is: endpoints and chunks by state, each worker.
    ///
    /// # Errors
    /// [`OperationError::Ended`].
    pub async fn status(&self) -> Result<Status, OperationError> {
        self.supervisor.deliver(DescribeStatus).await.ok_or(OperationError::Ended)
    }

    /// What reached the error log since the start.
    ///
    /// # Errors
    /// [`OperationError::Ended`].
    pub async fn error_report(&self) -> Result<ErrorReport, OperationError> {
        self.error_log.deliver(ReportErrors).await.ok_or(OperationError::Ended)
    }

    /// What the selector names now. Names are looked up on a thread of their
    /// own: that may take seconds.
    pub(super) async fn resolve(&self, selector: &Selector) -> Result<Selection, OperationError> {
        let layout = self.layout.borrow().clone();
        let slabs = layout.groups().iter().flat_map(|group| group.set.slabs());
        let zones: BTreeSet<Zone> = slabs.filter_map(|slab| slab.first().zone()).collect();
        if !selector.asks() {
            return Ok(selector.resolve(&host::SystemResolver, zones)?);
        }
        let selector = selector.clone();
        Ok(aside(move || selector.resolve(&host::SystemResolver, zones)).await??)
    }
}

/// Does on a thread of its own what may take its time.
pub(super) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, std::io::Error> {
    let (tell, told) = oneshot::channel();
    std::thread::Builder::new().name("ipcow-asker".to_owned()).spawn(move || {
        let _nobody_waits = tell.send(work());
    })?;
    told.await.map_err(|_| std::io::Error::other("the look-up died"))
}
