//! One item of a port list, as written.
//!
//! Holds the forms and their faults. Never knows which ports are in use.

use super::error::{Fault, shown};
use super::token::Token;

/// What a port item names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PortItem {
    /// First to last, both included; 1 to 65535.
    Range(u16, u16),
    /// Every port that the protocol uses when the plan is made.
    InUse,
    /// The ports that the kernel gives to outgoing connections.
    Ephemeral,
    /// That many ports of the kernel's choice (`0`, `0xN`); at least 1.
    Chosen(u16),
}

const FORMS: &str =
    "a port is 1 to 65535; also a-b, a-, -b, *, in-use, ephemeral, 0 (the kernel chooses), 0xN";

impl PortItem {
    pub(crate) fn parse(token: Token<'_>, excluded: bool) -> Result<Self, Fault> {
        let item = Self::parse_any(token)?;
        if excluded && matches!(item, Self::Chosen(_)) {
            return Err(token
                .fault(format!(
                    "{} cannot be excluded: the kernel chooses that port",
                    shown(token.text)
                ))
                .help("leave the item away, or exclude the address"));
        }
        Ok(item)
    }

    fn parse_any(token: Token<'_>) -> Result<Self, Fault> {
        match token.text {
            "*" => return Ok(Self::Range(1, u16::MAX)),
            "in-use" => return Ok(Self::InUse),
            "ephemeral" => return Ok(Self::Ephemeral),
            _ => {}
        }
        if let Some(count) = token.strip("0x") {
            return chosen(token, count);
        }
        match token.cut_at("-") {
            Some((first, last)) => range(token, first.trim(), last.trim()),
            None => match number(token)? {
                0 => Ok(Self::Chosen(1)),
                port => Ok(Self::Range(port, port)),
            },
        }
    }
}

fn chosen(token: Token<'_>, count: Token<'_>) -> Result<PortItem, Fault> {
    let legal = is_digits(count.text).then(|| count.text.parse().ok()).flatten();
    match legal {
        Some(count) if count > 0 => Ok(PortItem::Chosen(count)),
        _ => Err(token
            .fault(format!("{} is no count of ports: 0xN asks for N of them", shown(token.text)))
            .help("N is decimal, 1 to 65535, as in 0x100 for a hundred ports")),
    }
}

fn range(whole: Token<'_>, first: Token<'_>, last: Token<'_>) -> Result<PortItem, Fault> {
    if first.text.is_empty() && last.text.is_empty() {
        return Err(whole.fault("`-` is no range of ports").help("all ports are written *"));
    }
    if whole.text == "-1" {
        // As an open range it would be port 1, but who writes it means a number.
        return Err(whole
            .fault("-1 is out of range: a port is 1 to 65535")
            .help("port 1 is written 1; an open range -b begins at -2"));
    }
    let low = if first.text.is_empty() { 1 } else { number(first)? };
    let high = if last.text.is_empty() { u16::MAX } else { number(last)? };
    for (end, token) in [(low, first), (high, last)] {
        if end == 0 {
            return Err(token
                .fault("0 cannot be an end of a range: it asks the kernel to choose a port")
                .help("ranges begin at 1"));
        }
    }
    if low > high {
        return Err(whole
            .fault(format!("the range {} is reversed", shown(whole.text)))
            .help(format!("write {high}-{low}")));
    }
    Ok(PortItem::Range(low, high))
}

/// A decimal number from 0 to 65535.
fn number(token: Token<'_>) -> Result<u16, Fault> {
    if !is_digits(token.text) {
        return Err(token.fault(format!("{} is no port", shown(token.text))).help(FORMS));
    }
    token.text.parse().map_err(|_| {
        token.fault(format!("port {} is out of range: 1 to 65535", shown(token.text))).help(FORMS)
    })
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<PortItem, Fault> {
        PortItem::parse(Token::new(text), false)
    }

    #[test]
    fn every_form_of_the_contract_is_read() {
        for (text, item) in [
            ("80", PortItem::Range(80, 80)),
            ("80-90", PortItem::Range(80, 90)),
            ("80-80", PortItem::Range(80, 80)),
            ("60000-", PortItem::Range(60000, 65535)),
            ("-1023", PortItem::Range(1, 1023)),
            ("*", PortItem::Range(1, 65535)),
            ("in-use", PortItem::InUse),
            ("ephemeral", PortItem::Ephemeral),
            ("0", PortItem::Chosen(1)),
            ("0x100", PortItem::Chosen(100)),
        ] {
            assert_eq!(parse(text), Ok(item), "{text}");
        }
    }

    #[test]
    fn the_fault_spans_the_faulty_number_only() {
        for (text, span) in [
            ("80x", 0..3),
            ("65536", 0..5),
            ("99999999999999999999999", 0..23),
            ("-1", 0..2),
            ("90-80", 0..5),
            ("80-90x", 3..6),
            ("80-65536", 3..8),
            ("65536-80", 0..5),
            ("0-80", 0..1),
            ("-0", 1..2),
            ("-", 0..1),
            ("1-2-3", 2..5),
            ("0x", 0..2),
            ("0x0", 0..3),
            ("0xff", 0..4),
            ("0x65536", 0..7),
            ("+80", 0..3),
            ("٣", 0..2),
        ] {
            assert_eq!(parse(text).map_err(|fault| fault.span), Err(span), "{text}");
        }
    }

    #[test]
    fn a_port_that_the_kernel_chooses_cannot_be_excluded() {
        assert!(PortItem::parse(Token::new("0"), true).is_err());
        assert!(PortItem::parse(Token::new("0x3"), true).is_err());
        assert_eq!(PortItem::parse(Token::new("22"), true), Ok(PortItem::Range(22, 22)));
    }
}
