//! Why a spec was refused, where, and how that is shown.
//!
//! Holds the errors of this room and the caret under a fault. Never decides
//! what is a fault: parsers and the plan do.

use std::fmt;
use std::ops::Range;

/// Most characters of a refused text that an error shows.
const SHOWN_CHARS: usize = 60;

/// Why a spec was refused, and where. Displays as its one-line message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SpecError {
    /// The text that was refused.
    pub text: String,
    /// The fault's place in `text`, in bytes; empty where something is missing.
    pub span: Range<usize>,
    /// What was found and what is allowed.
    pub message: String,
    /// How to fix it.
    pub help: Option<String>,
}

impl SpecError {
    /// Two lines: the text, and a caret line under the fault.
    ///
    /// Control characters are escaped; of a long text only the part around the
    /// fault is shown. Safe to print on a terminal, whatever the text holds.
    #[must_use]
    pub fn caret(&self) -> String {
        let (start, end) = (self.floor(self.span.start), self.floor(self.span.end));
        let window = SHOWN_CHARS / 2;
        let before: Vec<char> = self.text[..start].chars().rev().take(window + 1).collect();
        let mut line = String::new();
        if before.len() > window {
            line.push('…');
        }
        before.iter().take(window).rev().for_each(|found| escape(&mut line, *found));
        let column = line.chars().count();
        let fault = &self.text[start..end.max(start)];
        push_shortened(&mut line, fault, SHOWN_CHARS);
        let width = (line.chars().count() - column).max(1);
        push_shortened(&mut line, &self.text[end.max(start)..], window);
        format!("{line}\n{}{}", " ".repeat(column), "^".repeat(width))
    }

    /// The nearest character boundary at or before `at`: a span from elsewhere
    /// may be wrong, and showing an error must not fail.
    fn floor(&self, at: usize) -> usize {
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}

/// A list of the configuration form of a spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartsList {
    /// `addresses = […]`
    Addresses,
    /// `ports = […]`
    Ports,
    /// `protocols = […]`; refused only when it is empty.
    Protocols,
}

impl PartsList {
    /// The key of the list in a `[[listen]]` table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Addresses => "addresses",
            Self::Ports => "ports",
            Self::Protocols => "protocols",
        }
    }
}

impl fmt::Display for PartsList {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// Why the configuration form of a spec was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{list}: {error}")]
pub struct PartsError {
    /// The list at fault.
    pub list: PartsList,
    /// The faulty item's index in that list; 0 when the list is empty.
    pub index: usize,
    /// The fault; its text is the item's, its span lies in the item.
    pub error: SpecError,
}

/// A fault whose text is known to the caller only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) span: Range<usize>,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Fault {
    pub(crate) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), help: None }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn in_text(self, text: &str) -> SpecError {
        let Self { span, message, help } = self;
        SpecError { text: text.to_owned(), span, message, help }
    }
}

/// `text` in backticks, shortened and escaped, for use inside a message.
pub(crate) fn shown(text: &str) -> String {
    let mut quoted = String::from("`");
    push_shortened(&mut quoted, text, SHOWN_CHARS);
    quoted.push('`');
    quoted
}

fn push_shortened(out: &mut String, text: &str, chars: usize) {
    let mut rest = text.chars();
    rest.by_ref().take(chars).for_each(|found| escape(out, found));
    if rest.next().is_some() {
        out.push('…');
    }
}

/// Quotes and backslashes are harmless; what moves a terminal's cursor is not.
fn escape(out: &mut String, found: char) {
    match found {
        '"' | '\'' | '\\' => out.push(found),
        _ => out.extend(found.escape_debug()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caret(text: &str, span: Range<usize>) -> String {
        Fault::new(span, "").in_text(text).caret()
    }

    #[test]
    fn the_caret_stands_under_the_fault() {
        assert_eq!(caret("1.2.3.4:80x", 8..11), "1.2.3.4:80x\n        ^^^");
    }

    #[test]
    fn the_caret_counts_characters_not_bytes() {
        assert_eq!(caret("é€:80x", 6..9), "é€:80x\n   ^^^");
    }

    #[test]
    fn control_characters_are_escaped_and_the_caret_follows() {
        assert_eq!(caret("\u{1b}a:x", 3..4), "\\u{1b}a:x\n        ^");
    }

    #[test]
    fn a_missing_part_is_marked_where_it_should_begin() {
        assert_eq!(caret("a:", 2..2), "a:\n  ^");
    }

    #[test]
    fn only_the_surroundings_of_a_fault_in_a_long_text_are_shown() {
        let text = format!("{}!{}", "a".repeat(100_000), "b".repeat(100_000));
        let caret = caret(&text, 100_000..100_001);
        assert!(caret.chars().count() < 200, "{caret}");
        assert!(caret.ends_with(&format!("\n{}^", " ".repeat(31))), "{caret}");
    }

    #[test]
    fn a_span_inside_a_character_or_past_the_end_is_shown_somewhere() {
        assert_eq!(caret("é", 1..9), "é\n^");
    }
}
