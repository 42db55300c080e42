//! Addresses that are written as numbers: single, CIDR, range, octet ranges.
//!
//! Holds their arithmetic and its faults. Never sees a list or a spec.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::address_item::{AddressItem, interface};
use super::error::{Fault, shown};
use super::token::Token;

/// An IPv4 form; `None` when the text has letters, which is a host name's business.
pub(crate) fn v4(token: Token<'_>) -> Result<Option<AddressItem>, Fault> {
    if let Some((base, length)) = token.cut_at("/") {
        let base: Ipv4Addr = base.text.parse().map_err(|_| bad_v4(base))?;
        let length = prefix_length(length, 32)?;
        let net = Ipv4Net::new(base, length).map_err(|_| bad_v4(token))?;
        return network(token, IpAddr::V4(base), net.into())
            .map(|(first, last)| Some(AddressItem::Block { first, last, zone: None }));
    }
    let numeric = |byte: u8| byte.is_ascii_digit() || byte == b'.' || byte == b'-';
    if !token.text.bytes().all(numeric) {
        return Ok(None);
    }
    if let Ok(ip) = token.text.parse::<Ipv4Addr>() {
        let ip = IpAddr::V4(ip);
        return Ok(Some(AddressItem::Block { first: ip, last: ip, zone: None }));
    }
    let dots = |text: &str| text.matches('.').count();
    match token.cut_at("-") {
        Some((first, last)) if dots(first.text) == 3 && dots(last.text) == 3 => {
            let low: Ipv4Addr = first.text.parse().map_err(|_| bad_v4(first))?;
            let high: Ipv4Addr = last.text.parse().map_err(|_| bad_v4(last))?;
            ordered(token, low.into(), high.into(), None).map(Some)
        }
        Some(_) if dots(token.text) == 3 => octets(token).map(Some),
        _ => Err(bad_v4(token)),
    }
}

fn bad_v4(token: Token<'_>) -> Fault {
    token
        .fault(format!("{} is no IPv4 address", shown(token.text)))
        .help("four numbers from 0 to 255, without leading zeros, as in 10.0.0.1")
}

fn octets(token: Token<'_>) -> Result<AddressItem, Fault> {
    let mut octets = [(0, 0); 4];
    let mut at = token.at;
    for (text, octet) in token.text.split('.').zip(&mut octets) {
        let part = Token { text, at };
        at = part.end() + 1;
        let (low, high) = part.cut_at("-").unwrap_or((part, part));
        *octet = (self::octet(low)?, self::octet(high)?);
        if octet.0 > octet.1 {
            return Err(part
                .fault(format!("the range {} is reversed", shown(text)))
                .help(format!("write {}-{}", octet.1, octet.0)));
        }
    }
    Ok(AddressItem::Octets(octets))
}

fn octet(token: Token<'_>) -> Result<u8, Fault> {
    let zeros = token.text.len() > 1 && token.text.starts_with('0');
    token.text.parse().ok().filter(|_| !zeros).ok_or_else(|| {
        token
            .fault(format!("{} is no octet of an IPv4 address", shown(token.text)))
            .help("0 to 255, without leading zeros; a range of octets is written 1-254")
    })
}

/// What stands in brackets: `ADDR`, `ADDR/LEN` or `ADDR-ADDR`, and a `%ZONE`
/// before or after the length.
pub(crate) fn v6(inside: Token<'_>) -> Result<AddressItem, Fault> {
    let (base, zone) = match inside.cut_at("%") {
        Some((base, zone)) => (base, Some(zone)),
        None => (inside, None),
    };
    let (zone, late_length) = match zone.and_then(|zone| zone.cut_at("/")) {
        Some((zone, length)) => (Some(zone), Some(length)),
        None => (zone, None),
    };
    let zone = zone.map(|zone| interface(zone, inside)).transpose()?;
    let (first, last) = if let Some(length) = late_length {
        v6_block(inside, address(base)?, length)?
    } else if let Some((base, length)) = base.cut_at("/") {
        v6_block(inside, address(base)?, length)?
    } else if let Some((first, last)) = base.cut_at("-") {
        return ordered(inside, address(first)?.into(), address(last)?.into(), zone);
    } else {
        let ip = IpAddr::V6(address(base)?);
        (ip, ip)
    };
    zoned(inside, first, last, zone)
}

