//! seccomp: system calls that start programs, look into others, or administer the machine.
//!
//! A list of what is refused with EPERM, not of what is allowed: an allowed list would
//! break with the next C library. Nothing that serves is on it, and no argument is looked
//! at, so that the kernel decides each call once and remembers (seccomp(2)).

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

use super::Sandbox;

/// What is refused on every architecture.
const REFUSED: &[i64] = &[
    // Other programs and other processes.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_personality,
    // Wide doors into the kernel.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_add_key,
    libc::SYS_keyctl,
    libc::SYS_request_key,
    // Code that no file holds.
    libc::SYS_memfd_create,
    libc::SYS_memfd_secret,
    // Namespaces and mounts.
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_open_by_handle_at,
    // The machine itself.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
];

/// As seccomp calls it.
const ARCHITECTURE: &str = match () {
    () if cfg!(target_arch = "x86_64") => "x86_64",
    () if cfg!(target_arch = "aarch64") => "aarch64",
    () if cfg!(target_arch = "riscv64") => "riscv64",
    () => "an architecture without filters",
};

/// x86 alone has these, and a second table of the same calls, x32: numbers with this bit,
/// those of its own from 512 on.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use nix::libc;

    pub(super) const REFUSED: &[i64] = &[
        libc::SYS_ioperm,
        libc::SYS_iopl,
        libc::SYS_kexec_file_load,
        libc::SYS_modify_ldt,
        libc::SYS_uselib,
    ];
    pub(super) const X32: i64 = 0x4000_0000;
    pub(super) const OWN: std::ops::Range<i64> = 512..548;
}

/// Refuses them for this thread and those that it starts.
///
/// # Errors
/// Why the kernel refuses none of them.
pub(super) fn deny() -> Result<Sandbox, String> {
    let program = program().map_err(|error| format!("seccomp is not to be had: {error}"))?;
    seccompiler::apply_filter(&program)
        .map_err(|error| format!("this kernel has no seccomp filters: {error}"))?;
    let denied = vec!["system calls of administrators and debuggers".to_owned()];
    Ok(Sandbox { denied, missing: Vec::new() })
}

fn program() -> Result<BpfProgram, seccompiler::Error> {
    let rules: BTreeMap<i64, _> =
        refused().into_iter().map(|number| (number, Vec::new())).collect();
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let architecture = TargetArch::try_from(ARCHITECTURE)?;
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, architecture)?
        .try_into()
        .map_err(seccompiler::Error::from)
}

#[cfg(target_arch = "x86_64")]
fn refused() -> Vec<i64> {
    let native = || REFUSED.iter().chain(x86::REFUSED).copied();
    native()
        .chain(native().map(|number| number | x86::X32))
        .chain(x86::OWN.map(|own| own | x86::X32))
        .collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn refused() -> Vec<i64> {
    REFUSED.to_vec()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use nix::errno::Errno;
    use nix::sched::{CloneFlags, unshare};

    use super::*;

    /// What a service calls all day.
    const NEEDED: &[i64] = &[
        libc::SYS_accept4,
        libc::SYS_bind,
        libc::SYS_capset,
        libc::SYS_clone,
        libc::SYS_clone3,
        libc::SYS_close,
        libc::SYS_connect,
        libc::SYS_epoll_pwait,
        libc::SYS_listen,
        libc::SYS_openat,
        libc::SYS_read,
        libc::SYS_recvmsg,
        libc::SYS_recvmmsg,
        libc::SYS_sendmsg,
        libc::SYS_sendmmsg,
        libc::SYS_setsockopt,
        libc::SYS_socket,
        libc::SYS_write,
    ];

    #[test]
    fn nothing_that_serves_is_refused() {
        let refused = refused();
        assert!(NEEDED.iter().all(|needed| !refused.contains(needed)));
    }

    #[test]
    fn a_thread_that_denies_itself_calls_starts_nothing_and_leaves_no_namespace() {
        // It holds for the thread that asks for it: the test's other threads stay free.
        let inside = std::thread::spawn(|| {
            if let Err(missing) = deny() {
                eprintln!("a test of seccomp skips: {missing}");
                return;
            }
            // Without flags it would do nothing, and succeed.
            assert_eq!(unshare(CloneFlags::empty()), Err(Errno::EPERM));
            let started = Command::new("/bin/true").spawn();
            assert_eq!(
                started.map(drop).map_err(|error| error.raw_os_error()),
                Err(Some(libc::EPERM))
            );
            std::thread::spawn(|| ()).join().expect("threads are free");
        });
        inside.join().expect("every claim holds");
    }

    #[test]
    fn the_list_becomes_a_program_that_the_kernel_would_take() {
        // The kernel takes at most 4,096 instructions (BPF_MAXINSNS).
        let length = program().expect("a program").len();
        assert!((100..4_096).contains(&length), "{length} instructions");
    }
}
