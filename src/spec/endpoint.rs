//! The endpoint: protocol, address and port, and how each is written.
//!
//! Holds plain values that are compared, ordered and printed. Never looks
//! anything up: names and interfaces were resolved before an [`Address`] exists.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Transport protocol of an endpoint. TCP sorts before UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Stream endpoints: a listener accepts sessions.
    Tcp,
    /// Datagram endpoints: one datagram in, one out.
    Udp,
}

impl Protocol {
    /// Both protocols, in their sort order.
    pub const ALL: [Self; 2] = [Self::Tcp, Self::Udp];

    /// `"tcp"` or `"udp"`, as written before `://`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// The interface that an IPv6 link-local address belongs to (RFC 4007).
///
/// Keeps the name beside the index, so that printing needs no look-up. A name
/// has at most 15 bytes (`IFNAMSIZ`, netdevice(7)).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Zone {
    index: u32,
    name: [u8; 16],
}

impl Zone {
    /// A zone of interface `name` with kernel index `index`.
    ///
    /// Returns `None` when the name is empty or longer than 15 bytes.
    #[must_use]
    pub fn new(name: &str, index: u32) -> Option<Self> {
        if name.is_empty() || name.len() > 15 {
            return None;
        }
        let mut bytes = [0; 16];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Some(Self { index, name: bytes })
    }

    /// The kernel's interface index (`sin6_scope_id`, ipv6(7)).
    #[must_use]
    pub const fn index(self) -> u32 {
        self.index
    }

    /// The interface's name.
    #[must_use]
    pub fn name(&self) -> &str {
        let end = self.name.iter().position(|byte| *byte == 0).unwrap_or(16);
        std::str::from_utf8(&self.name[..end]).unwrap_or("?")
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}#{}", self.name(), self.index)
    }
}

/// An IP address to listen on; an IPv6 link-local one may carry its zone.
///
/// IPv4 sorts before IPv6, then by zone (none first), then by number, so that
/// neighbours stand side by side. Prints as it is written in a spec:
/// `127.0.0.1`, `[::1]`, `[fe80::1%eth0]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    // The zone stands first because the derived order compares it first; it
    // parts IPv6 only, as no IPv4 address has one.
    zone: Option<Zone>,
    ip: IpAddr,
}

impl Address {
    /// An address without a zone.
    #[must_use]
    pub const fn new(ip: IpAddr) -> Self {
        Self { ip, zone: None }
    }

    /// An IPv6 address that belongs to `zone`.
    #[must_use]
    pub const fn with_zone(ip: Ipv6Addr, zone: Zone) -> Self {
        Self { ip: IpAddr::V6(ip), zone: Some(zone) }
    }

    /// The address itself.
    #[must_use]
    pub const fn ip(&self) -> IpAddr {
        self.ip
    }

    /// The zone, if one was written.
    #[must_use]
    pub const fn zone(&self) -> Option<Zone> {
        self.zone
    }

    /// True for `0.0.0.0` and `[::]`.
    #[must_use]
    pub const fn is_wildcard(&self) -> bool {
        self.ip.is_unspecified()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.ip, &self.zone) {
            (IpAddr::V4(ip), _) => ip.fmt(out),
            (IpAddr::V6(ip), None) => write!(out, "[{ip}]"),
            (IpAddr::V6(ip), Some(zone)) => write!(out, "[{ip}%{}]", zone.name()),
        }
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        Self::new(ip)
    }
}

impl From<Ipv4Addr> for Address {
    fn from(ip: Ipv4Addr) -> Self {
        Self::new(IpAddr::V4(ip))
    }
}

/// A port as asked for: a number, or one that the kernel shall choose.
///
/// Ephemeral ports sort before numbers (they are written as port 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Port {
    /// Port 0: the kernel's choice. The ordinal (from 0) tells the several
    /// port-0 endpoints of one address apart; they are never merged.
    Ephemeral(u32),
    /// A port from 1 to 65535.
    Number(u16),
}

impl Port {
    /// The number to give to bind(2): 0 where the kernel chooses.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Ephemeral(_) => 0,
            Self::Number(number) => number,
        }
    }
}

/// Protocol, address and port: what a listener serves.
///
/// Sorts by protocol, then address, then port. Prints as a spec:
/// `tcp://127.0.0.1:8000`, `udp://[::1]:53`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The address to listen on.
    pub address: Address,
    /// The port as asked for.
    pub port: Port,
}

impl Endpoint {
    /// The socket address to bind: zone as scope id, port 0 where the kernel chooses.
    #[must_use]
    pub fn socket_addr(&self) -> SocketAddr {
        let port = self.port.number();
        match self.address.ip() {
            IpAddr::V4(ip) => SocketAddr::V4(SocketAddrV4::new(ip, port)),
            IpAddr::V6(ip) => {
                let scope = self.address.zone().map_or(0, Zone::index);
                SocketAddr::V6(SocketAddrV6::new(ip, port, 0, scope))
            }
        }
    }

    /// The same endpoint with the port that the kernel chose.
    #[must_use]
    pub const fn with_port(mut self, number: u16) -> Self {
        self.port = Port::Number(number);
        self
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}://{}:{}", self.protocol, self.address, self.port.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(ip: &str, port: u16) -> Endpoint {
        Endpoint {
            protocol: Protocol::Tcp,
            address: ip.parse::<IpAddr>().expect("an address").into(),
            port: Port::Number(port),
        }
    }

    #[test]
    fn an_endpoint_prints_as_the_spec_that_names_it() {
        assert_eq!(endpoint("127.0.0.1", 80).to_string(), "tcp://127.0.0.1:80");
        assert_eq!(endpoint("::1", 80).to_string(), "tcp://[::1]:80");
    }

    #[test]
    fn a_zone_is_printed_by_name_and_bound_by_index() {
        let zone = Zone::new("eth0", 7).expect("a short name");
        let address = Address::with_zone("fe80::1".parse().expect("an address"), zone);
        let endpoint = Endpoint { protocol: Protocol::Udp, address, port: Port::Number(80) };
        assert_eq!(endpoint.to_string(), "udp://[fe80::1%eth0]:80");
        assert!(matches!(endpoint.socket_addr(), SocketAddr::V6(addr) if addr.scope_id() == 7));
    }

    #[test]
    fn an_interface_name_longer_than_the_kernel_allows_is_no_zone() {
        assert!(Zone::new("a-very-long-name", 1).is_none());
        assert!(Zone::new("", 1).is_none());
    }

    #[test]
    fn endpoints_sort_by_protocol_then_address_then_port() {
        let mut sorted = [endpoint("::1", 1), endpoint("127.0.0.2", 1), endpoint("127.0.0.1", 9)];
        sorted.sort_unstable();
        assert_eq!(sorted[0], endpoint("127.0.0.1", 9));
        assert_eq!(sorted[2], endpoint("::1", 1));
    }
}
