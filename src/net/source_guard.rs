//! Whom a UDP listener never answers, so that no datagram makes it a weapon.
//!
//! Pure and without state: addresses in, a verdict out. Two reflectors and one
//! forged source would answer each other for ever (CVE-1999-0103,
//! CVE-2024-2169). Never counts, never logs, never measures a rate.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::refused_ports::RefusedPorts;
use super::source_rules::Standing;
use crate::supervision::DropReason;

/// Says whether an address is one of the service's own UDP endpoints.
pub(crate) type OwnEndpoints = Box<dyn Fn(SocketAddr) -> bool + Send + Sync>;

/// Decides whom UDP listeners may answer; shared by those of a group.
pub(crate) struct SourceGuard {
    refused: Arc<RefusedPorts>,
    own: OwnEndpoints,
}

impl SourceGuard {
    /// Refuses the given source ports, as they are at each moment, and every
    /// source that `own` knows.
    ///
    /// `own` is asked about each datagram that nothing else refuses, with a
    /// plain IPv4 address where IPv6 maps one; it knows that a wildcard
    /// endpoint covers every address of the machine.
    pub(crate) fn new(refused: Arc<RefusedPorts>, own: OwnEndpoints) -> Self {
        Self { refused, own }
    }

    /// Why a datagram from `source` to `dialled` gets no answer; `None` = it may.
    ///
    /// A trusted source may send from any port but 0.
    pub(crate) fn refuses(
        &self,
        source: SocketAddr,
        dialled: SocketAddr,
        standing: Standing,
    ) -> Option<DropReason> {
        if standing == Standing::Denied {
            return Some(DropReason::Source);
        }
        let source = SocketAddr::new(source.ip().to_canonical(), source.port());
        let dialled = SocketAddr::new(dialled.ip().to_canonical(), dialled.port());
        let by_address =
            refuses_source(source.ip()).or_else(|| refuses_dialled(dialled.ip())).or_else(|| {
                let outside = source.ip().is_loopback() && !dialled.ip().is_loopback();
                outside.then_some(DropReason::LoopbackSource)
            });
        if by_address.is_some() {
            return by_address;
        }
        let by_port = standing != Standing::Trusted && self.refused.contains(source.port());
        if by_port || source.port() == 0 {
            return Some(DropReason::SourcePort);
        }
        (source == dialled || (self.own)(source)).then_some(DropReason::OwnEndpoint)
    }
}

impl fmt::Debug for SourceGuard {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SourceGuard").field("refused", &self.refused).finish_non_exhaustive()
    }
}

/// Sources that nobody sends from, or that stand for many.
fn refuses_source(ip: IpAddr) -> Option<DropReason> {
    /// What the kernel delivers on `lo` as if somebody had sent it.
    const LOOPBACK_BROADCAST: Ipv4Addr = Ipv4Addr::new(127, 255, 255, 255);
    match ip {
        IpAddr::V4(ip) if ip.octets()[0] == 0 => Some(DropReason::ZeroNet),
        IpAddr::V6(ip) if ip.is_unspecified() => Some(DropReason::ZeroNet),
        IpAddr::V4(ip) if ip.is_broadcast() || ip == LOOPBACK_BROADCAST => {
            Some(DropReason::Broadcast)
        }
        ip if ip.is_multicast() => Some(DropReason::Multicast),
        _ => None,
    }
}

