//! The known name that is nearest to a mistyped one.
//!
//! Plain text comparison with bounded work; knows nothing of keys.

/// Longer names are cut before they are compared. Unit: characters.
const MAX_COMPARED: usize = 64;

/// The candidate with the fewest edits, if it is near enough to be meant.
///
/// Near enough is a third of the longer name, at least one and at most six edits.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let wanted: Vec<char> = name.chars().take(MAX_COMPARED).collect();
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let known: Vec<char> = candidate.chars().take(MAX_COMPARED).collect();
        let allowed = (wanted.len().max(known.len()) / 3).clamp(1, 6);
        let edits = distance(&wanted, &known);
        if edits <= allowed && best.is_none_or(|(fewest, _)| edits < fewest) {
            best = Some((edits, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Edits between two names; swapping neighbours is one edit
/// (optimal string alignment).
fn distance(left: &[char], right: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (row, one) in left.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, other) in right.iter().enumerate() {
            let replaced = last[column] + usize::from(one != other);
            let mut fewest = replaced.min(last[column + 1] + 1).min(line[column] + 1);
            let swapped =
                row > 0 && column > 0 && *one == right[column - 1] && left[row - 1] == *other;
            if swapped {
                fewest = fewest.min(before[column - 1] + 1);
            }
            line.push(fewest);
        }
        before = last;
        last = line;
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_slip_finds_the_key_that_was_meant() {
        let known = ["idle_timeout_secs", "max_lifetime_secs", "keepalive_secs"];
        assert_eq!(nearest("idle_timeuot_secs", known), Some("idle_timeout_secs"));
        assert_eq!(nearest("idle_timeout", known), Some("idle_timeout_secs"));
        assert_eq!(nearest("keep_alive_secs", known), Some("keepalive_secs"));
    }

    #[test]
    fn a_name_that_is_like_none_finds_none() {
        assert_eq!(nearest("colour", ["mode", "backlog", "freebind"]), None);
        assert_eq!(nearest("", ["mode"]), None);
    }

    #[test]
    fn a_swap_of_neighbours_is_one_edit() {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        assert_eq!(distance(&chars("mdoe"), &chars("mode")), 1);
        assert_eq!(distance(&chars(""), &chars("mode")), 4);
        assert_eq!(distance(&chars("mode"), &chars("mode")), 0);
    }

    #[test]
    fn a_name_of_a_megabyte_is_compared_in_bounded_work() {
        let long = "x".repeat(1 << 20);
        assert_eq!(nearest(&long, ["mode"]), None);
    }
}
