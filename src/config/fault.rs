//! What is wrong with a configuration, where, and how to fix it.
//!
//! Plain values and their one-line form. Drawing a caret under the fault is the
//! program's business; deciding what is a fault is the rest of this room's.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Most faults that are kept; further ones are only counted.
pub const MAX_FAULTS: usize = 50;

/// Most characters of a person's text that a message repeats.
const MAX_QUOTED: usize = 60;

/// Most characters of a path or a variable's name that are repeated.
const MAX_NAME: usize = 4096;

/// Where a piece of configuration came from, lowest layer first.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// `config/default.toml`, compiled in.
    BuiltIn,
    /// A file, by the path that was given.
    File(String),
    /// An environment variable, by its name.
    Environment(String),
    /// A `--set section.key=value` argument.
    Set,
    /// A SPEC argument.
    Spec,
    /// An `--exclude SPEC` argument.
    Exclude,
    /// A `--workers N` argument.
    Workers,
    /// A `--control PATH` argument.
    Control,
    /// A `--admin ADDR` argument.
    Admin,
    /// What a running service was given.
    Given,
    /// What an operator sets while it runs.
    Live,
}

impl Origin {
    /// True for what was typed on the command line (exit code 2, not 78).
    #[must_use]
    pub const fn is_argument(&self) -> bool {
        match self {
            Self::BuiltIn | Self::File(_) | Self::Environment(_) | Self::Given | Self::Live => {
                false
            }
            Self::Set | Self::Spec | Self::Exclude => true,
            Self::Workers | Self::Control | Self::Admin => true,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => out.write_str("built-in"),
            Self::File(path) => write!(out, "{}", escaped(path)),
            Self::Environment(name) => write!(out, "environment {}", escaped(name)),
            Self::Set => out.write_str("--set"),
            Self::Spec => out.write_str("SPEC argument"),
            Self::Exclude => out.write_str("--exclude"),
            Self::Workers => out.write_str("--workers"),
            Self::Control => out.write_str("--control"),
            Self::Admin => out.write_str("--admin"),
            Self::Given => out.write_str("the configuration"),
            Self::Live => out.write_str("set live"),
        }
    }
}

/// A text with its origin; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Document {
    pub(crate) origin: Origin,
    pub(crate) text: Arc<str>,
    /// Where each line ends: a place is asked for as often as there are values.
    line_ends: Arc<[usize]>,
}

impl Document {
    pub(crate) fn new(origin: Origin, text: &str) -> Self {
        let line_ends = text.match_indices('\n').map(|(offset, _)| offset).collect();
        Self { origin, text: Arc::from(text), line_ends }
    }

    /// The line, from 1, that byte `offset` is on.
    pub(crate) fn line(&self, offset: usize) -> usize {
        1 + self.line_ends.partition_point(|end| *end < offset)
    }

    /// How `config show --origin` names the value at `offset`.
    pub(crate) fn origin_at(&self, offset: usize) -> String {
        match self.origin {
            Origin::File(_) => format!("{}:{}", self.origin, self.line(offset)),
            _ => self.origin.to_string(),
        }
    }

