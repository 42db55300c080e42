//! Pieces of a spec's text that know where they stand.
//!
//! Holds cutting and trimming. Never knows what a piece means.

use std::ops::Range;

use super::error::{Fault, shown};

/// Most items of one list. More belong in a file (`@FILE`).
pub(crate) const MAX_ITEMS: usize = 100_000;

/// A piece of a text and its first byte's place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) text: &'a str,
    pub(crate) at: usize,
}

impl<'a> Token<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub(crate) fn span(&self) -> Range<usize> {
        self.at..self.at + self.text.len()
    }

    pub(crate) fn end(&self) -> usize {
        self.at + self.text.len()
    }

    /// The piece before byte `at` and the piece after the `skip` bytes there.
    pub(crate) fn cut(&self, at: usize, skip: usize) -> (Self, Self) {
        let after = at + skip;
        (
            Self { text: &self.text[..at], at: self.at },
            Self { text: &self.text[after..], at: self.at + after },
        )
    }

    pub(crate) fn cut_at(&self, separator: &str) -> Option<(Self, Self)> {
        self.text.find(separator).map(|at| self.cut(at, separator.len()))
    }

    pub(crate) fn strip(&self, prefix: &str) -> Option<Self> {
        self.text.starts_with(prefix).then(|| self.cut(prefix.len(), 0).1)
    }

    pub(crate) fn trim(&self) -> Self {
        let start = self.text.len() - self.text.trim_start().len();
        Self { text: self.text.trim(), at: self.at + start }
    }

    pub(crate) fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::new(self.span(), message)
    }
}

/// One item of a list: what it names, and whether it takes that away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item<T> {
    pub(crate) excluded: bool,
    pub(crate) span: Range<usize>,
    pub(crate) what: T,
}

/// The items of a comma list, each read by `parse`; at least one.
pub(crate) fn items<'a, T>(
    list: Token<'a>,
    mut parse: impl FnMut(Token<'a>, bool) -> Result<T, Fault>,
) -> Result<Vec<Item<T>>, Fault> {
    let mut found = Vec::new();
    let mut at = 0;
    for text in list.text.split(',') {
        let item = Token { text, at: list.at + at }.trim();
        at += text.len() + 1;
        if found.len() == MAX_ITEMS {
            return Err(Fault::new(
                item.span(),
                format!("more than {MAX_ITEMS} items in one list"),
            )
            .help("put addresses in a file and name it with @FILE"));
        }
        found.push(self::item(item, &mut parse)?);
    }
    Ok(found)
}

fn item<'a, T>(
    whole: Token<'a>,
    parse: &mut impl FnMut(Token<'a>, bool) -> Result<T, Fault>,
) -> Result<Item<T>, Fault> {
    let (excluded, named) = match whole.strip("!") {
        Some(rest) => (true, rest.trim()),
        None => (false, whole),
    };
    if named.text.is_empty() {
        let what = if excluded { "nothing after `!`" } else { "an empty item in a list" };
        return Err(whole.fault(what).help("name something here or remove the comma"));
    }
    if named.text.starts_with('!') {
        return Err(whole
            .fault(format!("{} excludes twice", shown(whole.text)))
            .help("one `!` is enough"));
    }
    Ok(Item { excluded, span: whole.span(), what: parse(named, excluded)? })
}
