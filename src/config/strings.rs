//! Places inside TOML strings: from a byte of the value to a byte of its text.
//!
//! `"a\tb"` holds three bytes and is written with six. Faults of specs are found
//! in the value and shown in the text. Never decides whether a string is legal:
//! it was parsed before.

use std::ops::Range;

/// The part of `raw` that wrote the bytes `decoded` of its value.
///
/// `raw` is the string as written, with its quotes if it has any. A range past
/// the end of the value becomes an empty range at its end.
pub(crate) fn written(raw: &str, decoded: &Range<usize>) -> Range<usize> {
    let start = offset(raw, decoded.start);
    start..offset(raw, decoded.end).max(start)
}

/// The parts of `text` between blanks, each with its first byte.
pub(crate) fn words(text: &str) -> Vec<(usize, &str)> {
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(blank) = text[at..].find(|char: char| !char.is_whitespace()) {
        let start = at + blank;
        let end = text[start..].find(char::is_whitespace).map_or(text.len(), |end| start + end);
        words.push((start, &text[start..end]));
        at = end;
    }
    words
}

fn offset(raw: &str, decoded: usize) -> usize {
    let (open, has_escapes) = match raw {
        _ if raw.starts_with("\"\"\"") => (3, true),
        _ if raw.starts_with("'''") => (3, false),
        _ if raw.starts_with('"') => (1, true),
        _ if raw.starts_with('\'') => (1, false),
        _ => (0, false),
    };
    let end = raw.len().saturating_sub(open).max(open);
    let mut at = open;
    if open == 3 {
        at +=
            ["\r\n", "\n"].iter().find(|line| raw[at..].starts_with(**line)).map_or(0, |l| l.len());
    }
    let mut seen = 0;
    while at < end {
        let (bytes_written, bytes_meant) = step(&raw[at..], has_escapes);
        if bytes_meant > 0 && seen >= decoded {
            break;
        }
        at += bytes_written;
        seen += bytes_meant;
    }
    // An unclosed string ends before its last byte, perhaps inside a character.
    (0..=at.min(end)).rev().find(|at| raw.is_char_boundary(*at)).unwrap_or(0)
}

/// Bytes written and bytes meant by the next character; `rest` is not empty.
fn step(rest: &str, has_escapes: bool) -> (usize, usize) {
    let mut chars = rest.chars();
    let first = chars.next().map_or(1, char::len_utf8);
    if !has_escapes || !rest.starts_with('\\') {
        return (first, first);
    }
    let digits = match chars.next() {
        Some('x') => 2,
        Some('u') => 4,
        Some('U') => 8,
        Some(char) if char.is_whitespace() => {
            let blank = rest[1..].len() - rest[1..].trim_start().len();
            return (1 + blank, 0);
        }
        Some(char) => return (1 + char.len_utf8(), 1),
        None => return (1, 1),
    };
    let meant = rest
        .get(2..2 + digits)
        .and_then(|hex| u32::from_str_radix(hex, 16).ok())
        .and_then(char::from_u32);
    match meant {
        Some(char) => (2 + digits, char.len_utf8()),
        None => (first, first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The text that wrote `part` of the value of `raw`.
    fn written_for<'a>(raw: &'a str, part: &str) -> &'a str {
        let document = format!("x = {raw}");
        let table: toml::Table = document.parse().expect("a TOML string");
        let value = table["x"].as_str().expect("a string").to_owned();
        let start = value.find(part).expect("the part is in the value");
        &raw[written(raw, &(start..start + part.len()))]
    }

    #[test]
    fn a_plain_string_is_written_as_it_is_meant() {
        assert_eq!(written_for("\"8000,80x\"", "80x"), "80x");
        assert_eq!(written_for("'8000,80x'", "80x"), "80x");
        assert_eq!(&"8000,80x"[written("8000,80x", &(5..8))], "80x");
    }

    #[test]
    fn an_escape_before_the_fault_moves_it() {
        assert_eq!(written_for(r#""\u0038000,80x""#, "80x"), "80x");
        assert_eq!(written_for(r#""a\t\"b\\,80x""#, "80x"), "80x");
        assert_eq!(written_for(r#""80\x78""#, "80x"), r"80\x78");
    }

    #[test]
    fn a_string_of_several_lines_is_followed() {
        assert_eq!(written_for("\"\"\"\n8000,\\\n   80x\"\"\"", "80x"), "80x");
        assert_eq!(written_for("'''\n8000,\n80x'''", "80x"), "80x");
    }

    proptest! {
        #[test]
        fn any_text_and_any_range_stay_inside_and_on_boundaries(
            raw in "[\"'\\\\xuU0-9a-fé\n ]{0,20}",
            start in 0_usize..30,
            length in 0_usize..30,
        ) {
            let span = written(&raw, &(start..start + length));
            prop_assert!(raw.get(span).is_some());
        }
    }
}
