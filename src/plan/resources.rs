//! What the machine can give and how it is divided: threads, descriptors, chunks.
//!
//! Plain arithmetic on facts that were read elsewhere. Never reads a limit and
//! never changes one: `net::host` does.

use std::fmt;

use super::demand::Demand;
use crate::config;

/// Threads that are started beside the workers': the service's System, the control API's, and
/// the writers of stdout and stderr.
const SERVICE_THREADS: u64 = 4;

/// Descriptors that a worker's thread holds: those of its event loop (epoll, eventfd, and
/// its pair of sockets), and the epoll instance of its sessions.
const FDS_PER_WORKER: u64 = 5;

/// Descriptors of the service itself beside those open now: its event loops,
/// signal pipe, route socket, log and control files.
const FDS_OF_SERVICE: u64 = 16;

/// Most descriptors that are set aside for sessions before listeners get theirs.
const MAX_SESSION_ROOM: u64 = 256;

/// Room in the descriptor table for event loops and what the program has open.
const ROOM_OF_PROGRAM: u64 = 512;

/// Room in the descriptor table for the first sessions, at most.
const ROOM_OF_SESSIONS: u64 = 4096;

/// What the machine and the process's rights allow, read once for each plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostLimits {
    /// Threads that can run at once (`std::thread::available_parallelism`,
    /// which knows cgroup quotas and affinity). At least 1.
    pub parallelism: u64,
    /// Soft limit of open files (`RLIMIT_NOFILE`, getrlimit(2)).
    pub nofile_soft: u64,
    /// Hard limit of open files; the soft one is raised to it.
    pub nofile_hard: u64,
    /// Files that the process has open now.
    pub fds_open: u64,
    /// How many more threads the process may start.
    pub threads_max: u64,
    /// Which limit `threads_max` comes from.
    pub threads_bound: ThreadBound,
    /// Longest queue of established connections (`net.core.somaxconn`).
    pub somaxconn: u32,
    /// First port that needs no privilege (`net.ipv4.ip_unprivileged_port_start`).
    pub unprivileged_port_start: u16,
    /// True where CAP_NET_BIND_SERVICE is effective (capabilities(7)).
    pub can_bind_low_ports: bool,
    /// `net.ipv4.ip_nonlocal_bind`: IPv4 addresses bind without being there.
    pub nonlocal_bind_v4: bool,
    /// `net.ipv6.ip_nonlocal_bind`: the same for IPv6.
    pub nonlocal_bind_v6: bool,
}

/// The limit that a number of threads comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThreadBound {
    /// `RLIMIT_NPROC` of the user (getrlimit(2)).
    UserProcesses,
    /// `pids.max` of the control group.
    CgroupPids,
    /// `kernel.threads-max` or `kernel.pid_max`.
    Kernel,
    /// Descriptors: each worker needs five, and listeners need the most.
    OpenFiles,
}

impl ThreadBound {
    /// A concrete way to raise the limit.
    #[must_use]
    pub const fn fix(self) -> &'static str {
        match self {
            Self::UserProcesses => {
                "raise the limit of processes: `ulimit -u`, or TasksMax= and LimitNPROC= in a systemd unit"
            }
            Self::CgroupPids => {
                "raise pids.max of the control group: TasksMax= in a systemd unit, `--pids-limit` of a container"
            }
            Self::Kernel => "raise the kernel's limit: `sysctl kernel.threads-max kernel.pid_max`",
            Self::OpenFiles => {
                "raise the limit of open files: `ulimit -Hn`, or LimitNOFILE= in a systemd unit"
            }
        }
    }
}

impl fmt::Display for ThreadBound {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::UserProcesses => "RLIMIT_NPROC",
            Self::CgroupPids => "pids.max of the control group",
            Self::Kernel => "kernel.threads-max",
            Self::OpenFiles => "RLIMIT_NOFILE",
        })
    }
}

/// How many workers there will be, and what made them fewer than asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerCount {
    /// Workers to start; at least 1.
    pub workers: u64,
    /// Workers that the configuration asks for.
    pub wanted: u64,
    /// The limit that was hit, where `workers` is less than `wanted`.
    pub limited_by: Option<ThreadBound>,
}

