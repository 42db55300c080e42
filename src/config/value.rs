//! One value against what its key takes.
//!
//! Turns a TOML value into one the layers can carry, or says what is wrong with
//! it. Knows nothing of files, groups or layers.

use std::net::SocketAddr;
use std::ops::Range;

use ::config::ValueKind;
use toml::Spanned;
use toml::de::{DeInteger, DeValue};

use super::fault::{quoted, short};
use super::schema::{Key, Kind};
use crate::spec::{Cidr, CidrError};

/// Longest path of a Unix socket. Unit: bytes (`sun_path` of unix(7), less its end).
const MAX_SOCKET_PATH: usize = 107;

/// A value that its key does not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// The faulty part, in bytes of the text that was parsed.
    pub(crate) span: Range<usize>,
    /// What was found and what is allowed.
    pub(crate) message: String,
    /// How to fix it, where more can be said than the key's meaning.
    pub(crate) help: Option<String>,
}

/// The value of `key`, in the one form in which layers carry it.
///
/// `name` is what the person calls the key.
///
/// # Errors
/// Every part of it that is wrong.
pub(crate) fn check(
    key: &Key,
    name: &str,
    value: &Spanned<DeValue<'_>>,
) -> Result<ValueKind, Vec<Wrong>> {
    let wrong = || vec![mismatch(key, name, value)];
    match (key.kind, value.get_ref()) {
        (Kind::Flag, DeValue::Boolean(flag)) => Ok(ValueKind::Boolean(*flag)),
        (Kind::Text { max_bytes }, DeValue::String(text)) if text.len() <= max_bytes => {
            Ok(ValueKind::String(text.to_string()))
        }
        (Kind::Choice { words }, DeValue::String(word)) if words.contains(&word.as_ref()) => {
            Ok(ValueKind::String(word.to_string()))
        }
        (
            Kind::Whole { min, max, .. } | Kind::AutoOrWhole { min, max, .. },
            DeValue::Integer(n),
        ) => match whole(n) {
            Some(number) if (min..=max).contains(&number) => Ok(ValueKind::U64(number)),
            _ => Err(wrong()),
        },
        (Kind::AutoOrWhole { .. }, DeValue::String(word)) if word == "auto" => {
            Ok(ValueKind::String("auto".to_owned()))
        }
        (Kind::Number { min, max }, DeValue::Integer(_) | DeValue::Float(_)) => {
            match number(value.get_ref()) {
                Some(number) if (min..=max).contains(&number) => Ok(ValueKind::Float(number)),
                _ => Err(wrong()),
            }
        }
        (Kind::MinBound, DeValue::Integer(count)) => {
            whole(count).map(ValueKind::U64).ok_or_else(wrong)
        }
        (Kind::MinBound, DeValue::String(text)) if percent(text).is_some() => {
            Ok(ValueKind::String(text.to_string()))
        }
        (Kind::SocketPath, DeValue::String(path)) if is_socket_path(path) => {
            Ok(ValueKind::String(path.to_string()))
        }
        (Kind::FilePath, DeValue::String(path)) if is_file_path(path) => {
            Ok(ValueKind::String(path.to_string()))
        }
        (Kind::FileMode, DeValue::String(mode)) if file_mode(mode).is_some() => {
            Ok(ValueKind::String(mode.to_string()))
        }
        (Kind::AddressOrNone, DeValue::String(address))
            if address == "none" || address.parse::<SocketAddr>().is_ok() =>
        {
            Ok(ValueKind::String(address.to_string()))
        }
        (Kind::PortRanges, _) => list(key, name, value, port_item),
        (Kind::Cidrs, _) => list(key, name, value, cidr_item),
        _ => Err(wrong()),
    }
}

/// `"99%"` as 99.0; `None` unless it is a number from 0 to 100 with its sign.
pub(crate) fn percent(text: &str) -> Option<f64> {
    let digits = text.strip_suffix('%')?;
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = digits.parse().ok().filter(|_| is_plain)?;
    (0.0..=100.0).contains(&number).then_some(number)
}

/// Whether the kernel takes it as the path of a socket (unix(7)).
fn is_socket_path(text: &str) -> bool {
    (1..=MAX_SOCKET_PATH).contains(&text.len()) && !text.contains('\0')
}

/// `PATH_MAX` counts the NUL that ends it.
fn is_file_path(text: &str) -> bool {
    (1..=4_095).contains(&text.len()) && !text.contains('\0')
}

