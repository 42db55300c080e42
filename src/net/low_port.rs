//! CAP_NET_BIND_SERVICE, raised for the bind of a low port and for nothing else.
//!
//! A process that has given up root keeps it permitted; capabilities belong to threads, so
//! the thread that binds raises it, and no other has it. Never asks which ports are low:
//! the kernel says so, also where the sysctl changes or a namespace has another. Without
//! the feature `process` nothing is raised: who may bind low ports has the right effective.

use std::io;

/// Runs `bind`, and once more with the capability where the kernel says EACCES and the
/// thread may raise it.
///
/// # Errors
/// What the last bind(2) said.
pub(super) fn bind(bind: impl Fn() -> io::Result<()>) -> io::Result<()> {
    match bind() {
        #[cfg(feature = "process")]
        Err(refused) if refused.raw_os_error() == Some(nix::libc::EACCES) => {
            match raised::Raised::new() {
                Some(_raised) => bind(),
                None => Err(refused),
            }
        }
        done => done,
    }
}

#[cfg(feature = "process")]
mod raised {
    use caps::{CapSet, Capability};

    const BIND: Capability = Capability::CAP_NET_BIND_SERVICE;

    /// The capability is effective in this thread as long as this lives.
    pub(super) struct Raised;

    impl Raised {
        /// `None` where it cannot be raised, or is effective anyway and did not help.
        pub(super) fn new() -> Option<Self> {
            if caps::has_cap(None, CapSet::Effective, BIND).unwrap_or(false) {
                return None;
            }
            caps::raise(None, CapSet::Effective, BIND).ok().map(|()| Self)
        }
    }

    impl Drop for Raised {
        fn drop(&mut self) {
            // A thread may always lower what it has; if not, somebody should know.
            if let Err(error) = caps::drop(None, CapSet::Effective, BIND) {
                tracing::error!(%error, "CAP_NET_BIND_SERVICE stays effective");
            }
        }
    }
}
