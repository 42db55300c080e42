//! What the kernel shall deny this process, whoever it runs as.
//!
//! Two parts, each where the kernel has it: `files` (Landlock) and `calls` (seccomp). Both
//! hold for this thread and those that it starts, for ever. Never denies what rebinding,
//! reading files and resolving names need.

mod calls;
mod files;

use std::path::PathBuf;

use super::ConfineError;
use crate::config::SandboxMode;

/// What is denied and what should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sandbox {
    pub(super) denied: Vec<String>,
    /// What is not denied, with the reason.
    pub(super) missing: Vec<String>,
}

/// Has the kernel deny what it can; in `folders` files may still be made and removed.
///
/// # Errors
/// A folder that cannot be opened. With `on`, that Landlock or seccomp is missing altogether.
pub(super) fn enforce(mode: SandboxMode, folders: &[PathBuf]) -> Result<Sandbox, ConfineError> {
    if mode == SandboxMode::Off {
        return Ok(Sandbox::default());
    }
    let folders = files::open(folders)?;
    // Files first: from the second on the kernel may no longer be asked for the first.
    let parts = [files::deny(folders), calls::deny()];
    if mode == SandboxMode::On && parts.iter().any(Result::is_err) {
        return Err(ConfineError::Sandbox(parts.into_iter().filter_map(Result::err).collect()));
    }
    let mut sandbox = Sandbox::default();
    for part in parts {
        match part {
            Ok(part) => {
                sandbox.denied.extend(part.denied);
                sandbox.missing.extend(part.missing);
            }
            Err(missing) => sandbox.missing.push(missing),
        }
    }
    Ok(sandbox)
}
