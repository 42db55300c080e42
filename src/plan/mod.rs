//! What is to be served, by what means, and what is in the way.
//!
//! Endpoints, facts as plain values, resources and findings. Never reads the
//! machine: `net::host` does, and `service::planning` puts both together.

#[doc(hidden)]
pub mod demand;
pub mod endpoints;
#[doc(hidden)]
pub mod facts;
pub mod findings;
#[doc(hidden)]
pub mod reach;
pub mod report;
pub mod resources;
