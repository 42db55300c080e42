//! Descriptors that the process was started with.
//!
//! Gives each an owner. Never says what they are.

use std::ops::Range;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Owns the descriptors of these numbers that are open; once, and nothing from then on.
///
/// For a program's first moments, while it has opened nothing itself.
#[allow(unsafe_code)]
pub(crate) fn take_inherited(numbers: Range<RawFd>) -> Vec<OwnedFd> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::AcqRel) {
        return Vec::new();
    }
    // Not the three that every program has.
    let open = |number: &RawFd| {
        *number > 2 && std::fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_ok()
    };
    let own = |number| {
        // SAFETY: the number is open, and this is called once in the life of the
        // process, for what it was started with: nobody else owns it.
        unsafe { OwnedFd::from_raw_fd(number) }
    };
    numbers.filter(open).map(own).collect()
}