/// `[FIRST]-[LAST]`; a zone belongs to the first and holds for both.
pub(crate) fn v6_range(
    whole: Token<'_>,
    first: Token<'_>,
    last: Token<'_>,
) -> Result<AddressItem, Fault> {
    let AddressItem::Block { first, zone, .. } = v6(first)? else {
        return Err(bad_v6(first));
    };
    ordered(whole, first, address(last)?.into(), zone)
}

/// First and last address of the network `base/length`.
pub(crate) fn v6_block(
    whole: Token<'_>,
    base: Ipv6Addr,
    length: Token<'_>,
) -> Result<(IpAddr, IpAddr), Fault> {
    let length = prefix_length(length, 128)?;
    let net = Ipv6Net::new(base, length).map_err(|_| bad_v6(whole))?;
    network(whole, IpAddr::V6(base), net.into())
}

fn address(token: Token<'_>) -> Result<Ipv6Addr, Fault> {
    token.text.parse().map_err(|_| bad_v6(token))
}

fn bad_v6(token: Token<'_>) -> Fault {
    token
        .fault(format!("{} is no IPv6 address", shown(token.text)))
        .help("brackets hold IPv6 only, as in [::1], [2001:db8::/120] or [fe80::1%eth0]")
}

fn prefix_length(token: Token<'_>, most: u8) -> Result<u8, Fault> {
    let digits = token.text.bytes().all(|byte| byte.is_ascii_digit());
    token.text.parse().ok().filter(|length| digits && *length <= most).ok_or_else(|| {
        token.fault(format!("{} is no prefix length: 0 to {most}", shown(token.text)))
    })
}

fn network(whole: Token<'_>, base: IpAddr, net: IpNet) -> Result<(IpAddr, IpAddr), Fault> {
    if net.network() != base {
        let network = if whole.text.starts_with('[') {
            format!("[{}]", net.trunc())
        } else {
            net.trunc().to_string()
        };
        return Err(whole.fault(format!("{} has host bits set", shown(whole.text))).help(format!(
            "the network is {network}; one address is written without /{}",
            net.prefix_len()
        )));
    }
    let last = match net {
        // `Ipv4Net::broadcast` is the last address, whatever the length.
        IpNet::V4(net) => IpAddr::V4(net.broadcast()),
        IpNet::V6(net) => IpAddr::V6(net.broadcast()),
    };
    Ok((base, last))
}

fn ordered(
    whole: Token<'_>,
    first: IpAddr,
    last: IpAddr,
    zone: Option<Box<str>>,
) -> Result<AddressItem, Fault> {
    if first > last {
        return Err(whole
            .fault(format!("the range {} is reversed", shown(whole.text)))
            .help(format!("write {last}-{first}")));
    }
    zoned(whole, first, last, zone)
}

/// The kernel ignores the zone of other addresses: two names for one endpoint.
fn zoned(
    whole: Token<'_>,
    first: IpAddr,
    last: IpAddr,
    zone: Option<Box<str>>,
) -> Result<AddressItem, Fault> {
    let local = |ip: IpAddr| match ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.segments()[0] & 0xff0f == 0xff02,
    };
    if zone.is_some() && !(local(first) && local(last)) {
        return Err(whole
            .fault(format!("{} has a zone, but is not link-local", shown(whole.text)))
            .help("only fe80::/10 and ff02::/16 belong to one interface; leave the %NAME away"));
    }
    Ok(AddressItem::Block { first, last, zone })
}
