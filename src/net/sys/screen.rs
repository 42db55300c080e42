//! Looks for two bytes in a block with the widest instructions that the processor has.
//!
//! Here because calling what was compiled for instructions that a processor may lack is
//! `unsafe`. Asks nothing of the kernel.

/// Bytes that are looked at without a decision.
pub(crate) const BLOCK: usize = 512;

/// How many blocks from the first on have no two bytes at an even place that equal `pair`
/// in the bits of `mask` (both as [`u16::from_ne_bytes`] reads them).
#[allow(unsafe_code)]
pub(crate) fn lacking(blocks: &[[u8; BLOCK]], pair: u16, mask: u16) -> usize {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { lacking_avx2(blocks, pair, mask) };
    }
    lacking_anywhere(blocks, pair, mask)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn lacking_avx2(blocks: &[[u8; BLOCK]], pair: u16, mask: u16) -> usize {
    lacking_anywhere(blocks, pair, mask)
}

// Always: it is compiled for the instructions of each caller.
#[inline(always)]
fn lacking_anywhere(blocks: &[[u8; BLOCK]], pair: u16, mask: u16) -> usize {
    for (before, block) in blocks.iter().enumerate() {
        let mut seen = 0_u16;
        // Without a branch: this becomes vector instructions.
        for bytes in block.as_chunks().0 {
            seen |= u16::from(u16::from_ne_bytes(*bytes) & mask == pair).wrapping_neg();
        }
        if seen != 0 {
            return before;
        }
    }
    blocks.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_seen_at_each_even_place_and_at_no_odd_one_however_it_is_looked_for() {
        let pair = u16::from_ne_bytes(*b"q!");
        for mask in [u16::MAX, u16::from_ne_bytes([0xff, 0x5f])] {
            for place in 0..BLOCK - 1 {
                let mut blocks = [[b'q'; BLOCK]; 3];
                blocks[1][place + 1] = b'!';
                let lacked = if place % 2 == 1 { 3 } else { 1 };
                assert_eq!(lacking(&blocks, pair & mask, mask), lacked, "{place}");
                assert_eq!(lacking_anywhere(&blocks, pair & mask, mask), lacked, "{place}");
            }
        }
        assert_eq!(lacking(&[], pair, u16::MAX), 0);
    }
}
