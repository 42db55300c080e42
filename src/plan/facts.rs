//! What a plan has to know of the machine, as plain values.
//!
//! Holds facts that `net::host` read. Never reads one.

use std::net::IpAddr;

use crate::plan::reach::LocalRoutes;
use crate::plan::resources::HostLimits;
use crate::spec::Protocol;

/// Everything that the findings of a plan are derived from.
#[derive(Debug, Clone)]
pub struct HostFacts {
    /// Limits and rights of the process.
    pub limits: HostLimits,
    /// The table `local`; `None` where it could not be read: then no address
    /// is doubted.
    pub routes: Option<LocalRoutes>,
    /// Sockets that others hold: TCP listeners and bound UDP sockets.
    pub sockets: Vec<BoundSocket>,
    /// The ports that the kernel hands out by itself.
    pub ephemeral: EphemeralPorts,
}

/// A socket of this machine that holds a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoundSocket {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Where it is bound; an IPv4-mapped address is given as IPv4.
    pub address: IpAddr,
    /// Its port, 1 to 65535.
    pub port: u16,
    /// True where a socket on `[::]` takes IPv4 clients too (`IPV6_V6ONLY` off, ipv6(7)).
    pub dual_stack: bool,
    /// Its inode, by which its process is found; 0 = none.
    pub inode: u64,
}

/// The process that holds a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its name, at most 15 bytes (`/proc/PID/comm`, proc(5)).
    pub name: String,
    /// Its process id.
    pub pid: u32,
}

/// `net.ipv4.ip_local_port_range` without what is reserved in it (ip(7)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EphemeralPorts {
    /// First port of the range.
    pub first: u16,
    /// Last port of the range.
    pub last: u16,
    /// Inclusive ranges of `net.ipv4.ip_local_reserved_ports`, in order.
    pub reserved: Vec<(u16, u16)>,
}

impl EphemeralPorts {
    /// True where the kernel may hand out `port` by itself.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
            && !self.reserved.iter().any(|(first, last)| (*first..=*last).contains(&port))
    }

    /// The ports that the kernel may hand out, in order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        (self.first..=self.last).filter(|port| self.contains(*port))
    }
}

impl Default for EphemeralPorts {
    /// The kernel's own default: 32768 to 60999, nothing reserved.
    fn default() -> Self {
        Self { first: 32_768, last: 60_999, reserved: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_port_is_not_handed_out() {
        let ports = EphemeralPorts { first: 10, last: 19, reserved: vec![(1, 11), (15, 15)] };
        assert_eq!(ports.iter().collect::<Vec<_>>(), [12, 13, 14, 16, 17, 18, 19]);
        assert!(!ports.contains(20));
    }
}
