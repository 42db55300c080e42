//! One item of an address list, as written.
//!
//! Holds the forms and their faults; numeric ones are read in `numeric`. Never
//! asks what an interface, a host name or a file stands for.

use std::net::{IpAddr, Ipv6Addr};

use super::error::{Fault, shown};
use super::numeric;
use super::token::Token;

/// Longest host name in bytes (RFC 1035).
const MAX_HOST_BYTES: usize = 253;
/// Longest interface name in bytes (`IFNAMSIZ` less its NUL, netdevice(7)).
const MAX_INTERFACE_BYTES: usize = 15;
/// Longest path in bytes (`PATH_MAX`, limits.h).
const MAX_PATH_BYTES: usize = 4096;

/// What an address item names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AddressItem {
    /// `0.0.0.0` and `[::]`.
    Any,
    /// First to last, both included and of one family; IPv6 may have a zone.
    Block { first: IpAddr, last: IpAddr, zone: Option<Box<str>> },
    /// Every IPv4 address whose octets lie in these ranges.
    Octets([(u8, u8); 4]),
    /// All addresses of an interface.
    Interface(Box<str>),
    /// All addresses of a host.
    Host(Box<str>),
    /// The items in a file.
    File(Box<str>),
}

impl AddressItem {
    pub(crate) fn parse(token: Token<'_>) -> Result<Self, Fault> {
        if token.text == "*" {
            return Ok(Self::Any);
        }
        if let Some(path) = token.strip("@") {
            return file(token, path);
        }
        if let Some(name) = token.strip("if:") {
            return interface(name, token).map(Self::Interface);
        }
        if token.text.contains(['[', ']']) {
            return bracketed(token);
        }
        if token.text.contains(':') {
            return Err(colon(token));
        }
        match numeric::v4(token)? {
            Some(item) => Ok(item),
            None => host(token).map(Self::Host),
        }
    }
}

fn file(whole: Token<'_>, path: Token<'_>) -> Result<AddressItem, Fault> {
    if path.text.is_empty() || path.text.len() > MAX_PATH_BYTES || path.text.contains('\0') {
        return Err(whole.fault(format!(
            "@ needs the path of a file: 1 to {MAX_PATH_BYTES} bytes, without NUL"
        )));
    }
    Ok(AddressItem::File(path.text.into()))
}

/// An interface's name, as the kernel accepts it.
pub(crate) fn interface(name: Token<'_>, whole: Token<'_>) -> Result<Box<str>, Fault> {
    if name.text.is_empty() {
        return Err(whole.fault("the name of an interface is missing").help("as in if:eth0"));
    }
    let odd = |found: char| found.is_whitespace() || found.is_control() || found == '/';
    if name.text.len() > MAX_INTERFACE_BYTES || name.text.contains(odd) {
        return Err(name.fault(format!(
            "{} is no interface name: 1 to {MAX_INTERFACE_BYTES} bytes, no spaces, no `/`",
            shown(name.text)
        )));
    }
    Ok(name.text.into())
}

fn host(token: Token<'_>) -> Result<Box<str>, Fault> {
    let name = token.text.strip_suffix('.').unwrap_or(token.text);
    let refuse = |span, why: &str| {
        let message = format!("{} is neither an address nor a host name: {why}", shown(token.text));
        Err(Fault::new(span, message)
            .help("an address is an IP, a CIDR, a range, octets, if:NAME, a host name, @FILE or *"))
    };
    let legal = |found: char| found.is_ascii_alphanumeric() || matches!(found, '.' | '-' | '_');
    if let Some((at, found)) = token.text.char_indices().find(|(_, found)| !legal(*found)) {
        let span = token.at + at..token.at + at + found.len_utf8();
        return refuse(span, &format!("{} does not belong in either", shown(&found.to_string())));
    }
    if name.len() > MAX_HOST_BYTES {
        return refuse(token.span(), "a host name has at most 253 bytes");
    }
    let bad_label = |label: &str| {
        label.is_empty() || label.len() > 63 || label.starts_with('-') || label.ends_with('-')
    };
    if name.split('.').any(bad_label) {
        return refuse(token.span(), "its labels are 1 to 63 bytes and begin and end with no `-`");
    }
    // Resolvers read `10.1` and `0x7f000001` as numbers: never what was meant.
    let last = name.rsplit('.').next().unwrap_or(name);
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if digits(last) || last.strip_prefix("0x").is_some_and(hex) {
        return refuse(token.span(), "a host name does not end in a number");
    }
    Ok(name.into())
}

/// `[…]`, `[…]/LEN` and `[…]-[…]`; all that stands in brackets is IPv6.
fn bracketed(whole: Token<'_>) -> Result<AddressItem, Fault> {
    let Some(open) = whole.strip("[") else {
        return Err(outside(whole));
    };
    let Some((inside, rest)) = open.cut_at("]") else {
        return Err(whole.fault("`[` is never closed").help("IPv6 is written as in [::1]"));
    };
    if rest.text.is_empty() {
        return numeric::v6(inside);
    }
    if rest.text.starts_with('/') {
        let AddressItem::Block { first: IpAddr::V6(base), last, zone } = numeric::v6(inside)?
        else {
            return Err(whole.fault("a prefix length follows one address"));
        };
        if last != base || inside.text.contains(['/', '-']) {
            return Err(rest.fault("a prefix length follows one address"));
        }
        let (first, last) = numeric::v6_block(whole, base, rest.cut(1, 0).1)?;
        return Ok(AddressItem::Block { first, last, zone });
    }
    let end = rest.strip("-[").filter(|_| !inside.text.contains(['/', '-']));
    match end.and_then(|end| end.text.strip_suffix(']').map(|text| Token { text, at: end.at })) {
        Some(end) if !end.text.contains(['[', ']', '/', '-', '%']) => {
            numeric::v6_range(whole, inside, end)
        }
        _ if rest.text.starts_with('-') => {
            Err(rest.fault("both ends of a range are addresses of one family"))
        }
        _ => Err(rest.fault(format!("{} after an address in brackets", shown(rest.text)))),
    }
}

fn outside(whole: Token<'_>) -> Fault {
    if whole.text.contains("-[") {
        return whole.fault("both ends of a range are addresses of one family");
    }
    whole
        .fault(format!("{} has a bracket in the wrong place", shown(whole.text)))
        .help("IPv6 is written as in [::1], [2001:db8::/120] or [fe80::1%eth0]")
}

fn colon(whole: Token<'_>) -> Fault {
    let bare = whole.text.split(['/', '%', '-']).next().unwrap_or_default();
    if bare.parse::<Ipv6Addr>().is_ok() {
        return whole
            .fault(format!("the IPv6 address {} is not in brackets", shown(whole.text)))
            .help(format!("write [{}]", whole.text.escape_debug()));
    }
    let at = whole.text.find(':').unwrap_or_default();
    Fault::new(
        whole.at + at..whole.at + at + 1,
        format!("`:` does not belong in the address {}", shown(whole.text)),
    )
    .help("IPv6 is written in brackets, as in [::1]:80; ports follow the last `:` of a spec")
}
