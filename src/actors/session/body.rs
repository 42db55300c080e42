//! What a session's task needs of whatever moves its bytes.
//!
//! The pump that echoes and an embedder's own session are written against this, so
//! that limits, drains, counters and ends are the same for both. Chosen once, when
//! the session begins: a task is compiled for each.

use std::os::fd::BorrowedFd;
use std::task::{Context as Task, Poll};

use super::books::Books;
use crate::net::echo::End;

/// What moves a session's bytes.
pub(super) trait Body: Unpin + 'static {
    /// Moves on as far as it can, counts what it moved, and says how the session
    /// ended. Is dropped then.
    fn poll_run(&mut self, task: &mut Task<'_>, books: &Books) -> Poll<End>;

    /// Ends the session with FIN for this reason; `Some` where it ends at once, else
    /// it is polled again.
    fn finish(&mut self, end: End) -> Option<End>;

    /// How a session is called that has lingered for long enough.
    fn lingered(&self) -> End;

    /// Asks the kernel about the connection; `None` where it is closed already.
    fn ask<T>(&self, question: impl FnOnce(BorrowedFd<'_>) -> T) -> Option<T>;

    /// Whether the peer still takes nothing of what waits for it.
    fn is_stalled(&mut self, _task: &mut Task<'_>) -> bool {
        true
    }

    /// Whether it works though nothing moves, so that a drain must wait for it.
    fn is_busy(&self) -> bool {
        false
    }
}
