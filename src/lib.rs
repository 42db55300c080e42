//! IPCow answers on every address and port you give it, TCP and UDP, and keeps answering.

pub mod config;
pub mod plan;
pub mod service;
pub mod spec;
pub mod supervision;

pub(crate) mod actors;
pub(crate) mod net;
