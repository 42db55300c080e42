//! Why specs that are each well written make no plan.
//!
//! Holds the error and the place of the spec at fault, so that a caller can
//! show where it was written. Never prints.

use crate::spec::SpecError;

/// Where a spec stands in what a plan is built from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SpecPlace {
    /// The spec at index `spec` of the group at index `group`.
    Group {
        /// Index of the group.
        group: usize,
        /// Index of the spec in the group.
        spec: usize,
    },
    /// The exclusion at that index (`--exclude`).
    Exclude(usize),
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// One spec is at fault.
    #[error("{error}")]
    Spec {
        /// Which spec.
        place: SpecPlace,
        /// What is wrong with it, and where in its text.
        error: SpecError,
    },
    /// There are more endpoints than `limits.max_endpoints`.
    #[error("{error}")]
    TooMany {
        /// The spec that names the most.
        place: SpecPlace,
        /// How many there are, at that spec.
        error: SpecError,
    },
    /// Only all of the specs together are at fault.
    #[error("{message}")]
    Whole {
        /// What was found and what is allowed.
        message: String,
        /// How to fix it.
        help: Option<String>,
    },
}

impl PlanError {
    /// How to fix it.
    #[must_use]
    pub fn help(&self) -> Option<&str> {
        match self {
            Self::Spec { error, .. } | Self::TooMany { error, .. } => error.help.as_deref(),
            Self::Whole { help, .. } => help.as_deref(),
        }
    }

    /// The spec at fault, if it is one.
    #[must_use]
    pub const fn spec(&self) -> Option<(SpecPlace, &SpecError)> {
        match self {
            Self::Spec { place, error } | Self::TooMany { place, error } => Some((*place, error)),
            Self::Whole { .. } => None,
        }
    }

    pub(super) fn whole(message: impl Into<String>, help: &str) -> Self {
        Self::Whole { message: message.into(), help: Some(help.to_owned()) }
    }
}
