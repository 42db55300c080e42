//! Which capabilities this thread has (capabilities(7)), as `/proc` says.
//!
//! Only asks: what raises one is `net::low_port`, what gives them up `process`.

use std::fs;

/// Binds ports below `net.ipv4.ip_unprivileged_port_start`.
pub(super) const NET_BIND_SERVICE: u32 = 10;
/// Lifts RLIMIT_NPROC, among much else.
pub(super) const SYS_ADMIN: u32 = 21;
/// Lifts resource limits.
pub(super) const SYS_RESOURCE: u32 = 24;

/// True where this thread uses the capability.
pub(super) fn is_effective(capability: u32) -> bool {
    has("CapEff:", capability)
}

/// True where this thread uses the capability, or may raise it.
pub(super) fn is_permitted(capability: u32) -> bool {
    has("CapPrm:", capability)
}

/// False where `/proc` does not tell.
fn has(set: &str, capability: u32) -> bool {
    let Ok(status) = fs::read_to_string("/proc/thread-self/status") else { return false };
    let line = status.lines().find_map(|line| line.strip_prefix(set));
    let bits = line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    bits.is_some_and(|bits| bits & 1 << capability != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_effective_is_permitted() {
        for capability in [NET_BIND_SERVICE, SYS_ADMIN, SYS_RESOURCE] {
            assert!(!is_effective(capability) || is_permitted(capability), "{capability}");
        }
    }

    #[cfg(feature = "process")]
    #[test]
    fn the_kernel_says_the_same_when_it_is_asked_itself() {
        use caps::{CapSet, Capability};
        let bind = Capability::CAP_NET_BIND_SERVICE;
        assert_eq!(u32::from(bind.index()), NET_BIND_SERVICE);
        let asked = caps::has_cap(None, CapSet::Permitted, bind).expect("capget(2)");
        assert_eq!(is_permitted(NET_BIND_SERVICE), asked);
    }
}