    /// A fault of this text at `span`, which is clamped to it.
    pub(crate) fn fault(&self, span: Range<usize>, message: impl Into<String>) -> Fault {
        let start = floor(&self.text, span.start);
        let end = floor(&self.text, span.end).max(start);
        let line_start = self.text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        Fault {
            origin: self.origin.clone(),
            key: None,
            line: self.line(start),
            column: 1 + self.text[line_start..start].chars().count(),
            span: start..end,
            source: Arc::clone(&self.text),
            message: message.into(),
            help: None,
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// Which file, variable or argument holds it.
    pub origin: Origin,
    /// The key it is about, as `section.key`, where it is about one.
    pub key: Option<String>,
    /// Line in `source`, from 1; 0 where the fault has no place in a text.
    pub line: usize,
    /// Column in characters, from 1; 0 where the fault has no place in a text.
    pub column: usize,
    /// The faulty part of `source`, in bytes, on character boundaries.
    pub span: Range<usize>,
    /// The whole text of the file, or `NAME=value` of a variable or argument.
    pub source: Arc<str>,
    /// What was found and what is allowed.
    pub message: String,
    /// How to fix it.
    pub help: Option<String>,
}

impl Fault {
    /// A fault without a place in a text, such as a file that cannot be read.
    pub(crate) fn placeless(origin: Origin, message: impl Into<String>) -> Self {
        Self {
            origin,
            key: None,
            line: 0,
            column: 0,
            span: 0..0,
            source: Arc::from(""),
            message: message.into(),
            help: None,
        }
    }

    pub(crate) fn about(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.origin, self.line) {
            (Origin::File(_) | Origin::BuiltIn, line) if line > 0 => {
                write!(out, "{}:{line}:{}: {}", self.origin, self.column, self.message)?;
            }
            (origin, _) if origin.is_argument() => {
                write!(out, "{} {}: {}", self.origin, quoted(&self.source), self.message)?;
            }
            // Nobody typed a document: the message names the key.
            (Origin::Live | Origin::Given, _) => out.write_str(&self.message)?,
            _ => write!(out, "{}: {}", self.origin, self.message)?,
        }
        match &self.help {
            Some(help) => write!(out, "; {help}"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with a configuration, lowest layer first.
///
/// Never empty. Prints one line a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    faults: Vec<Fault>,
    omitted: usize,
    only_arguments: bool,
}

impl ConfigErrors {
    pub(crate) fn one(fault: Fault) -> Self {
        let only_arguments = fault.origin.is_argument();
        Self { faults: vec![fault], omitted: 0, only_arguments }
    }

    /// The faults, at most [`MAX_FAULTS`].
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// How many further faults there are.
    #[must_use]
    pub const fn omitted(&self) -> usize {
        self.omitted
    }

    /// True when every fault is in an argument: wrong usage, not wrong configuration.
    #[must_use]
    pub const fn only_arguments(&self) -> bool {
        self.only_arguments
    }

    /// The exit code that goes with these faults: 2 for arguments, else 78.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        if self.only_arguments { 2 } else { 78 }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(out, "{newline}{fault}")?;
        }
        match self.omitted {
            0 => Ok(()),
            omitted => write!(out, "\n… {omitted} more"),
        }
    }
}

impl std::error::Error for ConfigErrors {}

/// Gathers faults; keeps the first [`MAX_FAULTS`] and counts the rest.
#[derive(Debug)]
pub(crate) struct Faults {
    kept: Vec<Fault>,
    omitted: usize,
    only_arguments: bool,
}

impl Faults {
    pub(crate) const fn new() -> Self {
        Self { kept: Vec::new(), omitted: 0, only_arguments: true }
    }

    /// Adds a fault of `document`; it is only made where it will be kept.
    pub(crate) fn push(&mut self, origin: &Origin, make: impl FnOnce() -> Fault) {
        self.only_arguments &= origin.is_argument();
        if self.kept.len() < MAX_FAULTS {
            self.kept.push(make());
        } else {
            self.omitted += 1;
        }
    }

    /// How many are kept so far.
    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Puts those kept since there were `first` in the order of their text.
    pub(crate) fn sort_from(&mut self, first: usize) {
        if let Some(recent) = self.kept.get_mut(first..) {
            recent.sort_by_key(|fault| fault.span.start);
        }
    }

    /// True when a further fault would only be counted.
    pub(crate) fn is_full(&self) -> bool {
        self.kept.len() == MAX_FAULTS
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// True when a kept fault is about `key`.
    pub(crate) fn concern(&self, key: &str) -> bool {
        self.kept.iter().any(|fault| fault.key.as_deref() == Some(key))
    }

    /// # Errors
    /// All faults, if there are any.
    pub(crate) fn into_result(self) -> Result<(), ConfigErrors> {
        if self.kept.is_empty() {
            return Ok(());
        }
        let Self { kept, omitted, only_arguments } = self;
        Err(ConfigErrors { faults: kept, omitted, only_arguments })
    }
}

/// A person's text in quotes, cut and without control characters.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", short(text).replace('"', "\\\""))
}

/// A person's text without quotes, cut and without control characters.
pub(crate) fn short(text: &str) -> String {
    shown(text, MAX_QUOTED)
}

/// A name or path of a person, cut and without control characters.
pub(crate) fn escaped(text: &str) -> String {
    shown(text, MAX_NAME)
}

fn shown(text: &str, most: usize) -> String {
    let mut shown = String::new();
    for (count, char) in text.chars().enumerate() {
        if count == most {
            shown.push('…');
            break;
        }
        if char.is_control() {
            shown.extend(char.escape_default());
        } else {
            shown.push(char);
        }
    }
    shown
}

/// The nearest character boundary at or below `offset`.
fn floor(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}
