//! The language of endpoints: `tcp://127.0.0.0/29,!127.0.0.3:8000-8010`.
//!
//! Parses specs, resolves what only the machine knows through [`Resolver`], and
//! holds the result as lazy sets. Never opens a socket, never reads a file.

mod address_item;
mod ask;
mod cidr;
mod compress;
mod endpoint;
mod error;
mod numeric;
mod octets;
mod parse;
mod port_item;
mod port_set;
mod ranges;
mod realm;
pub(crate) mod resolve;
mod resolver;
mod selector;
mod set;
mod subtract;
pub(crate) mod sweep;
mod token;

#[cfg(test)]
mod parse_tests;

pub use cidr::{Cidr, CidrError};
pub use compress::compress;
pub use endpoint::{Address, Endpoint, Port, Protocol, Zone};
pub use error::{PartsError, PartsList, SpecError};
pub use parse::Spec;
pub use port_set::PortSet;
pub use resolver::Resolver;
pub use selector::{Candidate, Selection, Selector};
pub use set::{EndpointSet, Endpoints, Slab};
