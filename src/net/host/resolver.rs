//! Answers to the core's questions, from this machine.
//!
//! Looks up interfaces, names, files and ports. Never keeps an answer: a plan
//! asks once, and a later plan shall see what changed.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, ToSocketAddrs};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;

use super::{limits, sockets};
use crate::spec::{Address, Protocol, Resolver, Zone};

/// Longest `@FILE`: a list of a million addresses fits.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// Names of interfaces that an error lists.
const NAMES_SHOWN: usize = 10;

/// Asks the machine that this process runs on.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SystemResolver;

impl Resolver for SystemResolver {
    fn interface(&self, name: &str) -> Result<Vec<Address>, String> {
        let entries = getifaddrs()
            .map_err(|errno| format!("the interfaces cannot be listed: {}", errno.desc()))?;
        let mut names = BTreeSet::new();
        let mut addresses = BTreeSet::new();
        for entry in entries {
            // An IPv4 address with a label is listed as "eth0:label" (ip-address(8)).
            let device = entry.interface_name.split(':').next().unwrap_or_default();
            names.insert(device.to_owned());
            if device != name && entry.interface_name != name {
                continue;
            }
            let Some(address) = entry.address else { continue };
            if let Some(v4) = address.as_sockaddr_in() {
                addresses.insert(Address::from(v4.ip()));
            } else if let Some(v6) = address.as_sockaddr_in6() {
                let zone = match v6.ip().is_unicast_link_local() {
                    true => Zone::new(device, v6.scope_id()),
                    false => None,
                };
                addresses.insert(zone.map_or_else(
                    || Address::new(IpAddr::V6(v6.ip())),
                    |zone| Address::with_zone(v6.ip(), zone),
                ));
            }
        }
        match addresses.is_empty() {
            false => Ok(addresses.into_iter().collect()),
            true if names.contains(name) => Err(format!("interface {name:?} has no address")),
            true => Err(unknown_interface(name, &names)),
        }
    }

    fn host(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        let found = (name, 0)
            .to_socket_addrs()
            .map_err(|error| format!("{name:?} cannot be resolved: {error}"))?;
        let addresses: BTreeSet<IpAddr> = found.map(|address| address.ip()).collect();
        match addresses.is_empty() {
            false => Ok(addresses.into_iter().collect()),
            true => Err(format!("{name:?} has no address")),
        }
    }

    fn file(&self, path: &str) -> Result<String, String> {
        let unreadable = |error| format!("{path:?} cannot be read: {error}");
        let file = File::open(path).map_err(unreadable)?;
        let mut bytes = Vec::new();
        // One byte more than is allowed tells a file that is too long.
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(format!("{path:?} is longer than {MAX_FILE_BYTES} bytes"));
        }
        String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            format!("{path:?} is not text: byte {at} is not UTF-8")
        })
    }

    fn zone(&self, name: &str) -> Option<u32> {
        if_nametoindex(name).ok()
    }

    fn ports_in_use(&self, protocol: Protocol) -> Result<Vec<u16>, String> {
        let bound = sockets::bound(protocol)
            .map_err(|error| format!("the {protocol} ports in use cannot be read: {error}"))?;
        let ports: BTreeSet<u16> = bound.iter().map(|socket| socket.port).collect();
        Ok(ports.into_iter().collect())
    }

    fn ephemeral_ports(&self) -> Result<(u16, u16), String> {
        limits::ephemeral_range()
            .map_err(|error| format!("the ephemeral ports cannot be read: {error}"))
    }
}

fn unknown_interface(name: &str, names: &BTreeSet<String>) -> String {
    let shown: Vec<&str> = names.iter().take(NAMES_SHOWN).map(String::as_str).collect();
    let more = if names.len() > NAMES_SHOWN { ", …" } else { "" };
    format!("there is no interface {name:?}; there are: {}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_loopback_interface_has_the_loopback_address() {
        let addresses = SystemResolver.interface("lo").expect("an interface");
        assert!(addresses.contains(&Address::new([127, 0, 0, 1].into())));
        assert!(SystemResolver.zone("lo").is_some());
    }

    #[test]
    fn link_local_addresses_carry_the_zone_they_were_found_in() {
        let entries = getifaddrs().expect("interfaces");
        let names: BTreeSet<String> = entries.map(|entry| entry.interface_name).collect();
        for name in names {
            for address in SystemResolver.interface(&name).unwrap_or_default() {
                let link_local =
                    matches!(address.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local());
                assert_eq!(address.zone().is_some(), link_local, "{address}");
            }
        }
    }

    #[test]
    fn an_unknown_interface_is_answered_with_those_there_are() {
        let error = SystemResolver.interface("nope0").expect_err("no interface");
        assert!(error.contains("nope0") && error.contains("lo"), "{error}");
        assert_eq!(SystemResolver.zone("nope0"), None);
    }

    #[test]
    fn localhost_is_a_loopback_address() {
        let addresses = SystemResolver.host("localhost").expect("a name");
        assert!(addresses.iter().all(IpAddr::is_loopback));
        assert!(SystemResolver.host("no-such-name.invalid").is_err());
    }

    #[test]
    fn a_file_is_read_whole_or_refused() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(b"127.0.0.1\n").expect("written");
        let path = file.path().to_str().expect("a path").to_owned();
        assert_eq!(SystemResolver.file(&path).as_deref(), Ok("127.0.0.1\n"));
        file.write_all(&[0xff]).expect("written");
        let error = SystemResolver.file(&path).expect_err("not text");
        assert!(error.contains("byte 10"), "{error}");
        file.as_file().set_len(MAX_FILE_BYTES + 1).expect("a long file");
        assert!(SystemResolver.file(&path).expect_err("too long").contains("16777216"));
        assert!(SystemResolver.file("/").is_err());
        assert!(SystemResolver.file("/no/such/file").is_err());
    }

    #[test]
    fn an_endless_file_is_refused_and_not_read_for_ever() {
        assert!(SystemResolver.file("/dev/zero").expect_err("endless").contains("longer"));
    }

    #[test]
    fn a_port_that_this_test_holds_is_in_use() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
        let port = listener.local_addr().expect("its address").port();
        assert!(SystemResolver.ports_in_use(Protocol::Tcp).expect("ports").contains(&port));
    }

    #[test]
    fn the_kernel_hands_out_ports_from_the_ephemeral_range() {
        let (first, last) = SystemResolver.ephemeral_ports().expect("a range");
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let port = socket.local_addr().expect("its address").port();
        assert!((first..=last).contains(&port));
    }
}
