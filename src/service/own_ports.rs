//! The machine as specs see it, without what the service itself keeps in use.
//!
//! Answers `in-use` for a plan that follows another one. Everything else is the
//! machine's own answer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::net::host;
use crate::spec::{Address, Endpoint, Protocol, Resolver};

/// The machine, but for ports that are in use by the one who asks.
pub(super) struct WithoutOwn {
    own: BTreeMap<Protocol, BTreeSet<u16>>,
}

impl WithoutOwn {
    /// Leaves out the ports of these endpoints, by protocol.
    pub(super) fn new(endpoints: impl IntoIterator<Item = Endpoint>) -> Self {
        let mut own: BTreeMap<Protocol, BTreeSet<u16>> = BTreeMap::new();
        for endpoint in endpoints {
            own.entry(endpoint.protocol).or_default().insert(endpoint.port.number());
        }
        Self { own }
    }
}

impl Resolver for WithoutOwn {
    fn interface(&self, name: &str) -> Result<Vec<Address>, String> {
        host::SystemResolver.interface(name)
    }

    fn host(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        host::SystemResolver.host(name)
    }

    fn file(&self, path: &str) -> Result<String, String> {
        host::SystemResolver.file(path)
    }

    fn zone(&self, name: &str) -> Option<u32> {
        host::SystemResolver.zone(name)
    }

    fn ports_in_use(&self, protocol: Protocol) -> Result<Vec<u16>, String> {
        let mut ports = host::SystemResolver.ports_in_use(protocol)?;
        let own = self.own.get(&protocol);
        ports.retain(|port| !own.is_some_and(|own| own.contains(port)));
        Ok(ports)
    }

    fn ephemeral_ports(&self) -> Result<(u16, u16), String> {
        host::SystemResolver.ephemeral_ports()
    }
}