/// The number of workers: `threads.workers`, or parallelism × factor rounded,
/// at least 1 and at most what threads and descriptors allow.
#[must_use]
pub fn worker_count(threads: &config::Threads, host: &HostLimits) -> WorkerCount {
    let wanted =
        threads.workers.map_or_else(|| scaled(host.parallelism, threads.factor), u64::from);
    let wanted = wanted.max(1);
    let by_threads = host.threads_max.saturating_sub(SERVICE_THREADS);
    // At most half of the descriptors go to event loops: the rest shall listen.
    let spare = host.nofile_hard.saturating_sub(host.fds_open + FDS_OF_SERVICE);
    let by_fds = spare / (2 * FDS_PER_WORKER);
    let (bound, limit) = if by_threads <= by_fds {
        (by_threads, host.threads_bound)
    } else {
        (by_fds, ThreadBound::OpenFiles)
    };
    let workers = wanted.min(bound).max(1);
    WorkerCount { workers, wanted, limited_by: (bound < wanted).then_some(limit) }
}

/// `parallelism × factor`, rounded half away from zero.
fn scaled(parallelism: u64, factor: f64) -> u64 {
    // Both are small (factor is at most 64), so that the casts are exact; a
    // float that is not finite saturates.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let workers = (parallelism as f64 * factor).round() as u64;
    workers
}

/// Endpoints in a chunk: `chunks.size`, or ceil(endpoints / workers). At least 1.
#[must_use]
pub fn chunk_size(endpoints: u64, workers: u64, chunks: &config::Chunks) -> u64 {
    chunks.size.map_or_else(|| endpoints.div_ceil(workers.max(1)), u64::from).max(1)
}

/// Descriptors that the process's table shall have room for before the first of
/// `sockets` is opened: theirs, the service's and the first sessions'. Growing
/// the table later costs its threads more. It ends at the limit of open files.
#[must_use]
pub fn descriptor_room(sockets: u64, limits: &config::Limits) -> u64 {
    let sessions = limits.max_sessions.map_or(ROOM_OF_SESSIONS, u64::from).min(ROOM_OF_SESSIONS);
    sockets.saturating_add(ROOM_OF_PROGRAM + sessions)
}

/// How the descriptors that the process may have are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FdBudget {
    /// Descriptors for full coverage: the service, its reserve, every socket of
    /// every endpoint, and the least room for sessions.
    pub needed: u64,
    /// Descriptors that the process may have: the hard limit.
    pub have: u64,
    /// Endpoints that fit; the rest is quarantined as `fd_limit`.
    pub listeners: u64,
    /// Sessions at once: `limits.max_sessions`, or all that is left.
    pub sessions: u64,
    /// Descriptors kept free: `limits.fd_reserve`.
    pub reserve: u64,
}

impl FdBudget {
    /// Divides the hard limit between the service, a reserve, listeners and sessions.
    ///
    /// Listeners get all they need if that leaves room for sessions: a quarter
    /// of what is available, at most 256, at most `limits.max_sessions`, and
    /// none where no endpoint is TCP. Nothing underflows: where the service
    /// and the reserve take everything, no endpoint fits.
    #[must_use]
    pub fn divide(
        host: &HostLimits,
        demand: &Demand,
        workers: u64,
        limits: &config::Limits,
    ) -> Self {
        let have = host.nofile_hard;
        let reserve = u64::from(limits.fd_reserve);
        let service = host
            .fds_open
            .saturating_add(workers.saturating_mul(FDS_PER_WORKER))
            .saturating_add(FDS_OF_SERVICE);
        let available = have.saturating_sub(service).saturating_sub(reserve);
        let most_sessions = limits.max_sessions.map_or(u64::MAX, u64::from);
        let room = match demand.streams() {
            0 => 0,
            _ => (available / 4).clamp(1, MAX_SESSION_ROOM).min(most_sessions),
        };
        let (listeners, taken) = demand.that_fit(available.saturating_sub(room));
        let sessions = match demand.streams() {
            0 => 0,
            _ => most_sessions.min(available - taken),
        };
        let sockets = demand.sockets();
        let needed = service.saturating_add(reserve).saturating_add(sockets).saturating_add(room);
        Self { needed, have, listeners, sessions, reserve }
    }
}

#[cfg(test)]
mod tests;
