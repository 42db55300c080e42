//! Why a datagram got no answer, and which key decides about it.

use std::fmt;

/// Why a datagram got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// Its source is denied by `allow_from` or `deny_from`.
    Source,
    /// Its source port is in `udp.refuse_source_ports`, or 0.
    SourcePort,
    /// Its source is an endpoint of this service.
    OwnEndpoint,
    /// Its source or the dialled address is a multicast group.
    Multicast,
    /// Its source or the dialled address is a broadcast address.
    Broadcast,
    /// Its source is in `0.0.0.0/8` or is `[::]`.
    ZeroNet,
    /// Its source is a loopback address, and the dialled one is not.
    LoopbackSource,
    /// Its source sent more than `udp.rate_per_source`.
    SourceRate,
    /// All sources sent more than `udp.rate_total`.
    TotalRate,
    /// Its source is muted: the same datagram came from there more often than
    /// `udp.loop_breaker_per_sec`, as between two machines that answer each other.
    Loop,
    /// It is longer than `udp.max_datagram_bytes`.
    Oversize,
    /// The kernel had no room for the answer.
    SendBuffer,
    /// The kernel refused to send the answer: no route, or a filter.
    Unreachable,
    /// The kernel dropped it before it was read, mostly because the receive
    /// buffer was full.
    ReceiveBuffer,
    /// An embedder's own answer would have been more than came in, and that was not
    /// said to be intended.
    Amplified,
    /// An embedder's own handler panicked.
    Handler,
}

impl DropReason {
    /// Every reason, in the order of [`Self::index`].
    pub const ALL: [Self; 16] = [
        Self::Source,
        Self::SourcePort,
        Self::OwnEndpoint,
        Self::Multicast,
        Self::Broadcast,
        Self::ZeroNet,
        Self::LoopbackSource,
        Self::SourceRate,
        Self::TotalRate,
        Self::Loop,
        Self::Oversize,
        Self::SendBuffer,
        Self::Unreachable,
        Self::ReceiveBuffer,
        Self::Amplified,
        Self::Handler,
    ];

    /// Its place in an array with one slot for each reason.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The word of the summary and of the `reason` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::SourcePort => "source_port",
            Self::OwnEndpoint => "own_endpoint",
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
            Self::ZeroNet => "zero_net",
            Self::LoopbackSource => "loopback_source",
            Self::SourceRate => "source_rate",
            Self::TotalRate => "total_rate",
            Self::Loop => "loop",
            Self::Oversize => "oversize",
            Self::SendBuffer => "send_buffer",
            Self::Unreachable => "unreachable",
            Self::ReceiveBuffer => "rcvbuf",
            Self::Amplified => "amplified",
            Self::Handler => "handler",
        }
    }

    /// The configuration key that decides about it, if one does.
    #[must_use]
    pub const fn key(self) -> Option<&'static str> {
        match self {
            Self::Source => Some("listen_defaults.allow_from, deny_from"),
            Self::SourcePort => Some("udp.refuse_source_ports"),
            Self::SourceRate => Some("udp.rate_per_source"),
            Self::TotalRate => Some("udp.rate_total"),
            Self::Loop => Some("udp.loop_breaker_per_sec"),
            Self::Oversize => Some("udp.max_datagram_bytes"),
            Self::ReceiveBuffer => Some("udp.receive_buffer_bytes"),
            Self::OwnEndpoint
            | Self::Multicast
            | Self::Broadcast
            | Self::ZeroNet
            | Self::LoopbackSource
            | Self::SendBuffer
            | Self::Unreachable
            | Self::Amplified
            | Self::Handler => None,
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_counts_in_its_own_place() {
        for (place, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), place);
        }
    }
}
