//! Whether this thread, when it wakes, interrupts the thread that has its core (sched(7)).
//!
//! Goes back and forth between `SCHED_OTHER` and `SCHED_BATCH`, for which neither needs
//! privilege. Never touches a nice value, nor a policy that somebody else chose.

use std::io;

use nix::libc;

/// `SCHED_OTHER`: it does, where it had less than its share of the core.
pub(in crate::net) const INTERRUPTS: Policy = Policy(libc::SCHED_OTHER);

/// `SCHED_BATCH`: it waits until that thread sleeps or has had its time, a few
/// milliseconds at most.
pub(in crate::net) const WAITS: Policy = Policy(libc::SCHED_BATCH);

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::net) struct Policy(libc::c_int);

/// Changes the policy of the calling thread from one to the other, and says whether it had
/// the one.
///
/// # Errors
/// What `sched_setscheduler(2)` says: EPERM where a filter of system calls refuses it.
#[allow(unsafe_code)]
pub(in crate::net) fn change(from: Policy, to: Policy) -> io::Result<bool> {
    // Not the C library's: musl's answer ENOSYS. Zero is the calling thread.
    // SAFETY: the call takes a number and no pointer.
    let now = unsafe { libc::syscall(libc::SYS_sched_getscheduler, 0) };
    let now = libc::c_int::try_from(now).unwrap_or(-1);
    if now < 0 {
        return Err(io::Error::last_os_error());
    }
    let kept = now & libc::SCHED_RESET_ON_FORK;
    if now != from.0 | kept {
        return Ok(false);
    }
    // All that the kernel's `struct sched_param` holds: a priority, 0 for both policies.
    let priority: libc::c_int = 0;
    // SAFETY: the kernel reads one int during the call, and it lives for longer.
    let answer =
        unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, to.0 | kept, &raw const priority) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(true) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_goes_there_and_back_and_only_from_what_it_had() {
        let apart = std::thread::spawn(|| {
            assert_eq!(change(WAITS, INTERRUPTS).ok(), Some(false));
            assert_eq!(change(INTERRUPTS, WAITS).ok(), Some(true));
            assert_eq!(change(INTERRUPTS, WAITS).ok(), Some(false));
            assert_eq!(change(WAITS, INTERRUPTS).ok(), Some(true));
        });
        apart.join().expect("every claim holds");
    }
}
