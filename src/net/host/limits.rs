//! Limits and rights of this process, as the kernel states them now.
//!
//! Reads rlimits, sysctls and `/proc/self`, raises the soft limit of open files,
//! and makes room for them. Never decides what to do with a limit: `plan::resources` does.

use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::str::FromStr;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::close;

use super::capabilities::{NET_BIND_SERVICE, is_permitted};
use super::threads;
use crate::plan::facts::EphemeralPorts;
use crate::plan::resources::HostLimits;

/// The limits as they are now.
///
/// What cannot be read counts as the kernel's default: 1024 open files, 4096
/// connections in a queue, ports from 1024 without privilege.
pub(crate) fn limits() -> HostLimits {
    let (nofile_soft, nofile_hard) = nofile().unwrap_or((1024, 1024));
    let (threads_max, threads_bound) = threads::available();
    let parallelism = std::thread::available_parallelism().map_or(1, usize::from);
    HostLimits {
        parallelism: parallelism as u64,
        nofile_soft,
        nofile_hard,
        fds_open: fds_open(),
        threads_max,
        threads_bound,
        somaxconn: sysctl("net/core/somaxconn").unwrap_or(4096),
        unprivileged_port_start: sysctl("net/ipv4/ip_unprivileged_port_start").unwrap_or(1024),
        can_bind_low_ports: is_permitted(NET_BIND_SERVICE),
        nonlocal_bind_v4: sysctl("net/ipv4/ip_nonlocal_bind") == Some(1),
        nonlocal_bind_v6: sysctl("net/ipv6/ip_nonlocal_bind") == Some(1),
    }
}

/// Raises the soft limit of open files to the hard one; returns the soft
/// limit before and after.
///
/// # Errors
/// What getrlimit(2) or setrlimit(2) said.
pub(crate) fn raise_nofile() -> io::Result<(u64, u64)> {
    let (soft, hard) = nofile()?;
    if soft < hard {
        let (_, real_hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, hard, real_hard)?;
    }
    Ok((soft, hard.max(soft)))
}

/// Makes room for `count` descriptors in the process's table at once, as far as
/// the soft limit of open files allows.
///
/// The kernel doubles a full table, and while the process has several threads,
/// each doubling waits for an RCU grace period: tens of milliseconds, in which no
/// thread gets a descriptor. A place of the table costs the kernel about 8 bytes,
/// until the process ends.
///
/// # Errors
/// What getrlimit(2) and fcntl(2) said: EBADF without a stderr, ENOMEM. The
/// table is as it was then.
pub(crate) fn grow_descriptor_table(count: u64) -> io::Result<()> {
    let (soft, _) = nofile()?;
    let last = i32::try_from(count.min(soft)).unwrap_or(i32::MAX).saturating_sub(1);
    // The first free number from there on: never one that is in use.
    let copy = fcntl(io::stderr(), FcntlArg::F_DUPFD_CLOEXEC(last.max(0)))?;
    Ok(close(copy)?)
}

/// Soft and hard limit of open files; "unlimited" ends at `fs.nr_open`.
fn nofile() -> io::Result<(u64, u64)> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let ceiling = sys_number("fs/nr_open").unwrap_or(1 << 20);
    Ok((soft.min(ceiling), hard.min(ceiling)))
}

/// Descriptors that are open now, less the one that counts them.
fn fds_open() -> u64 {
    fs::read_dir("/proc/self/fd").map_or(16, |entries| (entries.count() as u64).saturating_sub(1))
}

/// The ports that the kernel hands out by itself; its default where the
/// sysctls cannot be read.
pub(crate) fn ephemeral_ports() -> EphemeralPorts {
    let Ok((first, last)) = ephemeral_range() else { return EphemeralPorts::default() };
    let reserved = fs::read_to_string("/proc/sys/net/ipv4/ip_local_reserved_ports");
    EphemeralPorts { first, last, reserved: port_list(&reserved.unwrap_or_default()) }
}

