//! A running IPCow: plan, start, wait, drain, join.
//!
//! [`Service::builder`] makes a [`Service`], starting it gives a
//! [`ServiceHandle`]. Each service owns an actix system on a thread of its
//! own, so it can be used from any async runtime. Installs no signal handler,
//! no logger, and never ends the process.

#[cfg(feature = "access-log")]
mod access_log;
mod addresses;
mod adoption;
mod builder;
mod changes;
mod guardian;
mod handle;
mod handover;
#[cfg(feature = "fault-injection")]
mod inject;
mod joins;
mod operations;
mod own_code;
mod own_ports;
mod pages;
mod port_holders;
mod present_plan;
mod replanning;
mod retiring;
mod run;
mod settings;
mod system;
mod tree;

pub mod planning;
#[cfg(feature = "signals")]
pub mod signals;
mod subscribers;
mod summary;

#[cfg(feature = "access-log")]
pub use access_log::{AccessLog, OpenError};
pub use builder::{Service, ServiceBuilder, StartError};
pub use changes::{Changed, SuspendOptions};
pub use handle::{ServiceGone, ServiceHandle, Snapshot};
pub use handover::{Offer, OfferError, OfferedSocket};
#[cfg(feature = "fault-injection")]
pub use inject::Hanging;
pub use operations::{ListOptions, OperationError};
pub use pages::Pages;
pub use port_holders::port_holder;
pub use run::RunError;
pub use subscribers::Happened;
pub use summary::Summary;

pub use crate::actors::event_hub::Events;
#[cfg(feature = "fault-injection")]
pub use crate::actors::poison::Injection;
pub use crate::actors::policy::{Decision, EndpointFailed, FailurePolicy};
pub use crate::actors::protocol::Sessions;
pub use crate::actors::records::{AccessCounts, AccessSink};
pub use crate::actors::session::{
    Busy, Outcome, SessionContext, SessionHandler, SessionStream, session_actors,
};
pub use crate::net::datagram::{Answers, Datagram, DatagramHandler, amplifying};
pub use crate::net::given::{GivenSocket, Unfit};
pub use crate::supervision::{Event, Occurrence};
