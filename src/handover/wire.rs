//! The words of a hand-over, and how they become bytes: a length, then JSON.
//!
//! Values only. Never reads or writes a socket.

use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::spec::{Address, Endpoint, Port, Protocol, Zone};

/// The version of the conversation that this program speaks.
pub(super) const VERSION: u32 = 1;

/// Longest message. Unit: bytes.
const LONGEST: usize = 1 << 20;

/// Bytes of a message's length, which comes first.
const HEAD: usize = size_of::<u32>();

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub(super) enum Message {
    /// Taker: it wants everything, speaks these versions, and may take so long until it
    /// is ready.
    Take { versions: Vec<u32>, patience_ms: u64 },
    /// Giver: who it is, and the version that both speak.
    Hello { version: u32, instance: String, pid: u32 },
    /// Giver: sockets, which come with these bytes, in the order of the entries.
    Batch { entries: Vec<Entry> },
    /// Giver: numbers of the kernel's choice whose endpoints have no socket now.
    Numbers { entries: Vec<Named> },
    /// Giver: that was all.
    End,
    /// Taker: it could serve these entries, by their number over all batches, ascending.
    Ready { taken: Vec<u32> },
    /// Giver: serve.
    Go,
    /// Taker: it serves.
    Serving,
    /// Giver: what was taken is the taker's alone.
    Given,
    /// Either: it comes to nothing. The giver goes on as before.
    Abort { reason: String },
}

/// A socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Entry {
    /// It serves this endpoint; so many of its losses are counted (modulo 2³²).
    Endpoint {
        #[serde(flatten)]
        named: Named,
        losses: u32,
    },
    /// The control socket, at this path.
    Control { path: String },
    /// The admin address.
    Admin,
}

/// An endpoint with its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Named {
    udp: bool,
    ip: IpAddr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    port: u16,
    /// Where the kernel chose the number: the ordinal of the endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ordinal: Option<u32>,
}

impl Named {
    pub(super) fn new(endpoint: &Endpoint, ordinal: Option<u32>) -> Self {
        Self {
            udp: endpoint.protocol == Protocol::Udp,
            ip: endpoint.address.ip(),
            zone: endpoint.address.zone().map(|zone| zone.name().to_owned()),
            port: endpoint.port.number(),
            ordinal,
        }
    }

    /// The endpoint; its zone is known by name alone, and has no number.
    pub(super) fn endpoint(&self) -> Endpoint {
        let zone = self.zone.as_ref().and_then(|name| Zone::new(name, 0));
        let address = match (self.ip, zone) {
            (IpAddr::V6(ip), Some(zone)) => Address::with_zone(Ipv6Addr::from(ip.octets()), zone),
            (ip, _) => ip.into(),
        };
        let protocol = if self.udp { Protocol::Udp } else { Protocol::Tcp };
        Endpoint { protocol, address, port: Port::Number(self.port) }
    }
}

/// What cannot be a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    #[error("a message of {0} bytes is too long")]
    TooLong(usize),
    #[error("a message is not understood: {0}")]
    Unknown(String),
}

impl Message {
    /// The bytes of a message.
    ///
    /// # Errors
    /// [`WireError::TooLong`].
    pub(super) fn encode(&self) -> Result<Vec<u8>, WireError> {
        let body =
            serde_json::to_vec(self).map_err(|error| WireError::Unknown(error.to_string()))?;
        let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= LONGEST);
        let length = length.ok_or(WireError::TooLong(body.len()))?;
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend(body);
        Ok(bytes)
    }
}

/// Bytes that come in pieces, and the messages that they are.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    bytes: Vec<u8>,
}

