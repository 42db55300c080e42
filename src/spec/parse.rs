//! From text to a [`Spec`]: exclusion mark, protocol, the two lists.
//!
//! Holds the outer grammar. Items are read by `address_item` and `port_item`.
//! Never looks anything up.

use std::fmt;
use std::net::Ipv6Addr;

use super::Protocol;
use super::address_item::AddressItem;
use super::error::{Fault, PartsError, PartsList, SpecError, shown};
use super::port_item::PortItem;
use super::token::{Item, Token, items};

const GRAMMAR: &str = "a spec is [tcp|udp|both://]ADDRESSES:PORTS, as in tcp://127.0.0.1:8000-8010";

/// One parsed spec; nothing is looked up yet. Displays as its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    pub(crate) text: String,
    pub(crate) exclusion: bool,
    pub(crate) transport: Transport,
    pub(crate) addresses: Vec<Item<AddressItem>>,
    pub(crate) ports: Vec<Item<PortItem>>,
}

/// The protocols of one spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
    Both,
}

impl Transport {
    pub(crate) const fn protocols(self) -> &'static [Protocol] {
        match self {
            Self::Tcp => &[Protocol::Tcp],
            Self::Udp => &[Protocol::Udp],
            Self::Both => &Protocol::ALL,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Both => "both",
        }
    }
}

