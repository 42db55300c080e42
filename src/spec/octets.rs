//! Octet ranges (`10.0.0-3.1-254`) as runs of neighbouring addresses.
//!
//! Arithmetic alone. Never reads text.

use super::realm::Realm;

/// The contiguous runs of an octet item; `None` when there are more than `limit`.
pub(crate) fn octet_blocks(
    octets: &[(u8, u8); 4],
    limit: usize,
) -> Option<Vec<(Realm, u128, u128)>> {
    // Whole octets at the end (0-255) lengthen a run; the one before it gives its bounds.
    let whole = octets.iter().rev().take_while(|octet| **octet == (0, 255)).count();
    let run = 3_usize.saturating_sub(whole);
    let mut prefixes = vec![0_u32];
    for &(low, high) in &octets[..run] {
        if prefixes.len() * (usize::from(high - low) + 1) > limit {
            return None;
        }
        let longer = |prefix: u32| (low..=high).map(move |octet| prefix << 8 | u32::from(octet));
        prefixes = prefixes.into_iter().flat_map(longer).collect();
    }
    let (low, high) = octets[run];
    let shift = 8 * u32::try_from(3 - run).unwrap_or(0);
    let rest = (1_u32 << shift) - 1;
    let bound = |prefix: u32, octet: u8| (prefix << 8 | u32::from(octet)) << shift;
    let block =
        |prefix| (Realm::V4, bound(prefix, low).into(), (bound(prefix, high) | rest).into());
    Some(prefixes.into_iter().map(block).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octet_ranges_become_as_few_runs_as_there_are() {
        let runs = |octets: [(u8, u8); 4]| octet_blocks(&octets, 1 << 20).expect("few runs");
        assert_eq!(runs([(0, 255); 4]), [(Realm::V4, 0, u128::from(u32::MAX))]);
        assert_eq!(
            runs([(10, 10), (0, 0), (0, 1), (1, 254)]),
            [(Realm::V4, 0x0a00_0001, 0x0a00_00fe), (Realm::V4, 0x0a00_0101, 0x0a00_01fe)]
        );
        assert_eq!(
            runs([(10, 10), (3, 4), (0, 255), (0, 255)]),
            [(Realm::V4, 0x0a03_0000, 0x0a04_ffff)]
        );
    }

    #[test]
    fn octet_ranges_in_too_many_runs_are_refused_before_they_are_listed() {
        assert_eq!(octet_blocks(&[(0, 255), (0, 255), (0, 255), (1, 254)], 1 << 20), None);
    }
}