/// Dialled addresses that no answer can leave from, and that a forged source
/// would have many machines answer at once.
fn refuses_dialled(ip: IpAddr) -> Option<DropReason> {
    match ip {
        IpAddr::V4(ip) if ip.is_broadcast() => Some(DropReason::Broadcast),
        ip if ip.is_multicast() => Some(DropReason::Multicast),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: [(u16, u16); 2] = [(0, 1023), (2049, 2049)];

    fn guard(refused: &[(u16, u16)], own: OwnEndpoints) -> SourceGuard {
        SourceGuard::new(Arc::new(RefusedPorts::new(refused)), own)
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    /// The verdict of a guard with default ports that owns 192.0.2.1:7000.
    fn verdict(source: &str, dialled: &str) -> Option<DropReason> {
        let own = address("192.0.2.1:7000");
        let guard = guard(&DEFAULT, Box::new(move |source| source == own));
        guard.refuses(address(source), address(dialled), Standing::Admitted)
    }

    #[test]
    fn an_ordinary_client_is_answered() {
        assert_eq!(verdict("192.0.2.9:40000", "192.0.2.1:7000"), None);
        assert_eq!(verdict("127.0.0.1:40000", "127.0.0.2:7000"), None);
        assert_eq!(verdict("[2001:db8::9]:40000", "[2001:db8::1]:7000"), None);
        assert_eq!(verdict("[::1]:40000", "[::1]:7000"), None);
    }

    #[test]
    fn the_ports_of_well_known_services_are_never_answered() {
        for port in [0, 7, 19, 53, 123, 1023, 2049] {
            let source = format!("192.0.2.9:{port}");
            assert_eq!(verdict(&source, "192.0.2.1:7000"), Some(DropReason::SourcePort), "{port}");
        }
        for port in [1024, 2048, 2050, 65535] {
            assert_eq!(verdict(&format!("192.0.2.9:{port}"), "192.0.2.1:7000"), None, "{port}");
        }
    }

    #[test]
    fn port_zero_is_never_answered_even_when_no_port_is_refused() {
        let guard = guard(&[], Box::new(|_| false));
        let dialled = address("192.0.2.1:7000");
        for standing in [Standing::Admitted, Standing::Trusted] {
            let verdict = |source| guard.refuses(address(source), dialled, standing);
            assert_eq!(verdict("192.0.2.9:0"), Some(DropReason::SourcePort));
            assert_eq!(verdict("192.0.2.9:7"), None);
        }
    }

    #[test]
    fn a_trusted_source_may_send_from_any_port_and_be_nothing_else_that_is_refused() {
        let own = address("192.0.2.1:53");
        let guard = guard(&DEFAULT, Box::new(move |source| source == own));
        let verdict = |source, standing| guard.refuses(address(source), own, standing);
        assert_eq!(verdict("192.0.2.9:53", Standing::Trusted), None);
        assert_eq!(verdict("192.0.2.9:53", Standing::Denied), Some(DropReason::Source));
        for (source, reason) in [
            ("192.0.2.1:53", DropReason::OwnEndpoint),
            ("224.0.0.1:40000", DropReason::Multicast),
            ("127.0.0.1:40000", DropReason::LoopbackSource),
        ] {
            assert_eq!(verdict(source, Standing::Trusted), Some(reason), "{source}");
        }
    }

    #[test]
    fn its_own_endpoints_are_never_answered_on_wildcards_too() {
        let expected = Some(DropReason::OwnEndpoint);
        assert_eq!(verdict("192.0.2.1:7000", "192.0.2.7:9000"), expected);
        assert_eq!(verdict("[::ffff:192.0.2.1]:7000", "192.0.2.7:9000"), expected);
        assert_eq!(verdict("192.0.2.5:9000", "192.0.2.5:9000"), expected, "its own answer");
    }

    #[test]
    fn groups_and_addresses_of_nobody_are_never_answered() {
        for (source, expected) in [
            ("224.0.0.1:40000", DropReason::Multicast),
            ("[ff02::1]:40000", DropReason::Multicast),
            ("[::ffff:224.0.0.1]:40000", DropReason::Multicast),
            ("255.255.255.255:40000", DropReason::Broadcast),
            ("[::ffff:255.255.255.255]:40000", DropReason::Broadcast),
            ("127.255.255.255:40000", DropReason::Broadcast),
            ("0.0.0.0:40000", DropReason::ZeroNet),
            ("0.1.2.3:40000", DropReason::ZeroNet),
            ("[::]:40000", DropReason::ZeroNet),
            ("[::ffff:0.1.2.3]:40000", DropReason::ZeroNet),
        ] {
            assert_eq!(verdict(source, "127.0.0.1:7000"), Some(expected), "{source}");
        }
    }

    #[test]
    fn who_dials_a_group_is_not_answered() {
        let client = "192.0.2.9:40000";
        assert_eq!(verdict(client, "255.255.255.255:7000"), Some(DropReason::Broadcast));
        assert_eq!(verdict(client, "239.1.2.3:7000"), Some(DropReason::Multicast));
    }

    #[test]
    fn a_loopback_source_is_answered_on_loopback_only() {
        for source in ["127.0.0.1:40000", "[::ffff:127.0.0.1]:40000"] {
            assert_eq!(verdict(source, "192.0.2.1:7000"), Some(DropReason::LoopbackSource));
        }
        assert_eq!(verdict("[::1]:40000", "[2001:db8::1]:7000"), Some(DropReason::LoopbackSource));
    }

    #[test]
    fn every_reason_has_its_own_slot_and_its_own_word() {
        let words: std::collections::HashSet<_> =
            DropReason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(words.len(), DropReason::ALL.len());
        for (slot, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), slot);
        }
    }
}
