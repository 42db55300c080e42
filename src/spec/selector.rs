//! Selectors: which endpoints of a running service a command is meant for.
//!
//! Holds the grammar: a spec whose parts may be `*`, or `chunk:N`,
//! `group:NAME`, `state:S`. Matching is `selection`'s. Never asks the machine
//! by itself.

mod selection;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;

use super::address_item::AddressItem;
use super::error::{Fault, shown};
use super::parse::Spec;
use super::port_item::PortItem;
use super::resolve::Resolution;
use super::token::Token;
use super::{Address, Protocol, Resolver, SpecError, Zone};
use crate::supervision::{ChunkId, EndpointState};

pub use selection::{Candidate, Selection};

const GRAMMAR: &str = "a selector is *, [tcp|udp|both|*://]ADDRESSES:PORTS whose parts may be *, \
                       chunk:N, group:NAME or state:S";

/// What a command names of a running service. Displays as its text.
///
/// - `*` is every endpoint.
/// - A spec names what it names in a plan, TCP where no protocol is written;
///   `*://` and `both://` are either protocol. `*` as address or port is any.
///   A port of the kernel's choice is named by the number that it got; port 0
///   names all that asked for one.
/// - `chunk:N`, `group:NAME` and `state:S` name the endpoints there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    text: String,
    names: Names,
}

/// What a selector names.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Names {
    All,
    Endpoints(Box<Spec>),
    Chunk(ChunkId),
    Group(Box<str>),
    State(EndpointState),
}

impl Selector {
    /// The selector of every endpoint.
    #[must_use]
    pub fn all() -> Self {
        Self { text: "*".to_owned(), names: Names::All }
    }

    /// Parses a selector, as in an argument: `tcp://127.0.0.0/29:*`.
    ///
    /// # Errors
    /// [`SpecError`] with the place of the first fault.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        let names = read(Token::new(text)).map_err(|fault| fault.in_text(text))?;
        Ok(Self { text: text.to_owned(), names })
    }

    /// Whether [`Self::resolve`] asks the machine, which may take its time.
    #[must_use]
    pub fn asks(&self) -> bool {
        let Names::Endpoints(spec) = &self.names else { return false };
        let named = |what: &AddressItem| match what {
            AddressItem::Any | AddressItem::Block { .. } | AddressItem::Octets(_) => false,
            AddressItem::Interface(_) | AddressItem::Host(_) | AddressItem::File(_) => true,
        };
        spec.addresses.iter().any(|item| named(&item.what))
            || spec
                .ports
                .iter()
                .any(|item| matches!(item.what, PortItem::InUse | PortItem::Ephemeral))
    }

    /// What the selector names on this machine now. `zones` are those of the
    /// endpoints that it will be held against: an address without a zone names
    /// itself in each.
    ///
    /// # Errors
    /// [`SpecError`] where an interface, a host or a file cannot be resolved.
    pub fn resolve(
        &self,
        resolver: &dyn Resolver,
        zones: impl IntoIterator<Item = Zone>,
    ) -> Result<Selection, SpecError> {
        Ok(match &self.names {
            Names::All => Selection::all(),
            Names::Chunk(chunk) => Selection::chunk(*chunk),
            Names::Group(name) => Selection::group(name),
            Names::State(state) => Selection::state(*state),
            Names::Endpoints(spec) => {
                let zones: Vec<Zone> = zones.into_iter().collect();
                let known = Known { resolver, zones: &zones };
                let mut resolution = Resolution::selecting(&known, &zones);
                let asked = spec.ports.iter().any(|item| matches!(item.what, PortItem::Chosen(_)));
                Selection::endpoints(&resolution.resolve(spec, true)?, asked)
            }
        })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

/// The machine, but for the zones that endpoints have already: an interface
/// that was made anew keeps its name there.
struct Known<'a> {
    resolver: &'a dyn Resolver,
    zones: &'a [Zone],
}

impl Resolver for Known<'_> {
    fn interface(&self, name: &str) -> Result<Vec<Address>, String> {
        self.resolver.interface(name)
    }

    fn host(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        self.resolver.host(name)
    }

    fn file(&self, path: &str) -> Result<String, String> {
        self.resolver.file(path)
    }

    fn zone(&self, name: &str) -> Option<u32> {
        let known = self.zones.iter().find(|zone| zone.name() == name).map(|zone| zone.index());
        known.or_else(|| self.resolver.zone(name))
    }

    fn ports_in_use(&self, protocol: Protocol) -> Result<Vec<u16>, String> {
        self.resolver.ports_in_use(protocol)
    }

    fn ephemeral_ports(&self) -> Result<(u16, u16), String> {
        self.resolver.ephemeral_ports()
    }
}

fn read(whole: Token<'_>) -> Result<Names, Fault> {
    let token = whole.trim();
    if token.text.is_empty() {
        return Err(whole.fault("the selector is empty").help(GRAMMAR));
    }
    if token.text == "*" {
        return Ok(Names::All);
    }
    if token.text.starts_with('!') {
        return Err(Fault::new(token.at..token.at + 1, "a selector does not begin with `!`")
            .help("it says what is meant; leave something out as in *://*,!10.0.0.1:*"));
    }
    if let Some(number) = token.strip("chunk:") {
        return chunk(number.trim());
    }
    if let Some(name) = token.strip("group:") {
        return group(name.trim());
    }
    if let Some(name) = token.strip("state:") {
        return state(name.trim());
    }
    Spec::read_selecting(whole, token).map(|spec| Names::Endpoints(Box::new(spec)))
}

fn chunk(number: Token<'_>) -> Result<Names, Fault> {
    let digits = number.text.bytes().all(|byte| byte.is_ascii_digit());
    match number.text.parse() {
        Ok(id) if digits && id > 0 => Ok(Names::Chunk(ChunkId(id))),
        _ => Err(number
            .fault(format!("{} is no number of a chunk", shown(number.text)))
            .help("chunks are numbered from 1, as in chunk:3")),
    }
}

fn group(name: Token<'_>) -> Result<Names, Fault> {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.text.is_empty() || !name.text.bytes().all(legal) {
        return Err(name
            .fault(format!("{} is no name of a group", shown(name.text)))
            .help("a name is made of a-z, 0-9 and -, as in group:lab"));
    }
    Ok(Names::Group(name.text.into()))
}

fn state(name: Token<'_>) -> Result<Names, Fault> {
    EndpointState::ALL.into_iter().find(|state| state.as_str() == name.text).map_or_else(
        || {
            let names = EndpointState::ALL.map(EndpointState::as_str).join(", ");
            Err(name
                .fault(format!("{} is no state of an endpoint", shown(name.text)))
                .help(format!("the states are {names}")))
        },
        |state| Ok(Names::State(state)),
    )
}
