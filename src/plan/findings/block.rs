//! A block of endpoints: addresses in a row, all with the same ports.
//!
//! What findings count and name instead of single endpoints. Never holds more
//! than the ranges it was given.

use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;

use crate::plan::reach::address_at;
use crate::spec::{Address, Protocol};

/// Inclusive ranges of ports, in order and apart.
pub(crate) type PortRanges = [(u16, u16)];

/// Ranges of ports that a text shows before it says how many more there are.
const RANGES_SHOWN: usize = 8;

/// Every combination of a run of addresses with some ports of one protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) protocol: Protocol,
    /// First address; `last` is of the same family and zone.
    pub(crate) first: Address,
    pub(crate) last: Address,
    /// Numbered ports.
    pub(crate) ports: Rc<PortRanges>,
    /// Endpoints of each address whose port the kernel chooses.
    pub(crate) port_zeros: u64,
}

impl Block {
    /// The number of its endpoints, saturating.
    pub(crate) fn len(&self) -> u64 {
        let ports = count(&self.ports).saturating_add(self.port_zeros);
        self.addresses().saturating_mul(ports)
    }

    /// The number of its addresses, saturating.
    pub(crate) fn addresses(&self) -> u64 {
        let (first, last) = self.span();
        u64::try_from((last - first).saturating_add(1)).unwrap_or(u64::MAX)
    }

    /// First and last address as numbers.
    pub(crate) fn span(&self) -> (u128, u128) {
        let first = number(self.first.ip());
        (first, number(self.last.ip()).max(first))
    }

    /// The part with addresses from `first` to `last`, which must lie inside.
    pub(crate) fn with_addresses(&self, first: u128, last: u128) -> Self {
        let at = |value| address_at(value, self.first);
        Self { first: at(first), last: at(last), ports: Rc::clone(&self.ports), ..*self }
    }

    /// The part with numbered ports of `among`, or none.
    pub(crate) fn with_ports(&self, among: &PortRanges) -> Option<Self> {
        let ports = intersect(&self.ports, among);
        (!ports.is_empty()).then(|| Self { ports: ports.into(), port_zeros: 0, ..*self })
    }
}

impl fmt::Display for Block {
    /// Writes the block as a spec: `tcp://10.0.0.1-10.0.0.7:80,8000-8010`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}://{}", self.protocol, self.first)?;
        if self.first != self.last {
            // The grammar wants the zone only once.
            write!(out, "-{}", Address::new(self.last.ip()))?;
        }
        out.write_str(":")?;
        let zeros = match self.port_zeros {
            0 => None,
            1 => Some("0".to_owned()),
            many => Some(format!("0x{many}")),
        };
        let shown = self.ports.iter().take(RANGES_SHOWN).map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        });
        out.write_str(&zeros.into_iter().chain(shown).collect::<Vec<_>>().join(","))?;
        match self.ports.len().saturating_sub(RANGES_SHOWN) {
            0 => Ok(()),
            _ => write!(out, ",… ({} ports)", count(&self.ports)),
        }
    }
}

/// An address as a number.
pub(crate) fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    }
}

/// How many ports the ranges hold.
pub(crate) fn count(ports: &PortRanges) -> u64 {
    ports.iter().map(|(first, last)| u64::from(last - first) + 1).sum()
}

/// True where one of the ranges holds `port`.
pub(crate) fn holds(ports: &PortRanges, port: u16) -> bool {
    let at = ports.partition_point(|(_, last)| *last < port);
    ports.get(at).is_some_and(|(first, _)| *first <= port)
}

/// The ports that both have.
pub(crate) fn intersect(a: &PortRanges, b: &PortRanges) -> Vec<(u16, u16)> {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    let mut common = Vec::new();
    while let (Some(&&(a_first, a_last)), Some(&&(b_first, b_last))) = (a.peek(), b.peek()) {
        let (first, last) = (a_first.max(b_first), a_last.min(b_last));
        if first <= last {
            common.push((first, last));
        }
        // The range that ends first can meet nothing more.
        if a_last < b_last {
            a.next().is_some()
        } else {
            b.next().is_some()
        };
    }
    common
}

/// Ports in ascending order, as ranges; repeated ports count once.
pub(crate) fn ranges(ports: impl IntoIterator<Item = u16>) -> Vec<(u16, u16)> {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for port in ports {
        match ranges.last_mut() {
            Some((_, last)) if port == *last => {}
            Some((_, last)) if Some(port) == last.checked_add(1) => *last = port,
            _ => ranges.push((port, port)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(first: &str, last: &str, ports: &PortRanges) -> Block {
        Block {
            protocol: Protocol::Tcp,
            first: Address::new(first.parse().expect("an address")),
            last: Address::new(last.parse().expect("an address")),
            ports: ports.into(),
            port_zeros: 0,
        }
    }

    #[test]
    fn a_block_prints_as_a_spec_that_parses_to_it() {
        for (first, last, text) in [
            ("10.0.0.1", "10.0.0.1", "tcp://10.0.0.1:80,8000-8010"),
            ("10.0.0.1", "10.0.0.7", "tcp://10.0.0.1-10.0.0.7:80,8000-8010"),
            ("::1", "::7", "tcp://[::1]-[::7]:80,8000-8010"),
        ] {
            let printed = block(first, last, &[(80, 80), (8000, 8010)]).to_string();
            assert_eq!(printed, text);
            assert!(crate::spec::Spec::parse(&printed).is_ok(), "{printed}");
        }
    }

    #[test]
    fn a_block_counts_without_overflow() {
        assert_eq!(block("::", "ffff::", &[(1, 65535)]).len(), u64::MAX);
        let zeros = Block { port_zeros: 3, ..block("10.0.0.0", "10.0.0.1", &[]) };
        assert_eq!((zeros.len(), zeros.to_string().as_str()), (6, "tcp://10.0.0.0-10.0.0.1:0x3"));
    }

    #[test]
    fn ranges_meet_where_both_have_a_port() {
        let common = intersect(&[(1, 10), (20, 30), (40, 40)], &[(5, 22), (30, 65535)]);
        assert_eq!(common, [(5, 10), (20, 22), (30, 30), (40, 40)]);
        assert_eq!(intersect(&[], &[(1, 2)]), []);
        assert_eq!(count(&common), 11);
        assert!(holds(&common, 21) && !holds(&common, 23) && !holds(&common, 41));
    }

    #[test]
    fn ports_in_a_row_become_one_range() {
        assert_eq!(ranges([1, 2, 2, 3, 7, 65535]), [(1, 3), (7, 7), (65535, 65535)]);
    }
}
