//! From a configuration to a running service.

use std::io;
use std::sync::Arc;

use super::adoption::{Adoption, Given};
use super::handle::ServiceHandle;
use super::planning::{self, Plan};
use super::system::{self, StartFaults};
use crate::actors::handlers::{Handlers, LevelHook};
use crate::actors::records::AccessSink;
use crate::config::{Config, Group, LogLevel};
use crate::net::given::GivenSocket;
use crate::net::host;
use crate::plan::demand::Demand;
use crate::plan::endpoints::homes::Arrival;
use crate::plan::endpoints::{self, PlanError};
use crate::plan::findings::{Finding, Kind, Level};
use crate::plan::resources::{descriptor_room, worker_count};
use crate::spec::{Endpoint, Spec, SpecError};
use crate::supervision::Coverage;

/// The group of [`ServiceBuilder::listen`].
const BUILDER: &str = "builder";

/// A service that is planned and not started yet.
#[derive(Debug)]
pub struct Service {
    config: Config,
    plan: Plan,
    handlers: Handlers,
    adoption: Adoption,
    faults: StartFaults,
}

/// Collects what a [`Service`] shall serve.
///
/// Begins with the built-in configuration without its groups: nothing is
/// served until [`Self::listen`] or [`Self::config`] says what.
#[derive(Debug)]
pub struct ServiceBuilder {
    config: Config,
    groups: Vec<Group>,
    pub(super) handlers: Handlers,
    force: bool,
    given: Given,
    faults: StartFaults,
}

/// Why a service could not be planned or started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The endpoints make no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Something of the program's own was meant for a group that there is not.
    #[error("there is no group `{name}` to be served in its own way; there are {known}")]
    UnknownGroup {
        /// The name.
        name: String,
        /// The groups there are.
        known: String,
    },
    /// Fewer endpoints fit into the process's file descriptors than
    /// `coverage.min_bound` asks for. Nothing was bound.
    #[error(
        "{required} endpoints must listen (coverage.min_bound), but only {fits} fit: the plan \
         needs {needed} file descriptors and the process may have {have}; raise RLIMIT_NOFILE \
         (`ulimit -n`) or serve fewer endpoints"
    )]
    FdLimit {
        /// Endpoints that must listen.
        required: u64,
        /// Endpoints that fit.
        fits: u64,
        /// Descriptors that the whole plan needs.
        needed: u64,
        /// Descriptors that the process may have.
        have: u64,
    },
    /// The machine could not dial out any more.
    #[error("{message} ({fix})")]
    EphemeralExhausted {
        /// What would happen.
        message: String,
        /// How to avoid it.
        fix: String,
    },
    /// The process may not even open the files that an event loop needs.
    #[error(
        "the process may open too few files to run at all ({0}); raise RLIMIT_NOFILE (`ulimit -n`)"
    )]
    NoDescriptors(io::Error),
    /// The system gave no thread or no descriptors to run on.
    #[error("the service cannot start: {0}")]
    Io(#[from] io::Error),
}

impl Service {
    /// Begins to describe a service.
    #[must_use]
    pub fn builder() -> ServiceBuilder {
        let mut config = Config::default();
        config.groups.clear();
        ServiceBuilder {
            config,
            groups: Vec::new(),
            handlers: Handlers::default(),
            force: false,
            given: Given::default(),
            faults: StartFaults::default(),
        }
    }

    /// Raises the process's soft RLIMIT_NOFILE to the hard one (getrlimit(2)), and
    /// makes sure that an event loop can be had: tokio panics where it cannot.
    ///
    /// For programs that build a runtime of their own first; [`Self::start`] does
    /// the same.
    ///
    /// # Errors
    /// [`StartError::NoDescriptors`].
    pub fn prepare_process() -> Result<(), StartError> {
        let _kept_lower = host::raise_nofile();
        host::spare_descriptors().map_err(StartError::NoDescriptors)
    }

    /// What will be served, and what stands in its way.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// How many of the sockets that were given are served from.
    #[must_use]
    pub fn adopted(&self) -> usize {
        self.adoption.sockets.values().map(Vec::len).sum()
    }

