//! Who this process is and what it may do: user, group, capabilities, sandbox.
//!
//! For programs that want it, once, on their main thread before any other thread exists:
//! the kernel keeps all of it for each thread, and new threads inherit it. A service calls
//! nothing of this; the one capability that is left is raised by `net::low_port`.

mod error;
mod identity;
mod privileges;
mod sandbox;

use std::fs;
use std::path::PathBuf;

use caps::CapSet;
use nix::sys::prctl;
use nix::unistd::{getegid, geteuid};

pub use error::ConfineError;

use crate::config::Process;

/// What is in force after [`confine`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Confinement {
    /// The effective user.
    pub uid: u32,
    /// The effective group.
    pub gid: u32,
    /// The permitted capabilities by name, sorted (capabilities(7)); empty = none.
    pub capabilities: Vec<String>,
    /// True where no program that it starts could gain a right (`PR_SET_NO_NEW_PRIVS`).
    pub no_new_privs: bool,
    /// What the kernel denies from now on.
    pub denied: Vec<String>,
    /// What it should deny and cannot, with the reason; empty with `sandbox = "off"`.
    pub missing: Vec<String>,
}

/// Becomes the user and group of `[process]`, gives up every capability but
/// CAP_NET_BIND_SERVICE, and has the kernel deny what is never needed.
///
/// In `folders` and below, and nowhere else, the sandbox leaves it to make files and Unix
/// sockets, to write them and to remove them; whether the user may is another matter. They
/// must exist.
///
/// Where neither user nor group is named, root stays root with all that it may; everybody
/// else gives up the capabilities all the same. There is no way back. After an error the
/// process may have lost some of its rights and must end.
///
/// # Errors
/// [`ConfineError`]: the user or group is unknown, the kernel refuses a step, other
/// threads exist already, a folder cannot be opened, or `sandbox = "on"` and the kernel
/// lacks Landlock or seccomp.
pub fn confine(process: &Process, folders: &[PathBuf]) -> Result<Confinement, ConfineError> {
    let wanted = identity::wanted(process)?;
    if let Some(threads @ 2..) = threads() {
        return Err(ConfineError::Threads(threads));
    }
    if wanted.is_some() || !geteuid().is_root() {
        privileges::give_up(wanted.as_ref())?;
    }
    let sandbox = sandbox::enforce(process.sandbox, folders)?;
    let permitted = caps::read(None, CapSet::Permitted).unwrap_or_default();
    let mut capabilities: Vec<String> = permitted.iter().map(ToString::to_string).collect();
    capabilities.sort_unstable();
    Ok(Confinement {
        uid: geteuid().as_raw(),
        gid: getegid().as_raw(),
        capabilities,
        no_new_privs: prctl::get_no_new_privs().unwrap_or(false),
        denied: sandbox.denied,
        missing: sandbox.missing,
    })
}

/// The user and group that [`confine`] will make of this process, by number; `None` each
/// where it stays who it is.
///
/// # Errors
/// [`ConfineError`]: the user or group is unknown.
pub fn identity(process: &Process) -> Result<(Option<u32>, Option<u32>), ConfineError> {
    let wanted = identity::wanted(process)?;
    let uid = wanted.and_then(|it| it.uid);
    Ok((uid.map(nix::unistd::Uid::as_raw), wanted.map(|it| it.gid.as_raw())))
}

/// How many threads the process has; `None` where `/proc` does not tell.
fn threads() -> Option<usize> {
    Some(fs::read_dir("/proc/self/task").ok()?.count())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_process_that_has_threads_already_is_not_confined_by_half() {
        // This thread lives until the end, so that no run of one test is confined.
        let (end, ended) = channel::<()>();
        let other = std::thread::spawn(move || ended.recv().is_err());
        let before = (geteuid(), caps::read(None, CapSet::Effective).expect("capabilities"));
        assert!(matches!(confine(&Process::default(), &[]), Err(ConfineError::Threads(2..))));
        let after = (geteuid(), caps::read(None, CapSet::Effective).expect("capabilities"));
        assert_eq!(before, after);
        drop(end);
        assert!(other.join().expect("it only waits"));
    }
}
