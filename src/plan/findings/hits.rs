//! The endpoints that a finding is about: their exact count and some examples.
//!
//! Bounded, however many there are. Never keeps a list of endpoints.

use super::block::Block;

/// Blocks that are kept as examples.
const KEPT: usize = 64;

/// Blocks that a message names.
const SHOWN: usize = 4;

/// What a rule found.
#[derive(Debug, Clone, Default)]
pub(super) struct Hits {
    /// Endpoints, saturating.
    pub(super) count: u64,
    /// The first blocks, at most 64; adjacent ones are joined.
    examples: Vec<Block>,
}

impl Hits {
    /// Adds a block; one without endpoints adds nothing.
    pub(super) fn add(&mut self, block: Block) {
        let len = block.len();
        if len == 0 {
            return;
        }
        self.count = self.count.saturating_add(len);
        let joined = self.examples.last_mut().is_some_and(|last| join(last, &block));
        if !joined && self.examples.len() < KEPT {
            self.examples.push(block);
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The first block that was added.
    pub(super) fn first(&self) -> Option<&Block> {
        self.examples.first()
    }

    /// The examples as specs, and how many endpoints they leave out.
    pub(super) fn text(&self) -> String {
        let shown: Vec<String> = self.examples.iter().take(SHOWN).map(Block::to_string).collect();
        let named = self
            .examples
            .iter()
            .take(SHOWN)
            .fold(0, |sum: u64, block| sum.saturating_add(block.len()));
        match self.count.saturating_sub(named) {
            0 => shown.join(" "),
            more => format!("{} … and {more} more", shown.join(" ")),
        }
    }

    /// "1 endpoint" or "7 endpoints", with the verb that fits.
    pub(super) fn subject(&self, one: &str, many: &str) -> String {
        match self.count {
            1 => format!("1 endpoint {one}"),
            count => format!("{count} endpoints {many}"),
        }
    }
}

/// Joins `next` to `last` where both have the same ports on addresses in a row.
fn join(last: &mut Block, next: &Block) -> bool {
    let fits = last.protocol == next.protocol
        && last.first.zone() == next.first.zone()
        && last.first.ip().is_ipv4() == next.first.ip().is_ipv4()
        && last.ports == next.ports
        && last.port_zeros == next.port_zeros
        && last.span().1.checked_add(1) == Some(next.span().0);
    if fits {
        last.last = next.last;
    }
    fits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Address, Protocol};

    fn block(last_octet: u8, port: u16) -> Block {
        let address = Address::new([10, 0, 0, last_octet].into());
        Block {
            protocol: Protocol::Tcp,
            first: address,
            last: address,
            ports: [(port, port)].into(),
            port_zeros: 0,
        }
    }

    #[test]
    fn addresses_in_a_row_are_named_as_one_range() {
        let mut hits = Hits::default();
        (1..=5).for_each(|octet| hits.add(block(octet, 80)));
        hits.add(block(9, 80));
        assert_eq!(hits.text(), "tcp://10.0.0.1-10.0.0.5:80 tcp://10.0.0.9:80");
        assert_eq!(hits.subject("is", "are"), "6 endpoints are");
    }

    #[test]
    fn the_text_stays_short_and_the_count_exact() {
        let mut hits = Hits::default();
        for port in 1..=10_000 {
            hits.add(block(1, port));
        }
        assert_eq!(hits.count, 10_000);
        assert!(hits.text().ends_with("tcp://10.0.0.1:4 … and 9996 more"), "{}", hits.text());
        assert!(hits.examples.len() <= KEPT);
    }
}
