//! What a running service shows to programs outside.

pub mod metrics;
