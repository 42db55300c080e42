//! Gives up what root has: groups, user, capabilities, and the way back to them.
//!
//! Never decides who to become. What is kept is CAP_NET_BIND_SERVICE, permitted and not
//! effective, where the process had it.

use caps::{CapSet, Capability, CapsHashSet};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::unistd::{Gid, Uid, getgroups, getresgid, getresuid, setgroups, setresgid, setresuid};

use super::ConfineError;
use super::identity::Identity;

/// The one right that a service may need again: to bind a low port.
const KEPT: Capability = Capability::CAP_NET_BIND_SERVICE;

/// Becomes `identity`, where there is one, without groups; gives up capabilities and every
/// way to gain any.
///
/// The order is that of the kernel's rules: the bounding set needs CAP_SETPCAP and the
/// groups CAP_SETGID, which are gone with the user.
pub(super) fn give_up(identity: Option<&Identity>) -> Result<(), ConfineError> {
    let may_bind = caps::has_cap(None, CapSet::Permitted, KEPT)
        .map_err(|error| refused("reading the capabilities", &error))?;
    bound()?;
    prctl::set_keepcaps(may_bind).map_err(|errno| said("keeping a capability", errno))?;
    if let Some(identity) = identity {
        become_another(identity)?;
    }
    let kept = if may_bind { CapsHashSet::from([KEPT]) } else { CapsHashSet::new() };
    // An old kernel has no ambient set to clear.
    let _no_ambient_set = caps::clear(None, CapSet::Ambient);
    caps::clear(None, CapSet::Effective)
        .and_then(|()| caps::set(None, CapSet::Permitted, &kept))
        .and_then(|()| caps::clear(None, CapSet::Inheritable))
        .map_err(|error| refused("giving up capabilities", &error))?;
    prctl::set_no_new_privs().map_err(|errno| said("setting no_new_privs", errno))?;
    verify(identity, &kept)
}

fn become_another(identity: &Identity) -> Result<(), ConfineError> {
    let gid = identity.gid;
    leave_groups(gid)?;
    setresgid(gid, gid, gid).map_err(|errno| said("changing to process.group", errno))?;
    let Some(uid) = identity.uid else { return Ok(()) };
    setresuid(uid, uid, uid).map_err(|errno| said("changing to process.user", errno))
}

/// Leaves nothing but [`KEPT`] within reach of what this process could ever start.
fn bound() -> Result<(), ConfineError> {
    // Who may not shrink the bounding set has no right beyond those it permits.
    if !caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP).unwrap_or(false) {
        return Ok(());
    }
    let others = caps::all().into_iter().filter(|capability| *capability != KEPT);
    for capability in others {
        // The kernel may be too old to know it.
        if caps::has_cap(None, CapSet::Bounding, capability).unwrap_or(false) {
            caps::drop(None, CapSet::Bounding, capability)
                .map_err(|error| refused("shrinking the bounding set", &error))?;
        }
    }
    Ok(())
}

fn leave_groups(own: Gid) -> Result<(), ConfineError> {
    let foreign = |groups: Vec<Gid>| groups.into_iter().any(|group| group != own);
    match setgroups(&[]) {
        // Without the right to it there may be nothing to leave.
        Err(Errno::EPERM) if !foreign(getgroups().unwrap_or_default()) => Ok(()),
        done => done.map_err(|errno| said("leaving the supplementary groups", errno)),
    }
}

/// Asks the kernel what has become of it: a right that was kept is a way back.
fn verify(identity: Option<&Identity>, kept: &CapsHashSet) -> Result<(), ConfineError> {
    let failed = |reason: &str| refused("giving up privileges", &reason);
    let read = |set| caps::read(None, set).map_err(|error| refused("reading capabilities", &error));
    if !read(CapSet::Effective)?.is_empty() || read(CapSet::Permitted)? != *kept {
        return Err(failed("a capability was kept"));
    }
    let Some(Identity { uid, gid }) = identity else { return Ok(()) };
    let groups = getresgid().map_err(|errno| said("reading the groups", errno))?;
    if [groups.real, groups.effective, groups.saved] != [*gid; 3] {
        return Err(failed("the process is of another group"));
    }
    let Some(uid) = uid else { return Ok(()) };
    let users = getresuid().map_err(|errno| said("reading the users", errno))?;
    if [users.real, users.effective, users.saved] != [*uid; 3] {
        return Err(failed("the process is of another user"));
    }
    let root = Uid::from_raw(0);
    match setresuid(root, root, root) {
        Ok(()) => Err(failed("the process can become root again")),
        Err(_refused) => Ok(()),
    }
}

fn said(step: &'static str, errno: Errno) -> ConfineError {
    refused(step, &errno.desc())
}

fn refused(step: &'static str, reason: &dyn std::fmt::Display) -> ConfineError {
    ConfineError::Refused { step, reason: reason.to_string() }
}
