//! What an embedder's own session knows of itself, and what it says at its end.

use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;

use super::connection::Connection;
use crate::spec::Endpoint;

/// How a session of your own ended by itself. Both are counted as closed.
///
/// Whatever it is, the connection then ends without a loss: FIN goes out behind what
/// was written, and what the peer still sends is dropped for up to five seconds, until
/// it ends its side. (A close with unread input would reset the connection, and
/// destroy what is in flight.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The peer ended its side: the reason is `eof`.
    Eof,
    /// The session had done its part: the reason is `terminated`.
    Done,
}

/// What a session of your own knows of itself. A clone says the same.
///
/// It stays on the thread of its session, and may outlive it: then nothing changes any
/// more.
#[derive(Clone)]
pub struct SessionContext {
    connection: Rc<Connection>,
}

impl SessionContext {
    pub(super) const fn new(connection: Rc<Connection>) -> Self {
        Self { connection }
    }

    /// Its number, from 1: no two own sessions of a service have the same.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.connection.about.id
    }

    /// The endpoint that the peer connected to, with the port that it listens on.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        self.connection.about.endpoint
    }

    /// Where the peer connected from.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.connection.about.peer
    }

    /// The address that the peer dialled, which a wildcard endpoint does not say;
    /// `None` once the session is over.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.connection.ask(|socket| socket.local_addr().ok()).flatten()
    }

    /// The name of the endpoint's group.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.connection.about.group.name
    }

    /// Bytes that were read so far, also those that nobody looked at.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.connection.read.get()
    }

    /// Bytes that the kernel took so far.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.connection.written.get()
    }

    /// Whether the service or the endpoint drains, or the session is over.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.connection.is_draining()
    }

    /// Resolves when the service or the endpoint begins to drain (at most 100 ms
    /// later), at once if it does so already, and when the session is over.
    ///
    /// From then on the session has `shutdown.quiet_ms` from its last byte until it is
    /// ended with FIN, and `shutdown.drain_timeout_secs` until it is cut off. A good
    /// one finishes what it does and returns.
    pub fn draining(&self) -> impl Future<Output = ()> + 'static {
        let mut drain = self.connection.drain();
        async move {
            // Where nobody can say any more, it is over.
            let _over = drain.wait_for(|drains| *drains).await;
        }
    }

    /// Tells a drain that the session works though no byte moves: it is not ended as
    /// quiet while the guard lives. All other limits hold.
    #[must_use = "the session is busy as long as this lives"]
    pub fn busy(&self) -> Busy {
        let busy = &self.connection.busy;
        busy.set(busy.get() + 1);
        Busy { connection: Rc::clone(&self.connection) }
    }

    /// Notes that the session has failed, for those that are actors and return nothing:
    /// when it ends by itself, it counts as failed, for this reason.
    pub fn fail(&self, error: impl fmt::Display) {
        self.connection.failure.replace(Some(error.to_string()));
    }

    /// What an actor has left to say when it has stopped.
    pub(super) fn verdict(&self) -> Result<Outcome, String> {
        match self.connection.failure.take() {
            Some(failure) => Err(failure),
            None if self.connection.peer_has_ended() => Ok(Outcome::Eof),
            None => Ok(Outcome::Done),
        }
    }
}

impl fmt::Debug for SessionContext {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SessionContext")
            .field("id", &self.id())
            .field("endpoint", &self.endpoint())
            .field("peer", &self.peer())
            .finish_non_exhaustive()
    }
}

/// A session works though no byte moves; see [`SessionContext::busy`].
pub struct Busy {
    connection: Rc<Connection>,
}

impl Drop for Busy {
    fn drop(&mut self) {
        let busy = &self.connection.busy;
        busy.set(busy.get().saturating_sub(1));
    }
}

impl fmt::Debug for Busy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Busy").finish_non_exhaustive()
    }
}
