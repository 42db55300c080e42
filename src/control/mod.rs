//! The control API: HTTP on a Unix socket, and read-only on a TCP address.
//!
//! [`Server::start`] serves it on a thread of its own, so that no request slows what the
//! service serves. The sockets are bound first, by [`Socket::bind`] and [`Admin::bind`],
//! while the process still may. Nothing here knows arguments, the environment or signals;
//! all that is known of a service is asked of its handle.
//!
//! A route is a line in `routes` and a function in a file beside it.

mod admin;
mod body;
mod connection;
mod door;
mod guard;
pub mod metrics;
mod order;
mod refusal;
mod reload;
mod routes;
mod running;
mod server;
mod socket;
mod story;
mod wire;

pub use admin::Admin;
pub use order::{Order, OrderKind};
pub use refusal::Refusal;
pub use reload::{ReloadError, Reloader, Reloads};
pub use running::config_document;
pub use server::{Options, Server};
pub use socket::{Access, BindError, Socket};
pub use wire::{Bytes, Datagrams, Errors, Sessions, SummaryTotals};
