//! What a plan asks the machine, each question once.
//!
//! Holds answers and the bound on how many names are asked for. Never answers
//! a question itself: a [`Resolver`] does.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;

use super::address_item::AddressItem;
use super::error::{Fault, shown};
use super::realm::Realm;
use super::token::Token;
use super::{Address, Protocol, Resolver, Zone};

/// Host names and the addresses that they stood for.
pub(crate) type Hosts = BTreeMap<String, Vec<IpAddr>>;

/// Most different names (hosts, interfaces, files, zones) that one plan asks for.
const MAX_NAMES: usize = 4096;
/// Most items of one file.
const MAX_FILE_ITEMS: usize = 1 << 20;

/// The items of a file, each with the mark whether it excludes.
pub(crate) type FileItems = Rc<[(bool, AddressItem)]>;

/// The machine, as far as one plan has asked about it.
pub(crate) struct Asked<'a> {
    resolver: &'a dyn Resolver,
    hosts: Hosts,
    interfaces: BTreeMap<String, Vec<Address>>,
    zones: BTreeMap<String, Zone>,
    files: BTreeMap<String, FileItems>,
    in_use: BTreeMap<Protocol, Vec<u16>>,
    ephemeral: Option<(u16, u16)>,
}

impl<'a> Asked<'a> {
    pub(crate) const fn new(resolver: &'a dyn Resolver) -> Self {
        Self {
            resolver,
            hosts: BTreeMap::new(),
            interfaces: BTreeMap::new(),
            zones: BTreeMap::new(),
            files: BTreeMap::new(),
            in_use: BTreeMap::new(),
            ephemeral: None,
        }
    }

    pub(crate) fn into_hosts(self) -> Hosts {
        self.hosts
    }

    pub(crate) fn host(&mut self, name: &str) -> Result<Vec<IpAddr>, String> {
        let name = name.to_ascii_lowercase();
        if let Some(known) = self.hosts.get(&name) {
            return Ok(known.clone());
        }
        self.one_more_name()?;
        let mut found = self
            .resolver
            .host(&name)
            .map_err(|why| format!("the host {} cannot be resolved: {why}", shown(&name)))?;
        found.sort_unstable();
        found.dedup();
        Ok(self.hosts.entry(name).or_insert(found).clone())
    }

    pub(crate) fn interface(&mut self, name: &str) -> Result<Vec<(Realm, u128)>, String> {
        if !self.interfaces.contains_key(name) {
            self.one_more_name()?;
            let mut found = self
                .resolver
                .interface(name)
                .map_err(|why| format!("the interface {} cannot be used: {why}", shown(name)))?;
            found.sort_unstable();
            found.dedup();
            self.interfaces.insert(name.to_owned(), found);
        }
        Ok(self.interfaces.get(name).into_iter().flatten().map(|ip| Realm::of(*ip)).collect())
    }

    pub(crate) fn zone(&mut self, name: &str) -> Result<Zone, String> {
        if let Some(known) = self.zones.get(name) {
            return Ok(*known);
        }
        self.one_more_name()?;
        let zone = self.resolver.zone(name).and_then(|index| Zone::new(name, index));
        let zone = zone.ok_or_else(|| format!("there is no interface {}", shown(name)))?;
        self.zones.insert(name.to_owned(), zone);
        Ok(zone)
    }

    /// Sorted, each once.
    pub(crate) fn ports_in_use(&mut self, protocol: Protocol) -> Result<&[u16], String> {
        if !self.in_use.contains_key(&protocol) {
            let mut found = self
                .resolver
                .ports_in_use(protocol)
                .map_err(|why| format!("the {protocol} ports in use are not known: {why}"))?;
            found.retain(|port| *port > 0);
            found.sort_unstable();
            found.dedup();
            self.in_use.insert(protocol, found);
        }
        Ok(self.in_use.get(&protocol).map_or(&[], Vec::as_slice))
    }

    pub(crate) fn ephemeral_ports(&mut self) -> Result<(u16, u16), String> {
        if let Some(known) = self.ephemeral {
            return Ok(known);
        }
        let (first, last) = self
            .resolver
            .ephemeral_ports()
            .map_err(|why| format!("the ephemeral ports are not known: {why}"))?;
        if first == 0 || first > last {
            return Err(format!("the ephemeral ports {first} to {last} are no range"));
        }
        self.ephemeral = Some((first, last));
        Ok((first, last))
    }

    /// The items of a file; faults name its path and line.
    pub(crate) fn file(&mut self, path: &str) -> Result<FileItems, Fault> {
        let plain = |message: String| Fault::new(0..0, message);
        if let Some(known) = self.files.get(path) {
            return Ok(Rc::clone(known));
        }
        self.one_more_name().map_err(plain)?;
        let text = self
            .resolver
            .file(path)
            .map_err(|why| plain(format!("the file {} cannot be used: {why}", shown(path))))?;
        let mut items = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            let pieces = line.split(|found: char| found == ',' || found.is_whitespace());
            for piece in pieces.filter(|piece| !piece.is_empty()) {
                if items.len() == MAX_FILE_ITEMS {
                    let message = format!("{} has more than {MAX_FILE_ITEMS} items", shown(path));
                    return Err(plain(message));
                }
                items.push(file_item(piece).map_err(|fault| Fault {
                    message: format!("{} line {}: {}", shown(path), index + 1, fault.message),
                    ..fault
                })?);
            }
        }
        let items: FileItems = items.into();
        self.files.insert(path.to_owned(), Rc::clone(&items));
        Ok(items)
    }

    fn one_more_name(&self) -> Result<(), String> {
        let names = self.hosts.len() + self.interfaces.len() + self.zones.len() + self.files.len();
        if names < MAX_NAMES {
            return Ok(());
        }
        Err(format!("more than {MAX_NAMES} different names in one plan: write addresses instead"))
    }
}

fn file_item(piece: &str) -> Result<(bool, AddressItem), Fault> {
    let (excluded, name) = match piece.strip_prefix('!') {
        Some(name) => (true, name),
        None => (false, piece),
    };
    if name.is_empty() {
        return Err(Fault::new(0..0, "nothing after `!`"));
    }
    let item = AddressItem::parse(Token::new(name))?;
    if matches!(item, AddressItem::File(_)) {
        return Err(Fault::new(0..0, format!("{} names a file inside a file", shown(name)))
            .help("name both files in the spec"));
    }
    Ok((excluded, item))
}