/// `net.ipv4.ip_local_port_range`, which holds for IPv6 too.
///
/// # Errors
/// Where the sysctl cannot be read, or is not two ports.
pub(crate) fn ephemeral_range() -> io::Result<(u16, u16)> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")?;
    let mut ports = text.split_ascii_whitespace().map_while(|port| port.parse().ok());
    match (ports.next(), ports.next()) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("net.ipv4.ip_local_port_range is {:?}, not two ports", text.trim()),
        )),
    }
}

/// Ports as the kernel lists them: `8080,9148-9150`. Skips what it cannot read.
fn port_list(text: &str) -> Vec<(u16, u16)> {
    let range = |item: &str| {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        Some((first.parse().ok()?, last.parse().ok()?))
    };
    text.trim().split(',').filter_map(range).collect()
}

fn sysctl<T: FromStr>(name: &str) -> Option<T> {
    sys_number(name)
}

/// The single number in `/proc/sys/NAME`.
pub(super) fn sys_number<T: FromStr>(name: &str) -> Option<T> {
    fs::read_to_string(format!("/proc/sys/{name}")).ok()?.trim().parse().ok()
}

/// Makes sure that the few descriptors can be had which every runtime needs: tokio
/// panics where its pipe for signals cannot be opened.
///
/// # Errors
/// What socketpair(2) says: EMFILE, ENFILE.
pub(crate) fn spare_descriptors() -> io::Result<()> {
    // An event loop takes three, the pipe two, and each loop that reads it one.
    let _eight = [pair()?, pair()?, pair()?, pair()?];
    Ok(())
}

fn pair() -> io::Result<(UnixStream, UnixStream)> {
    UnixStream::pair()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn the_limits_of_this_process_are_plausible() {
        let limits = limits();
        assert!(limits.parallelism >= 1);
        assert!(limits.fds_open >= 3 && limits.fds_open <= limits.nofile_hard);
        assert!(limits.nofile_soft <= limits.nofile_hard);
        assert!(limits.threads_max >= 1);
        assert!(limits.somaxconn >= 1);
    }

    #[test]
    fn low_ports_bind_exactly_where_the_limits_say_so() {
        let limits = limits();
        let bound = std::net::UdpSocket::bind("127.0.0.1:1");
        let refused = bound.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
        assert_eq!(refused, !limits.can_bind_low_ports && limits.unprivileged_port_start > 1);
    }

    #[test]
    fn an_open_file_is_counted() {
        // Other tests open and close files at the same time: a large step shows.
        let before = fds_open();
        let files: Vec<_> = (0..500).filter_map(|_| fs::File::open("/dev/null").ok()).collect();
        assert_eq!(files.len(), 500);
        assert!(fds_open() >= before + 400);
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let (_, new) = raise_nofile().expect("a limit");
        assert_eq!(limits().nofile_soft, new);
        assert_eq!(raise_nofile().expect("a limit"), (new, new));
    }

    #[test]
    fn the_descriptor_table_has_room_for_what_was_asked_and_nothing_stays_open() {
        let size = || {
            let status = fs::read_to_string("/proc/self/status").expect("a status");
            let line = status.lines().find_map(|line| line.strip_prefix("FDSize:"));
            line.and_then(|size| size.trim().parse::<u64>().ok()).expect("a size")
        };
        let (soft, _) = raise_nofile().expect("a limit");
        grow_descriptor_table(soft.min(3_000)).expect("room");
        assert!(size() >= soft.min(3_000), "{}", size());
        let far = PathBuf::from(format!("/proc/self/fd/{}", soft.min(3_000) - 1));
        assert!(!far.exists());
        grow_descriptor_table(0).expect("nothing to do");
    }

    #[test]
    fn reserved_ports_are_read_as_the_kernel_writes_them() {
        assert_eq!(port_list("8080,9148-9150\n"), [(8080, 8080), (9148, 9150)]);
        assert_eq!(port_list("\n"), []);
        assert_eq!(port_list("x,1-,70000,7"), [(7, 7)]);
    }
}