/// `"0660"` as permissions; `None` unless the owner has its own and others have none.
pub(crate) fn file_mode(text: &str) -> Option<u32> {
    let is_octal = (3..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let mode = u32::from_str_radix(text, 8).ok().filter(|_| is_octal)?;
    (mode & 0o600 == 0o600 && mode & 0o7007 == 0).then_some(mode)
}

/// `"0-1023"` or `"2049"` as an inclusive range; reversed ranges are none.
pub(crate) fn port_range(text: &str) -> Option<(u16, u16)> {
    let port = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse::<u16>().ok(),
        false => None,
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    (first <= last).then_some((first, last))
}

/// A part of a list in its one form; else how to mend it, where that is known.
type ReadItem = fn(&str) -> Result<String, Option<String>>;

fn port_item(text: &str) -> Result<String, Option<String>> {
    match port_range(text) {
        Some((first, last)) if first == last => Ok(first.to_string()),
        Some((first, last)) => Ok(format!("{first}-{last}")),
        None => Err(None),
    }
}

fn cidr_item(text: &str) -> Result<String, Option<String>> {
    match text.parse() {
        Ok(block) => Ok(Cidr::to_string(&block)),
        Err(CidrError::HostBits { meant }) => {
            Err(Some(format!("the address has bits beyond its length; did you mean {meant}?")))
        }
        Err(CidrError::Length { max }) => Err(Some(format!("a length is 0 to {max}"))),
        Err(_) => Err(Some("write an address, or ADDRESS/LENGTH, without brackets".to_owned())),
    }
}

/// A list of strings (or of numbers, or one of them alone); a string may hold
/// several parts between commas.
fn list(
    key: &Key,
    name: &str,
    value: &Spanned<DeValue<'_>>,
    read: ReadItem,
) -> Result<ValueKind, Vec<Wrong>> {
    let mut parts_read: Vec<::config::Value> = Vec::new();
    let mut faults = Vec::new();
    let single = std::slice::from_ref(value);
    let items = match value.get_ref() {
        DeValue::Array(items) => items.iter().as_slice(),
        _ => single,
    };
    for item in items {
        let text = match item.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(port) => whole(port).map(|port| port.to_string()).unwrap_or_default(),
            _ => String::new(),
        };
        let parts =
            text.split(',').map(str::trim).filter(|part| !part.is_empty() || text.is_empty());
        for part in parts {
            match read(part) {
                Ok(part) => parts_read.push(part.into()),
                Err(help) => {
                    let wrong = mismatch(key, name, item);
                    faults.push(Wrong { help: help.or(wrong.help), ..wrong });
                }
            }
        }
    }
    if faults.is_empty() { Ok(ValueKind::Array(parts_read)) } else { Err(faults) }
}

/// What the key takes, as the end of "must be …".
fn allowed(kind: Kind) -> String {
    let list = |words: &[&str]| words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>();
    match kind {
        Kind::Flag => "true or false".to_owned(),
        Kind::Text { max_bytes } => format!("a string of at most {max_bytes} bytes"),
        Kind::Choice { words } => format!("one of {}", list(words).join(", ")),
        Kind::Whole { min, max, unit } => format!("a whole number of {unit} from {min} to {max}"),
        Kind::AutoOrWhole { min, max, unit } => {
            format!("\"auto\" or a whole number of {unit} from {min} to {max}")
        }
        Kind::Number { min, max } => format!("a number from {min} to {max}"),
        Kind::MinBound => "a count of endpoints or a percentage from \"0%\" to \"100%\"".to_owned(),
        Kind::PortRanges => {
            "a list of ports and ranges from 0 to 65535, such as [\"0-1023\", 2049]".to_owned()
        }
        Kind::Cidrs => "a list of CIDRs such as [\"10.0.0.0/8\", \"2001:db8::/32\"]".to_owned(),
        Kind::SocketPath => {
            format!("\"auto\", \"none\" or a path of at most {MAX_SOCKET_PATH} bytes")
        }
        Kind::FileMode => "an octal mode with 6 or 7 for the owner and 0 for others, such as \
                           \"0600\" or \"0660\""
            .to_owned(),
        Kind::AddressOrNone => "\"none\" or ADDRESS:PORT, such as \"127.0.0.1:9180\"".to_owned(),
        Kind::FilePath => "\"none\", \"-\" or a path of at most 4095 bytes".to_owned(),
        Kind::Group => "set elsewhere".to_owned(),
    }
}

fn mismatch(key: &Key, name: &str, value: &Spanned<DeValue<'_>>) -> Wrong {
    let message =
        format!("`{name}` must be {}, found {}", allowed(key.kind), found(value.get_ref()));
    Wrong { span: value.span(), message, help: advice(key, value.get_ref()) }
}

/// More than the key's meaning, where the value suggests what was intended.
fn advice(key: &Key, value: &DeValue<'_>) -> Option<String> {
    match (key.kind, value) {
        (Kind::Choice { words }, DeValue::String(word)) => {
            super::nearest::nearest(word, words.iter().copied())
                .map(|near| format!("did you mean \"{near}\"?"))
        }
        (Kind::FileMode, DeValue::Integer(_)) => {
            Some("write it in quotes, as in \"0600\"".to_owned())
        }
        (Kind::AddressOrNone, DeValue::String(text)) if text.starts_with("localhost:") => {
            Some("names are not looked up; write 127.0.0.1 or [::1]".to_owned())
        }
        (Kind::MinBound, DeValue::Float(_)) => Some("write a percentage as \"99.5%\"".to_owned()),
        (Kind::Whole { .. } | Kind::AutoOrWhole { .. }, DeValue::String(text))
            if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            Some("write the number without quotes".to_owned())
        }
        (Kind::Whole { .. }, DeValue::String(text)) if text == "auto" => {
            Some("nothing is derived here; give a number".to_owned())
        }
        _ => None,
    }
}

/// The value as the end of "…, found".
pub(crate) fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.len() > 200 => format!("a string of {} bytes", text.len()),
        DeValue::String(text) => quoted(text),
        DeValue::Integer(number) => short(&number.to_string()),
        DeValue::Float(number) => short(&number.to_string()),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(_) => "a date or time".to_owned(),
        DeValue::Array(_) => "an array".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// An integer that is not negative and fits.
pub(crate) fn whole(number: &DeInteger<'_>) -> Option<u64> {
    let digits = number.as_str();
    u64::from_str_radix(digits.strip_prefix('+').unwrap_or(digits), number.radix()).ok()
}

fn number(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse().ok(),
        DeValue::Float(number) => number.as_str().parse().ok(),
        _ => None,
    }
}
