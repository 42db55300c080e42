//! Who may have an answer: a group's `allow_from` and `deny_from`.
//!
//! Pure and without state: an address in, a verdict out. The lists are flattened
//! into ranges once, so that a look-up is one binary search and allocates
//! nothing. Never counts, never logs; ports and own endpoints are `source_guard`'s.

use std::net::IpAddr;

use crate::spec::Cidr;

/// What the lists say of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It gets neither a session nor an answer.
    Denied,
    /// It is not denied, and nobody named it.
    Admitted,
    /// `allow_from` names it: it is exempt from `udp.refuse_source_ports`.
    Trusted,
}

/// The rules of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceRules {
    /// What holds where no range says something else.
    other: Standing,
    v4: Ranges,
    v6: Ranges,
}

/// First addresses of ranges with what holds from there on, ascending. Empty where
/// nothing is said about the family.
type Ranges = Box<[(u128, Standing)]>;

impl SourceRules {
    /// Of all blocks that hold a source, the longest decides; of two equal ones
    /// `deny`'s. Where none holds it, it is denied if `allow` names anybody.
    pub(crate) fn new(allow: &[Cidr], deny: &[Cidr]) -> Self {
        let other = if allow.is_empty() { Standing::Admitted } else { Standing::Denied };
        let named = |list: &[Cidr], standing| -> Vec<_> {
            list.iter().map(|block| (*block, standing)).collect()
        };
        let blocks = [named(allow, Standing::Trusted), named(deny, Standing::Denied)].concat();
        let of_family = |v4: bool| {
            let ours = blocks.iter().filter(|(block, _)| block.first().is_ipv4() == v4);
            flatten(ours.copied().collect(), other)
        };
        Self { other, v4: of_family(true), v6: of_family(false) }
    }

    /// What the lists say of `source`; IPv4 that IPv6 maps is IPv4.
    pub(crate) fn standing(&self, source: IpAddr) -> Standing {
        let source = source.to_canonical();
        let ranges = if source.is_ipv4() { &self.v4 } else { &self.v6 };
        if ranges.is_empty() {
            return self.other;
        }
        let number = number(source);
        let after = ranges.partition_point(|(first, _)| *first <= number);
        after.checked_sub(1).map_or(self.other, |at| ranges[at].1)
    }
}

/// Turns nested blocks of one family into ranges that follow each other.
fn flatten(mut blocks: Vec<(Cidr, Standing)>, other: Standing) -> Ranges {
    // Blocks nest or are apart. Outer ones come first, and of two equal ones the
    // denial is the inner one: it wins.
    let rank = |standing| u8::from(standing == Standing::Denied);
    blocks.sort_unstable_by_key(|(block, standing)| {
        (number(block.first()), block.prefix_len(), rank(*standing))
    });
    let mut ranges: Vec<(u128, Standing)> = Vec::with_capacity(blocks.len() * 2);
    // Last address and standing of the blocks around the present one, outer first.
    let mut around: Vec<(u128, Standing)> = Vec::new();
    for (block, standing) in blocks {
        let (first, last) = (number(block.first()), number(block.last()));
        while let Some((ended, _)) = around.pop_if(|(end, _)| *end < first) {
            close(&mut ranges, &around, ended, other);
        }
        begin(&mut ranges, first, standing);
        around.push((last, standing));
    }
    while let Some((ended, _)) = around.pop() {
        close(&mut ranges, &around, ended, other);
    }
    ranges.into_boxed_slice()
}

/// After the address `ended`, what lies around holds again.
fn close(
    ranges: &mut Vec<(u128, Standing)>,
    around: &[(u128, Standing)],
    ended: u128,
    other: Standing,
) {
    let standing = around.last().map_or(other, |(_, standing)| *standing);
    if let Some(next) = ended.checked_add(1) {
        begin(ranges, next, standing);
    }
}

fn begin(ranges: &mut Vec<(u128, Standing)>, first: u128, standing: Standing) {
    match ranges.last_mut() {
        Some(last) if last.0 == first => last.1 = standing,
        _ => ranges.push((first, standing)),
    }
}