impl Spec {
    /// Parses one spec, as in an argument: `both://127.0.0.0/29,!127.0.0.3:80`.
    ///
    /// A list holds at most 100,000 items. White space around items is ignored.
    ///
    /// # Errors
    /// [`SpecError`] with the place of the first fault.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        Self::read(Token::new(text)).map_err(|fault| fault.in_text(text))
    }

    /// Builds a spec from the lists of a `[[listen]]` table.
    ///
    /// Each string may hold a comma list itself. The spec's text is the one that
    /// [`Spec::parse`] would read to the same spec.
    ///
    /// # Errors
    /// [`PartsError`] with the list, the item and the place in it: a faulty item,
    /// an empty list, or one that only excludes.
    pub fn from_parts(
        addresses: &[&str],
        ports: &[&str],
        protocols: &[Protocol],
    ) -> Result<Self, PartsError> {
        let transport =
            match (protocols.contains(&Protocol::Tcp), protocols.contains(&Protocol::Udp)) {
                (true, true) => Transport::Both,
                (true, false) => Transport::Tcp,
                (false, true) => Transport::Udp,
                (false, false) => return Err(empty_list(PartsList::Protocols)),
            };
        let mut text = format!("{}://", transport.as_str());
        let addresses =
            part(PartsList::Addresses, addresses, &mut text, |item, _| AddressItem::parse(item))?;
        text.push(':');
        let ports = part(PartsList::Ports, ports, &mut text, PortItem::parse)?;
        Ok(Self { text, exclusion: false, transport, addresses, ports })
    }

    /// How many ports the kernel shall choose for each address.
    pub(crate) fn chosen(&self) -> u32 {
        let count = |item: &Item<PortItem>| match item.what {
            PortItem::Chosen(count) => u32::from(count),
            PortItem::Range(..) | PortItem::InUse | PortItem::Ephemeral => 0,
        };
        self.ports.iter().map(count).fold(0, u32::saturating_add)
    }

    /// True for a spec that begins with `!`: it removes its endpoints from all others.
    #[must_use]
    pub const fn is_exclusion(&self) -> bool {
        self.exclusion
    }

    fn read(whole: Token<'_>) -> Result<Self, Fault> {
        let spec = whole.trim();
        if spec.text.is_empty() {
            return Err(whole.fault("the spec is empty").help(GRAMMAR));
        }
        let (exclusion, spec) = match spec.strip("!") {
            Some(rest) => (true, rest.trim()),
            None => (false, spec),
        };
        let (transport, spec) = transport(spec)?;
        Self::read_lists(whole, exclusion, transport, spec)
    }

    /// Reads the spec of a selector, which may stand for either protocol.
    pub(crate) fn read_selecting(whole: Token<'_>, spec: Token<'_>) -> Result<Self, Fault> {
        let (transport, spec) = match spec.strip("*://") {
            Some(rest) => (Transport::Both, rest),
            None => transport(spec)?,
        };
        Self::read_lists(whole, false, transport, spec)
    }

    fn read_lists(
        whole: Token<'_>,
        exclusion: bool,
        transport: Transport,
        spec: Token<'_>,
    ) -> Result<Self, Fault> {
        let (addresses, ports) = lists(spec)?;
        let addresses = if addresses.text.is_empty() {
            vec![Item { excluded: false, span: addresses.span(), what: AddressItem::Any }]
        } else {
            let found = items(addresses, |item, _| AddressItem::parse(item))?;
            only_exclusions(&found, addresses, PartsList::Addresses)?;
            found
        };
        let found = items(ports, |item, excluded| PortItem::parse(item, excluded || exclusion))?;
        only_exclusions(&found, ports, PartsList::Ports)?;
        Ok(Self { text: whole.text.to_owned(), exclusion, transport, addresses, ports: found })
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

fn transport(spec: Token<'_>) -> Result<(Transport, Token<'_>), Fault> {
    // `@a://b:80` names a file: only what cannot be an address list is a protocol.
    let Some((name, rest)) =
        spec.cut_at("://").filter(|(name, _)| !name.text.contains(['@', ',', ':', '/', '[']))
    else {
        return Ok((Transport::Tcp, spec));
    };
    let transport = match name.text {
        "tcp" => Transport::Tcp,
        "udp" => Transport::Udp,
        "both" => Transport::Both,
        other if other.starts_with('!') => {
            return Err(Fault::new(name.at..name.at + 1, "a spec is excluded twice")
                .help("one `!` before a spec is enough"));
        }
        other => {
            return Err(name
                .fault(format!("{} is no protocol", shown(other)))
                .help("tcp, udp or both; tcp when none is written"));
        }
    };
    Ok((transport, rest))
}

/// Addresses and ports, which follow the last colon outside of brackets.
fn lists(spec: Token<'_>) -> Result<(Token<'_>, Token<'_>), Fault> {
    let missing = || Fault::new(spec.end()..spec.end(), "the ports are missing").help(GRAMMAR);
    if spec.text.parse::<Ipv6Addr>().is_ok() {
        return Err(spec
            .fault(format!("the IPv6 address {} is not in brackets", shown(spec.text)))
            .help(format!("write [{}]:PORTS", spec.text)));
    }
    let colon = spec.text.rfind(':').ok_or_else(missing)?;
    let (addresses, ports) = spec.cut(colon, 1);
    let last = addresses.text.rsplit(',').next().unwrap_or_default().trim();
    // `if:eth0` and `[::1]` have a colon of their own.
    if ports.text.trim().is_empty() || ports.text.contains(']') || last.trim_matches('!') == "if" {
        return Err(missing());
    }
    Ok((addresses, ports))
}

fn only_exclusions<T>(items: &[Item<T>], list: Token<'_>, kind: PartsList) -> Result<(), Fault> {
    if items.iter().any(|item| !item.excluded) {
        return Ok(());
    }
    Err(list
        .fault(format!("the {kind} only exclude: nothing is left to exclude from"))
        .help(format!("write *,{} to exclude from all", list.text.trim().escape_debug())))
}

fn empty_list(list: PartsList) -> PartsError {
    let help = match list {
        PartsList::Addresses => "as in addresses = [\"127.0.0.1\"]",
        PartsList::Ports => "as in ports = [\"8000-8010\"]",
        PartsList::Protocols => "as in protocols = [\"tcp\"]",
    };
    let fault = Fault::new(0..0, format!("the list {list} is empty")).help(help);
    PartsError { list, index: 0, error: fault.in_text("") }
}

/// Reads one list and appends it to the spec's text.
fn part<T>(
    list: PartsList,
    texts: &[&str],
    spec: &mut String,
    parse: impl Fn(Token<'_>, bool) -> Result<T, Fault>,
) -> Result<Vec<Item<T>>, PartsError> {
    let mut all: Vec<Item<T>> = Vec::new();
    let at_item =
        |index, text: &str, fault: Fault| PartsError { list, index, error: fault.in_text(text) };
    for (index, text) in texts.iter().enumerate() {
        if index > 0 {
            spec.push(',');
        }
        let offset = spec.len();
        spec.push_str(text);
        let found = items(Token::new(text), &parse).map_err(|fault| at_item(index, text, fault))?;
        if all.len() + found.len() > super::token::MAX_ITEMS {
            let fault = Fault::new(0..text.len(), "more than 100000 items in one list");
            return Err(at_item(index, text, fault));
        }
        all.extend(found.into_iter().map(|mut item| {
            item.span = item.span.start + offset..item.span.end + offset;
            item
        }));
    }
    let Some(first) = texts.first() else {
        return Err(empty_list(list));
    };
    only_exclusions(&all, Token::new(first), list).map_err(|fault| at_item(0, first, fault))?;
    Ok(all)
}