    /// Whether each socket that was given is served from, in their order.
    #[must_use]
    pub fn taken(&self) -> &[bool] {
        &self.adoption.taken
    }

    /// What the other sockets that were given are bound to: no endpoint of the plan
    /// is for them, so they were closed.
    #[must_use]
    pub fn left_out(&self) -> &[Endpoint] {
        &self.adoption.left
    }

    /// Opens every endpoint of the plan, on threads of its own.
    ///
    /// Raises the process's soft RLIMIT_NOFILE to the hard one (getrlimit(2)), and
    /// makes room in its descriptor table ([`ServiceBuilder::make_room`] does so
    /// before there are threads, which is cheaper). Returns at once; [`ServiceHandle::wait_ready`] tells when every endpoint
    /// is decided.
    ///
    /// # Errors
    /// [`StartError`]; nothing was bound then.
    pub fn start(self) -> Result<ServiceHandle, StartError> {
        let Self { config, plan, handlers, adoption, faults } = self;
        let total = plan.endpoints.len();
        let sockets = Demand::of(plan.endpoints.groups(), plan.workers.workers).sockets();
        // Where they cannot be had, opening is slower or comes to less.
        let _kept_as_it_was = make_room(sockets, &config);
        let required = Coverage::new(config.coverage.min_bound, total).required();
        if plan.budget.listeners < required.min(total) {
            return Err(StartError::FdLimit {
                required,
                fits: plan.budget.listeners,
                needed: plan.budget.needed,
                have: plan.budget.have,
            });
        }
        let exhausted = plan.findings.iter().find(|finding| {
            finding.kind == Kind::EphemeralExhausted && finding.level == Level::Error
        });
        if let Some(Finding { message, fix, .. }) = exhausted {
            let (message, fix) = (message.clone(), fix.clone());
            return Err(StartError::EphemeralExhausted { message, fix });
        }
        Self::prepare_process()?;
        Ok(system::start(&config, plan, (handlers, adoption), faults)?)
    }
}

impl ServiceBuilder {
    /// Takes over a whole configuration, its groups included.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Serves also where the plan would leave the machine no ephemeral port to
    /// dial out from. Default false.
    #[must_use]
    pub const fn force(mut self, force: bool) -> Self {
        self.force = force;
        self
    }

    /// Calls this where `log.level` changes while the service runs, by
    /// [`ServiceHandle::set`] or [`ServiceHandle::reload`]. A service has no log of its
    /// own: without this, the key cannot be set live.
    #[must_use]
    pub fn on_log_level(mut self, hook: impl Fn(LogLevel) + Send + Sync + 'static) -> Self {
        self.handlers.log_level = LevelHook(Some(Arc::new(hook)));
        self
    }

    /// Hands a record of each TCP session and UDP flow that is over, and of each
    /// client that was refused, to `sink`: an [`AccessLog`](super::AccessLog), or
    /// something of your own. Without this nothing is recorded, and nothing of it
    /// costs anything. `[access_log]` of the configuration is the program's to follow.
    #[must_use]
    pub fn access_log(mut self, sink: Arc<dyn AccessSink>) -> Self {
        self.handlers.access_log = Some(sink);
        self
    }

    /// Every Worker that opens the chunk of this number panics. Only with the
    /// feature `fault-injection`.
    #[cfg(feature = "fault-injection")]
    #[must_use]
    pub const fn poison_chunk(mut self, chunk: u32) -> Self {
        self.faults.poisoned_chunk = chunk;
        self
    }

    /// Serves from these sockets where an endpoint of the plan has their protocol,
    /// address and port, instead of binding it: clients that wait in them are served.
    /// Those that fit no endpoint are closed ([`Service::left_out`]).
    ///
    /// A socket whose number the kernel chose
    /// ([`GivenSocket::chosen_by_kernel`]) goes to an endpoint of its address that
    /// asks for port 0.
    #[must_use]
    pub fn adopt(mut self, sockets: impl IntoIterator<Item = GivenSocket>) -> Self {
        self.given.sockets.extend(sockets);
        self
    }

