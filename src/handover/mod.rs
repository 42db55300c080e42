//! Hand-over: a new instance gets the sockets of the running one, and serves from them.
//!
//! [`Giver`] is the running instance's side, [`Taker`] the new one's. They talk over a Unix
//! socket that the giver opens for one conversation; `wire` has its words, `channel` moves
//! them and the descriptors. What is offered, given or kept is the service's to do.
//!
//! ```text
//! taker                                   giver
//!   take {versions}              ──►
//!                                ◄──      hello {version, instance, pid}
//!                                ◄──      batch {up to 253 entries} + their sockets, …
//!                                ◄──      numbers {entries}, …   end
//!   (plans, binds what is new, watches all, serves nobody)
//!   ready {which endpoints}      ──►
//!                                ◄──      go
//!   (opens its gate: both serve)
//!   serving                      ──►
//!                                         (leaves what was taken, keeps its sessions)
//!                                ◄──      given
//! ```
//!
//! Until `serving` is heard the giver has stopped nothing: where the conversation ends
//! before, it goes on, and it says `abort` wherever it can. A taker that reads the end
//! without that word knows that the giver is dead, and serves.

mod channel;
mod giver;
mod taker;
mod wire;

pub use channel::ConversationError;
pub use giver::{Giver, NotInvited};
pub use taker::Taker;

use std::fmt;

/// Which of an instance's own sockets, beside those that serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Own {
    /// The control socket.
    Control,
    /// The admin address.
    Admin,
}

impl fmt::Display for Own {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Control => "control socket",
            Self::Admin => "admin address",
        })
    }
}
