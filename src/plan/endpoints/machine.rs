//! The machine that tests of plans ask: one interface, two hosts, a few files.

use std::net::IpAddr;

use crate::spec::{Address, Protocol, Resolver, Zone};

/// A machine with one interface, two hosts, a few files and ports in use.
pub(super) struct Machine;

impl Resolver for Machine {
    fn interface(&self, name: &str) -> Result<Vec<Address>, String> {
        let zone = Zone::new("eth0", 2).ok_or("no zone")?;
        match name {
            "eth0" => Ok(vec![
                ip("10.0.0.7").into(),
                Address::with_zone("fe80::7".parse().map_err(|_| "no address")?, zone),
            ]),
            "bare" => Ok(Vec::new()),
            _ => Err("there is none".to_owned()),
        }
    }

    fn host(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        match name {
            "lab.example" => Ok(vec![ip("10.0.0.9"), ip("::9"), ip("10.0.0.9")]),
            _ => Err("not known".to_owned()),
        }
    }

    fn file(&self, path: &str) -> Result<String, String> {
        Ok(match path {
            "good" => "# lab\n10.0.0.0/30 !10.0.0.2\n\n[::1], lab.example # both\n".to_owned(),
            "bad" => "10.0.0.1\n10.0.0.256\n".to_owned(),
            "nested" => "@good\n".to_owned(),
            "empty" => "# nothing\n".to_owned(),
            "many" => (0..100_000_u32)
                .map(|number| format!("{}\n", std::net::Ipv4Addr::from(0x0a00_0000 + 2 * number)))
                .collect(),
            _ => return Err("there is none".to_owned()),
        })
    }

    fn zone(&self, name: &str) -> Option<u32> {
        (name == "eth0").then_some(2)
    }

    fn ports_in_use(&self, protocol: Protocol) -> Result<Vec<u16>, String> {
        Ok(if protocol == Protocol::Tcp { vec![22, 80, 22] } else { Vec::new() })
    }

    fn ephemeral_ports(&self) -> Result<(u16, u16), String> {
        Ok((32768, 60999))
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}
