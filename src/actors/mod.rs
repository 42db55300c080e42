//! The actor tree: Supervisor, Workers, Listeners, EchoSessions, ErrorLog.
//!
//! Actors hold lifecycles and pass messages. They never touch bytes (that is
//! `net`'s) and never decide about retries or states (that is `supervision`'s).

pub(crate) mod admission;
pub(crate) mod desk;
pub(crate) mod error_log;
pub(crate) mod event_hub;
pub(crate) mod flows;
pub(crate) mod handlers;
pub(crate) mod link;
pub(crate) mod listener;
pub(crate) mod local;
pub(crate) mod opening;
pub(crate) mod orders;
#[cfg(feature = "fault-injection")]
pub(crate) mod poison;
pub(crate) mod policy;
pub(crate) mod protocol;
pub(crate) mod records;
pub(crate) mod roster;
mod serving;
pub(crate) mod session;
pub(crate) mod share;
pub(crate) mod spread;
pub(crate) mod supervisor;
pub(crate) mod udp_listener;
pub(crate) mod watch;
pub(crate) mod worker;
