//! Zones of link-local addresses, as the machine has them now.
//!
//! A spec names a zone by its interface, a socket by the interface's number; one
//! that was deleted and made again has another number. Never judges an address.

use std::collections::BTreeMap;
use std::net::IpAddr;

use nix::net::if_::if_nametoindex;

use crate::spec::{Address, Zone};

/// The present numbers of interfaces; each name is looked up once, so that this
/// lives no longer than one look at the machine.
#[derive(Debug, Default)]
pub(crate) struct Zones {
    present: BTreeMap<Zone, Zone>,
}

impl Zones {
    /// The address in the zone that its name stands for now (if_nametoindex(3)).
    ///
    /// Where no interface has the name it stays as it is: one that was only renamed
    /// still serves.
    pub(crate) fn present(&mut self, address: Address) -> Address {
        let (IpAddr::V6(ip), Some(zone)) = (address.ip(), address.zone()) else { return address };
        let now = *self.present.entry(zone).or_insert_with(|| look_up(zone));
        Address::with_zone(ip, now)
    }
}

fn look_up(zone: Zone) -> Zone {
    let index = if_nametoindex(zone.name()).ok();
    index.and_then(|index| Zone::new(zone.name(), index)).unwrap_or(zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_zone(name: &str, index: u32) -> Address {
        let zone = Zone::new(name, index).expect("a short name");
        Address::with_zone("fe80::1".parse().expect("an address"), zone)
    }

    #[test]
    fn a_zone_is_what_its_name_stands_for_now() {
        let loopback = if_nametoindex("lo").expect("loopback");
        assert_eq!(Zones::default().present(in_zone("lo", 4711)), in_zone("lo", loopback));
    }

    #[test]
    fn a_zone_whose_name_is_gone_keeps_its_number() {
        assert_eq!(Zones::default().present(in_zone("nope0", 4711)), in_zone("nope0", 4711));
    }

    #[test]
    fn an_address_without_a_zone_stays_as_it_is() {
        let address = Address::from(IpAddr::from([127, 0, 0, 1]));
        assert_eq!(Zones::default().present(address), address);
    }
}
