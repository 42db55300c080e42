//! What only the machine knows: addresses, names, files, ports, limits.
//!
//! The one place that reads such facts, and hears that they have changed. Never
//! opens a listener, never judges: `spec` and `plan` get plain values.

pub(crate) mod address_watch;
mod capabilities;
mod holders;
mod limits;
pub(crate) mod netlink;
mod resolver;
mod sockets;
mod threads;
mod zones;

use crate::plan::facts::HostFacts;
use crate::plan::reach::LocalRoutes;
use crate::spec::Protocol;

pub(crate) use holders::find as holders;
pub(crate) use limits::{grow_descriptor_table, limits, raise_nofile, spare_descriptors};
pub(crate) use resolver::SystemResolver;
pub(crate) use zones::Zones;

/// The machine as it is now. What cannot be read counts as harmless: a plan
/// that says too little is better than none, and opening tells the rest.
pub(crate) fn facts() -> HostFacts {
    let sockets =
        Protocol::ALL.into_iter().filter_map(|protocol| sockets::exclusive(protocol).ok());
    HostFacts {
        limits: limits(),
        routes: LocalRoutes::read().ok(),
        sockets: sockets.flatten().collect(),
        ephemeral: limits::ephemeral_ports(),
    }
}
