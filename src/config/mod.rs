//! Typed configuration, and how layers of text become it.

mod model;

pub use model::*;
