//! What the core must ask the machine before a spec means anything.
//!
//! Holds the questions only. Never answers one: `net::host` does, and tests do.

use std::net::IpAddr;

use super::{Address, Protocol};

/// The only way the core learns about the machine.
///
/// A plan asks each question about a host name, an interface, a zone or a file
/// once. Errors are sentences for a person; the place in the spec is added here.
pub trait Resolver {
    /// All addresses of the interface `name`, link-local ones with their zone.
    ///
    /// # Errors
    /// When there is no such interface, or it cannot be read.
    fn interface(&self, name: &str) -> Result<Vec<Address>, String>;

    /// The addresses of the host `name`.
    ///
    /// # Errors
    /// When the name is unknown or nothing answers.
    fn host(&self, name: &str) -> Result<Vec<IpAddr>, String>;

    /// The text of the file at `path`; its size is bounded by the implementor.
    ///
    /// # Errors
    /// When it cannot be read, is too long, or is not UTF-8.
    fn file(&self, path: &str) -> Result<String, String>;

    /// The kernel's index of the interface `name`, if there is one.
    fn zone(&self, name: &str) -> Option<u32>;

    /// Every local port that `protocol` uses now, on whatever address.
    ///
    /// # Errors
    /// When the kernel's tables cannot be read.
    fn ports_in_use(&self, protocol: Protocol) -> Result<Vec<u16>, String>;

    /// First and last of the ports that the kernel gives to outgoing connections.
    ///
    /// # Errors
    /// When the setting cannot be read.
    fn ephemeral_ports(&self) -> Result<(u16, u16), String>;
}
