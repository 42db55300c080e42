//! `[udp]`, as far as it can change while datagrams are answered.
//!
//! One for the service: every listener looks here at each datagram, and waits for
//! nobody. What was counted of a source is kept through each change.

use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Instant;

use super::refused_ports::RefusedPorts;
use crate::config::Udp;
use crate::supervision::SourceLimits;

/// See the module.
#[derive(Debug)]
pub(crate) struct DatagramLimits {
    longest: AtomicU16,
    /// Source ports that are never answered.
    pub(crate) refused: Arc<RefusedPorts>,
    /// How much each source, and all together, may send.
    pub(crate) sources: SourceLimits,
}

impl DatagramLimits {
    /// Limits that begin now.
    pub(crate) fn new(udp: &Udp, now: Instant) -> Self {
        Self {
            longest: udp.max_datagram_bytes.into(),
            refused: Arc::new(RefusedPorts::new(&udp.refuse_source_ports)),
            sources: SourceLimits::new(udp, RandomState::new(), now),
        }
    }

    /// Other limits from the next datagram on.
    pub(crate) fn follow(&self, udp: &Udp) {
        self.longest.store(udp.max_datagram_bytes, Ordering::Relaxed);
        self.refused.set(&udp.refuse_source_ports);
        self.sources.follow(udp);
    }

    /// Longest datagram that is answered, 0 to 65,507 bytes.
    pub(crate) fn longest(&self) -> usize {
        self.longest.load(Ordering::Relaxed).into()
    }
}
