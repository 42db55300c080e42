//! A block of source addresses: `10.0.0.0/8`, `2001:db8::/32`, `192.0.2.7`.
//!
//! Whom `allow_from` and `deny_from` name. Never an endpoint: no port, no zone,
//! no brackets.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

/// Bits of an IPv6 address before the IPv4 address that it maps (RFC 4291, 2.5.5.2).
const MAPPED_BITS: u8 = 96;

/// A block of addresses of one family, without host bits.
///
/// A block of IPv4-mapped IPv6 addresses is the IPv4 block that it maps, since
/// sources are seen that way too. The order is by family, address and length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr(IpNet);

/// Why a text is no block of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CidrError {
    /// What stands before the slash is no address.
    #[error("no IPv4 or IPv6 address")]
    Address,
    /// The length is no whole number from 0 to the bits of an address.
    #[error("a length must be 0 to {max}")]
    Length {
        /// 32 or 128.
        max: u8,
    },
    /// The address has bits beyond the length.
    #[error("the address has bits beyond its length")]
    HostBits {
        /// The block that was probably meant.
        meant: Cidr,
    },
}

impl Cidr {
    /// Its first address.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        self.0.network()
    }

    /// Its last address.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        self.0.broadcast()
    }

    /// Length of its prefix: 0 to 32 bits, or 0 to 128.
    #[must_use]
    pub fn prefix_len(&self) -> u8 {
        self.0.prefix_len()
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    /// Reads `ADDRESS/LENGTH`, or an address alone, which is a block of one.
    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| CidrError::Address)?;
        let max = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => max,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits
                .parse()
                .ok()
                .filter(|length| *length <= max)
                .ok_or(CidrError::Length { max })?,
            Some(_) => return Err(CidrError::Length { max }),
        };
        let net = IpNet::new(address, length).map_err(|_| CidrError::Length { max })?;
        if net.network() != address {
            return Err(CidrError::HostBits { meant: Self(net.trunc()) });
        }
        Ok(Self(unmapped(net)))
    }
}

/// The IPv4 block that `net` maps, if it maps one; else `net`.
fn unmapped(net: IpNet) -> IpNet {
    match (net.network().to_canonical(), net.prefix_len().checked_sub(MAPPED_BITS)) {
        (IpAddr::V4(ip), Some(length)) if matches!(net, IpNet::V6(_)) => {
            Ipv4Net::new(ip, length).map_or(net, IpNet::V4)
        }
        _ => net,
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, CidrError> {
        text.parse().map(|cidr: Cidr| cidr.to_string())
    }

    #[test]
    fn a_block_reads_as_it_is_written_and_an_address_is_a_block_of_one() {
        for (text, expected) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::1", "::1/128"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(shown(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn mapped_ipv4_is_ipv4() {
        assert_eq!(shown("::ffff:10.0.0.0/104").as_deref(), Ok("10.0.0.0/8"));
        assert_eq!(shown("::ffff:192.0.2.7").as_deref(), Ok("192.0.2.7/32"));
        assert_eq!(shown("::ffff:0:0/96").as_deref(), Ok("0.0.0.0/0"));
        assert_eq!(shown("::/80").as_deref(), Ok("::/80"));
    }

    #[test]
    fn what_is_no_block_is_refused_with_its_reason() {
        for text in ["", "/8", "10.0.0.256/8", "10.0.0/24", "host/8", "[::1]", "fe80::1%eth0"] {
            assert_eq!(shown(text), Err(CidrError::Address), "{text:?}");
        }
        for text in ["10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/8/8", "10.0.0.0/999"] {
            assert_eq!(shown(text), Err(CidrError::Length { max: 32 }), "{text}");
        }
        assert_eq!(shown("::/129"), Err(CidrError::Length { max: 128 }));
        let Err(CidrError::HostBits { meant }) = shown("10.0.0.1/8") else { panic!("host bits") };
        assert_eq!(meant.to_string(), "10.0.0.0/8");
    }

    #[test]
    fn a_block_spans_from_its_first_to_its_last_address() {
        let cidr: Cidr = "10.1.0.0/16".parse().expect("a block");
        let span = (cidr.first().to_string(), cidr.last().to_string(), cidr.prefix_len());
        assert_eq!(span, ("10.1.0.0".to_owned(), "10.1.255.255".to_owned(), 16));
    }
}