/// An address as a number.
fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn blocks(texts: &[&str]) -> Vec<Cidr> {
        texts.iter().map(|text| text.parse().expect("a block")).collect()
    }

    fn standing(allow: &[&str], deny: &[&str], source: &str) -> Standing {
        let rules = SourceRules::new(&blocks(allow), &blocks(deny));
        rules.standing(source.parse().expect("an address"))
    }

    #[test]
    fn without_lists_everybody_is_admitted() {
        for source in ["0.0.0.0", "255.255.255.255", "::", "2001:db8::1", "::ffff:192.0.2.1"] {
            assert_eq!(standing(&[], &[], source), Standing::Admitted, "{source}");
        }
    }

    #[test]
    fn whom_a_list_of_allowed_ones_does_not_name_is_denied() {
        let allow = ["10.0.0.0/8"];
        assert_eq!(standing(&allow, &[], "10.255.255.255"), Standing::Trusted);
        assert_eq!(standing(&allow, &[], "11.0.0.0"), Standing::Denied);
        assert_eq!(standing(&allow, &[], "::1"), Standing::Denied, "the other family too");
    }

    #[test]
    fn the_longest_block_decides() {
        let (allow, deny) = (["10.0.0.0/8", "10.1.2.0/24"], ["10.1.0.0/16", "10.1.2.3"]);
        for (source, expected) in [
            ("10.0.255.255", Standing::Trusted),
            ("10.1.0.0", Standing::Denied),
            ("10.1.2.2", Standing::Trusted),
            ("10.1.2.3", Standing::Denied),
            ("10.1.2.4", Standing::Trusted),
            ("10.1.3.0", Standing::Denied),
            ("10.2.0.0", Standing::Trusted),
            ("9.255.255.255", Standing::Denied),
        ] {
            assert_eq!(standing(&allow, &deny, source), expected, "{source}");
        }
    }

    #[test]
    fn of_two_equal_blocks_the_denial_wins() {
        assert_eq!(standing(&["10.0.0.0/8"], &["10.0.0.0/8"], "10.0.0.1"), Standing::Denied);
        assert_eq!(standing(&["::/0"], &["::/0"], "::1"), Standing::Denied);
    }

    #[test]
    fn whom_nobody_denies_is_admitted() {
        let deny = ["2001:db8::/32"];
        assert_eq!(standing(&[], &deny, "2001:db8:ffff::1"), Standing::Denied);
        assert_eq!(standing(&[], &deny, "2001:db9::"), Standing::Admitted);
        assert_eq!(standing(&[], &deny, "10.0.0.1"), Standing::Admitted);
    }

    #[test]
    fn mapped_ipv4_is_seen_as_ipv4() {
        assert_eq!(standing(&["10.0.0.0/8"], &[], "::ffff:10.0.0.1"), Standing::Trusted);
        assert_eq!(standing(&[], &["::ffff:10.0.0.0/104"], "10.0.0.1"), Standing::Denied);
        assert_eq!(standing(&[], &["::/0"], "::ffff:10.0.0.1"), Standing::Admitted);
    }

    #[test]
    fn the_last_address_of_a_family_ends_the_last_range() {
        assert_eq!(standing(&["255.255.255.255"], &[], "255.255.255.255"), Standing::Trusted);
        assert_eq!(standing(&["0.0.0.0/0"], &[], "255.255.255.255"), Standing::Trusted);
        let all_ones = Ipv6Addr::from(u128::MAX).to_string();
        assert_eq!(standing(&["::/0"], &[], &all_ones), Standing::Trusted);
        assert_eq!(standing(&[&all_ones], &[], &all_ones), Standing::Trusted);
        assert_eq!(standing(&[&all_ones], &[], "::"), Standing::Denied);
    }

    /// Looks at every block: what the rules mean, without their cleverness.
    fn oracle(allow: &[Cidr], deny: &[Cidr], source: IpAddr) -> Standing {
        let source = source.to_canonical();
        let longest = |list: &[Cidr]| {
            let holds = |block: &&Cidr| {
                block.first().is_ipv4() == source.is_ipv4()
                    && (block.first()..=block.last()).contains(&source)
            };
            list.iter().filter(holds).map(Cidr::prefix_len).max()
        };
        match (longest(allow), longest(deny)) {
            (None, None) if allow.is_empty() => Standing::Admitted,
            (None, None) => Standing::Denied,
            (allowed, denied) if allowed > denied => Standing::Trusted,
            _ => Standing::Denied,
        }
    }

    /// Addresses that crowd together, so that blocks nest, touch and repeat.
    fn address() -> impl Strategy<Value = IpAddr> {
        let bits = prop_oneof![0..16_u32, 0xffff_fff0..=u32::MAX, 0x0a00_0000..0x0a00_0010_u32];
        (bits, 0..3_u8, any::<u32>()).prop_map(|(bits, family, wild)| match family {
            0 => Ipv4Addr::from(bits).into(),
            1 => Ipv4Addr::from(bits).to_ipv6_mapped().into(),
            _ => Ipv6Addr::from((u128::from(bits) << 96) | u128::from(wild % 4)).into(),
        })
    }

    fn block() -> impl Strategy<Value = Cidr> {
        (address(), 0..=128_u8).prop_map(|(ip, length)| {
            let ip = ip.to_canonical();
            let bits = if ip.is_ipv4() { 32 } else { 128 };
            let length = bits - length.min(bits);
            let net = ipnet::IpNet::new(ip, length).expect("in bounds").trunc();
            net.to_string().parse().expect("a block without host bits")
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]
        #[test]
        fn the_ranges_say_what_looking_at_every_block_says(
            allow in vec(block(), 0..12),
            deny in vec(block(), 0..12),
            sources in vec(address(), 1..40),
        ) {
            let rules = SourceRules::new(&allow, &deny);
            let ends = allow.iter().chain(&deny).flat_map(|block| [block.first(), block.last()]);
            for source in ends.chain(sources) {
                prop_assert_eq!(rules.standing(source), oracle(&allow, &deny, source), "{}", source);
            }
        }
    }
}
