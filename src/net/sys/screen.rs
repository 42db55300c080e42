//! Looks for two bytes in a block with the widest instructions that the processor has.
//!
//! Here because calling what was compiled for instructions that a processor may lack is
//! `unsafe`. Asks nothing of the kernel.

/// Bytes that are looked at in one call.
pub(crate) const BLOCK: usize = 512;

/// Whether no two bytes at an even place of the block equal `pair` in the bits of `mask`
/// (both as [`u16::from_ne_bytes`] reads them).
#[allow(unsafe_code)]
pub(crate) fn lacks(block: &[u8; BLOCK], pair: u16, mask: u16) -> bool {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { lacks_avx2(block, pair, mask) };
    }
    lacks_anywhere(block, pair, mask)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn lacks_avx2(block: &[u8; BLOCK], pair: u16, mask: u16) -> bool {
    lacks_anywhere(block, pair, mask)
}

#[inline]
fn lacks_anywhere(block: &[u8; BLOCK], pair: u16, mask: u16) -> bool {
    // Without a branch: this becomes vector instructions.
    !block
        .as_chunks()
        .0
        .iter()
        .fold(false, |seen, bytes: &[u8; 2]| seen | (u16::from_ne_bytes(*bytes) & mask == pair))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_seen_at_each_even_place_and_at_no_odd_one_however_it_is_looked_for() {
        let pair = u16::from_ne_bytes(*b"q!");
        for mask in [u16::MAX, u16::from_ne_bytes([0xff, 0x5f])] {
            for place in 0..BLOCK - 1 {
                let mut block = [b'q'; BLOCK];
                block[place + 1] = b'!';
                let lacked = place % 2 == 1;
                assert_eq!(lacks(&block, pair & mask, mask), lacked, "{place}");
                assert_eq!(lacks_anywhere(&block, pair & mask, mask), lacked, "{place}");
            }
        }
    }
}
