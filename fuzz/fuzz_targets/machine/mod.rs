//! A made-up machine that specs and selectors are resolved on.

use std::net::IpAddr;

use ipcow::spec::{Address, Protocol, Resolver, Zone};

/// A machine with one interface, one host name and one file.
pub struct MadeUp;

impl Resolver for MadeUp {
    fn interface(&self, name: &str) -> Result<Vec<Address>, String> {
        let zone = Zone::new(name, 2).ok_or("a long name")?;
        let local = Address::with_zone([0xfe80, 0, 0, 0, 0, 0, 0, 1].into(), zone);
        Ok(vec![Address::new([192, 0, 2, 7].into()), local])
    }

    fn host(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        match name.len() {
            1..=8 => Ok(vec![[192, 0, 2, 8].into(), [0x2001, 0xdb8, 0, 0, 0, 0, 0, 8].into()]),
            _ => Err(format!("{name:?} is unknown")),
        }
    }

    /// The path is the text, so that the fuzzer writes files too.
    fn file(&self, path: &str) -> Result<String, String> {
        Ok(path.replace(';', "\n"))
    }

    fn zone(&self, name: &str) -> Option<u32> {
        name.starts_with("eth").then_some(2)
    }

    fn ports_in_use(&self, protocol: Protocol) -> Result<Vec<u16>, String> {
        Ok(match protocol {
            Protocol::Tcp => vec![22, 80],
            Protocol::Udp => vec![53],
        })
    }

    fn ephemeral_ports(&self) -> Result<(u16, u16), String> {
        Ok((32_768, 60_999))
    }
}
