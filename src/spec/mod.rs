//! The language of endpoints: `tcp://127.0.0.0/29,!127.0.0.3:8000-8010`.
//!
//! Parses specs, resolves what only the machine knows through [`Resolver`], and
//! holds the result as lazy sets. Never opens a socket, never reads a file.

mod endpoint;

use std::ops::Range;

pub use endpoint::{Address, Endpoint, Port, Protocol, Zone};

/// One parsed spec; nothing is looked up yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    text: String,
}

/// Why a spec was refused, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SpecError {
    /// The text that was refused.
    pub text: String,
    /// The fault's place in `text`, in bytes.
    pub span: Range<usize>,
    /// What was found and what is allowed.
    pub message: String,
    /// How to fix it.
    pub help: Option<String>,
}

impl Spec {
    /// Parses one spec.
    ///
    /// # Errors
    /// [`SpecError`] with the place of the fault.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        Ok(Self { text: text.to_owned() })
    }
}