    /// Says which number an endpoint that asks for port 0 shall have: what the kernel
    /// chose for the endpoint of this ordinal, which has no socket now (it is
    /// suspended, say). `endpoint` has the number.
    #[must_use]
    pub fn keep_number(mut self, endpoint: Endpoint, ordinal: u32) -> Self {
        self.given.numbers.push(Arrival { endpoint, ordinal: Some(ordinal) });
        self
    }

    /// Serves nobody before [`ServiceHandle::open_gate`] is called: sockets are bound
    /// and endpoints count as listening, and clients wait in the kernel's backlog.
    /// Default false.
    #[must_use]
    pub const fn gated(mut self, gated: bool) -> Self {
        self.given.gated = gated;
        self
    }

    /// Adds the endpoints of a spec, like `tcp://127.0.0.1:8000-8010`.
    ///
    /// # Errors
    /// [`SpecError`] with the place of the fault.
    pub fn listen(self, spec: &str) -> Result<Self, SpecError> {
        self.listen_in(BUILDER, spec)
    }

    /// Adds the endpoints of a spec to the group of that name, which is made, with
    /// default settings, where [`Self::config`] has none. [`Self::listen`] adds to the
    /// group `builder`.
    ///
    /// # Errors
    /// [`SpecError`] with the place of the fault.
    pub fn listen_in(mut self, group: &str, spec: &str) -> Result<Self, SpecError> {
        let spec = Spec::parse(spec)?;
        match self.groups.iter_mut().find(|known| known.name == group) {
            Some(known) => known.specs.push(spec),
            None => self.groups.push(Group::new(group, vec![spec])),
        }
        Ok(self)
    }

    /// Makes room in the process's descriptor table for this service: to be called
    /// before the program starts its first thread.
    ///
    /// The table grows to what all endpoints and the first 4,096 sessions need, at
    /// about 8 bytes each, and the soft RLIMIT_NOFILE is raised to the hard one
    /// for that, as [`Service::start`] does. In a process with several threads the
    /// kernel pauses for tens of milliseconds whenever it enlarges the table, nine
    /// times on the way to 15,000 endpoints. Where their number depends on the
    /// machine (names, interfaces, files), nothing happens here, and
    /// [`Service::start`] makes the room at once.
    ///
    /// # Errors
    /// What getrlimit(2), setrlimit(2) or fcntl(2) said. The service can be
    /// started all the same.
    pub fn make_room(&self) -> io::Result<()> {
        let config = whole(self.config.clone(), self.groups.clone());
        let Some(known) = endpoints::known(&config) else { return Ok(()) };
        let shared = known.groups().iter().any(|group| group.settings.reuse_port);
        let workers =
            if shared { worker_count(&config.threads, &host::limits()).workers } else { 1 };
        make_room(Demand::of(known.groups(), workers).sockets(), &config)
    }

    /// Plans the service: resolves names, counts endpoints, divides resources.
    ///
    /// # Errors
    /// [`StartError::Plan`] and [`StartError::UnknownGroup`].
    pub fn build(self) -> Result<Service, StartError> {
        let Self { config, groups, handlers, force, given, faults } = self;
        let config = whole(config, groups);
        let is_known = |name: &str| config.groups.iter().any(|group| group.name == name);
        if let Some(name) = handlers.groups().find(|name| !is_known(name)) {
            let name = name.to_owned();
            let known: Vec<_> = config.groups.iter().map(|group| group.name.as_str()).collect();
            return Err(StartError::UnknownGroup { name, known: known.join(", ") });
        }
        let plan = planning::plan_with(&config, force, &given)?;
        let adoption = Adoption::new(given, &config, &plan);
        Ok(Service { config, plan, handlers, adoption, faults })
    }
}

/// The configuration with the groups of [`ServiceBuilder::listen_in`].
fn whole(mut config: Config, groups: Vec<Group>) -> Config {
    for group in groups {
        match config.groups.iter_mut().find(|known| known.name == group.name) {
            Some(known) => known.specs.extend(group.specs),
            None => config.groups.push(group),
        }
    }
    config
}

/// Lets the process have all the descriptors that it may, and makes room for
/// this many sockets.
fn make_room(sockets: u64, config: &Config) -> io::Result<()> {
    host::raise_nofile()?;
    host::grow_descriptor_table(descriptor_room(sockets, &config.limits))
}
