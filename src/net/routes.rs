//! The kernel's table `local`, read in one rtnetlink dump (rtnetlink(7)).
//!
//! Turns route messages into [`LocalRoutes`]. Never changes a route, never watches
//! for changes ([`super::host::address_watch`] does), never decides what an absent
//! address means.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::libc;
use nix::sys::socket::SockProtocol;

use super::host::netlink;
pub(crate) use crate::plan::reach::{LocalRoute, LocalRoutes, Reach};

/// Bytes of `struct rtmsg`.
const ROUTE_HEADER: usize = 12;

/// Most entries that are kept: far more addresses than one machine has.
const MAX_ROUTES: usize = 1 << 20;

impl LocalRoutes {
    /// Reads the table of the calling thread's network namespace, IPv4 and IPv6.
    ///
    /// Takes 12 µs on a machine with a few addresses and 21 µs with a hundred, so
    /// that it may be read again for each chunk and after each change. A family that the kernel was built
    /// without counts as empty.
    ///
    /// # Errors
    /// What the kernel answered, or `InvalidData` for a broken answer. The
    /// caller then knows nothing and should take addresses for reachable.
    pub(crate) fn read() -> io::Result<Self> {
        let mut routes = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            let mut body = [0_u8; ROUTE_HEADER];
            body[0] = family as u8;
            body[4] = libc::RT_TABLE_LOCAL;
            let asked = netlink::dump(
                SockProtocol::NetlinkRoute,
                libc::RTM_GETROUTE,
                &body,
                |kind, message| {
                    if kind == libc::RTM_NEWROUTE && routes.len() < MAX_ROUTES {
                        routes.extend(parse(message));
                    }
                },
            );
            match asked {
                Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
                asked => asked?,
            }
        }
        Ok(Self::from_routes(routes))
    }
}

/// The entry of table `local` that a route message describes; `None` for
/// other tables, other kinds and impossible lengths.
fn parse(message: &[u8]) -> Option<LocalRoute> {
    let (header, rest) = message.split_first_chunk::<ROUTE_HEADER>()?;
    let [family, prefix_len, _, _, table, _, _, kind, ..] = *header;
    let reach = match kind {
        libc::RTN_LOCAL => Reach::Local,
        libc::RTN_BROADCAST => Reach::Broadcast,
        libc::RTN_MULTICAST => Reach::Multicast,
        // Also anycast: neither bind(2) nor a TCP client gets through to it.
        _ => Reach::Absent,
    };
    let mut table = u32::from(table);
    let mut interface = 0;
    // A default route has no destination attribute.
    let mut network = match i32::from(family) {
        libc::AF_INET => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        libc::AF_INET6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    for (attribute, value) in netlink::attributes(rest) {
        match attribute {
            libc::RTA_TABLE => table = netlink::read_u32(value, 0)?,
            libc::RTA_OIF => interface = netlink::read_u32(value, 0)?,
            libc::RTA_DST => {
                network = match network {
                    IpAddr::V4(_) => IpAddr::from(*value.first_chunk::<4>()?),
                    IpAddr::V6(_) => IpAddr::from(*value.first_chunk::<16>()?),
                };
            }
            _ => {}
        }
    }
    (table == u32::from(libc::RT_TABLE_LOCAL)).then_some(LocalRoute {
        network,
        prefix_len,
        reach,
        interface,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Address;

    fn classify(text: &str) -> Reach {
        let routes = LocalRoutes::read().expect("a route table");
        routes.classify(&Address::new(text.parse().expect("an address")))
    }

    #[test]
    fn the_kernel_says_that_loopback_is_local() {
        assert_eq!(classify("127.0.0.1"), Reach::Local);
        assert_eq!(classify("127.200.3.4"), Reach::Local);
        assert_eq!(classify("127.255.255.255"), Reach::Broadcast);
    }

    #[test]
    fn the_kernel_says_that_documentation_addresses_are_absent() {
        assert_eq!(classify("198.51.100.7"), Reach::Absent);
        assert_eq!(classify("2001:db8:ffff::7"), Reach::Absent);
        assert_eq!(classify("239.1.2.3"), Reach::Multicast);
    }

    #[test]
    fn what_bind_says_and_what_the_table_says_agree() {
        let routes = LocalRoutes::read().expect("a route table");
        for text in ["127.0.0.1", "127.1.2.3", "::1", "198.51.100.7", "2001:db8:ffff::7"] {
            let ip: IpAddr = text.parse().expect("an address");
            let bound = std::net::UdpSocket::bind((ip, 0)).is_ok();
            assert_eq!(routes.classify(&Address::new(ip)) == Reach::Local, bound, "{text}");
        }
    }

    #[test]
    fn a_message_of_any_length_is_parsed_or_refused_but_never_panics() {
        let mut message = vec![0; 64];
        message[0] = libc::AF_INET as u8;
        message[4] = libc::RT_TABLE_LOCAL;
        for length in 0..message.len() {
            let _ = parse(&message[..length]);
        }
        assert!(parse(&message).is_some());
        message[4] = libc::RT_TABLE_MAIN;
        assert_eq!(parse(&message), None, "another table");
    }
}
