//! Looks for a few bytes in blocks with the widest instructions that the processor has.
//!
//! Here because calling what was compiled for instructions that a processor may lack is
//! `unsafe`. Asks nothing of the kernel.

/// Bytes that are looked at without a decision.
pub(crate) const BLOCK: usize = 512;

/// Bytes that betray something, wherever they lie at a multiple of their number in a block:
/// as `from_ne_bytes` reads them, in the bits of `mask`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Traces {
    /// Two bytes, at an even place.
    Pairs { mask: u16, pair: u16 },
    /// Four bytes, at a place that four divides.
    Quads { mask: u32, quad: u32 },
}

/// How many blocks, from the last one backwards, have no such bytes.
#[allow(unsafe_code)]
pub(crate) fn lacking(blocks: &[[u8; BLOCK]], traces: Traces) -> usize {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { lacking_avx2(blocks, traces) };
    }
    lacking_anywhere(blocks, traces)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn lacking_avx2(blocks: &[[u8; BLOCK]], traces: Traces) -> usize {
    lacking_anywhere(blocks, traces)
}

// Always, as what follows: it is compiled for the instructions of each caller.
#[inline(always)]
fn lacking_anywhere(blocks: &[[u8; BLOCK]], traces: Traces) -> usize {
    match traces {
        Traces::Pairs { mask, pair } => count(blocks, |block| {
            // Without a branch: this becomes vector instructions.
            let seen = block.as_chunks().0.iter().fold(0_u16, |seen, bytes| {
                seen | u16::from(u16::from_ne_bytes(*bytes) & mask == pair).wrapping_neg()
            });
            seen == 0
        }),
        Traces::Quads { mask, quad } => count(blocks, |block| {
            let seen = block.as_chunks().0.iter().fold(0_u32, |seen, bytes| {
                seen | u32::from(u32::from_ne_bytes(*bytes) & mask == quad).wrapping_neg()
            });
            seen == 0
        }),
    }
}

#[inline(always)]
fn count(blocks: &[[u8; BLOCK]], lacks: impl Fn(&[u8; BLOCK]) -> bool) -> usize {
    blocks.iter().rev().take_while(|block| lacks(block)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three blocks of `filler`, and these bytes at a place of the one in the middle.
    fn blocks(filler: u8, bytes: &[u8], place: usize) -> [[u8; BLOCK]; 3] {
        let mut blocks = [[filler; BLOCK]; 3];
        blocks[1][place..place + bytes.len()].copy_from_slice(bytes);
        blocks
    }

    fn both_ways(blocks: &[[u8; BLOCK]], traces: Traces) -> usize {
        let lacked = lacking(blocks, traces);
        assert_eq!(lacking_anywhere(blocks, traces), lacked);
        lacked
    }

    #[test]
    fn a_pair_is_seen_at_each_even_place_and_at_no_odd_one_however_it_is_looked_for() {
        for mask in [u16::MAX, u16::from_ne_bytes([0xff, 0x5f])] {
            let traces = Traces::Pairs { mask, pair: u16::from_ne_bytes(*b"q!") & mask };
            for place in 0..BLOCK - 1 {
                let lacked = both_ways(&blocks(b'q', b"q!", place), traces);
                assert_eq!(lacked, if place % 2 == 0 { 1 } else { 3 }, "{place}");
            }
            assert_eq!(both_ways(&[], traces), 0);
        }
    }

    #[test]
    fn four_bytes_are_seen_at_each_fourth_place_and_at_no_other() {
        for mask in [u32::MAX, u32::from_ne_bytes([0xff, 0x5f, 0xff, 0x0f])] {
            let traces = Traces::Quads { mask, quad: u32::from_ne_bytes(*b"quit") & mask };
            for place in 0..BLOCK - 3 {
                let lacked = both_ways(&blocks(b'.', b"quit", place), traces);
                assert_eq!(lacked, if place % 4 == 0 { 1 } else { 3 }, "{place}");
            }
            assert_eq!(both_ways(&blocks(b'.', b"qui.", 8), traces), 3);
        }
    }
}