impl Decoder {
    /// More bytes have come.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next message, once it is whole. After an error nothing more is understood.
    ///
    /// # Errors
    /// [`WireError`].
    pub(super) fn next(&mut self) -> Result<Option<Message>, WireError> {
        let Some(head) = self.bytes.first_chunk::<HEAD>() else { return Ok(None) };
        let length = u32::from_le_bytes(*head) as usize;
        if length > LONGEST {
            return Err(WireError::TooLong(length));
        }
        let Some(body) = self.bytes.get(HEAD..HEAD + length) else { return Ok(None) };
        let message = serde_json::from_slice(body);
        let message = message.map_err(|error| WireError::Unknown(error.to_string()))?;
        self.bytes.drain(..HEAD + length);
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn named() -> impl Strategy<Value = Named> {
        let zone = proptest::option::of("[a-z][a-z0-9]{0,14}");
        let parts = (any::<bool>(), any::<IpAddr>(), zone, any::<u16>(), any::<Option<u32>>());
        parts.prop_map(|(udp, ip, zone, port, ordinal)| Named { udp, ip, zone, port, ordinal })
    }

    fn entry() -> impl Strategy<Value = Entry> {
        prop_oneof![
            (named(), any::<u32>()).prop_map(|(named, losses)| Entry::Endpoint { named, losses }),
            any::<String>().prop_map(|path| Entry::Control { path }),
            Just(Entry::Admin),
        ]
    }

    fn message() -> impl Strategy<Value = Message> {
        let numbers = || proptest::collection::vec(any::<u32>(), 0..300);
        prop_oneof![
            (numbers(), any::<u64>())
                .prop_map(|(versions, patience_ms)| Message::Take { versions, patience_ms }),
            (any::<u32>(), any::<String>(), any::<u32>())
                .prop_map(|(version, instance, pid)| Message::Hello { version, instance, pid }),
            proptest::collection::vec(entry(), 0..20)
                .prop_map(|entries| Message::Batch { entries }),
            proptest::collection::vec(named(), 0..20)
                .prop_map(|entries| Message::Numbers { entries }),
            numbers().prop_map(|taken| Message::Ready { taken }),
            any::<String>().prop_map(|reason| Message::Abort { reason }),
            Just(Message::End),
            Just(Message::Go),
            Just(Message::Serving),
            Just(Message::Given),
        ]
    }

    proptest! {
        #[test]
        fn what_is_said_is_heard_however_the_bytes_are_cut(
            said in proptest::collection::vec(message(), 1..6),
            cut in 1_usize..400,
        ) {
            let bytes: Vec<u8> =
                said.iter().flat_map(|it| it.encode().expect("short enough")).collect();
            let mut decoder = Decoder::default();
            let mut heard = Vec::new();
            for piece in bytes.chunks(cut) {
                decoder.push(piece);
                while let Some(message) = decoder.next().expect("our own words") {
                    heard.push(message);
                }
            }
            prop_assert_eq!(heard, said);
        }

        #[test]
        fn any_bytes_are_a_message_an_error_or_not_enough(bytes: Vec<u8>, length in 0_u32..64) {
            let mut decoder = Decoder::default();
            decoder.push(&length.to_le_bytes());
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next() {}
        }

        #[test]
        fn an_endpoint_is_the_same_on_the_other_side(named in named()) {
            let again = Named::new(&named.endpoint(), named.ordinal);
            let zoned = named.ip.is_ipv6();
            prop_assert_eq!(again, Named { zone: named.zone.clone().filter(|_| zoned), ..named });
        }
    }

    #[test]
    fn a_message_of_any_length_is_not_kept_in_memory() {
        let mut decoder = Decoder::default();
        decoder.push(&u32::MAX.to_le_bytes());
        assert_eq!(decoder.next(), Err(WireError::TooLong(u32::MAX as usize)));
        let reason = "x".repeat(LONGEST);
        assert!(matches!(Message::Abort { reason }.encode(), Err(WireError::TooLong(_))));
        // All the endpoints that one process can hold fit into one answer.
        let taken = (0..100_000).collect();
        assert!(Message::Ready { taken }.encode().is_ok());
    }
}
