//! What the machine can give and how it is divided: threads, descriptors, chunks.
//!
//! Plain arithmetic on facts that were read elsewhere. Never reads a limit and
//! never changes one: `net::host` does.

use std::fmt;

use super::demand::Demand;
use crate::config;

/// Threads that run beside the workers: main, the service's System, and the
/// writers of stdout and stderr.
const SERVICE_THREADS: u64 = 4;

/// Descriptors that an arbiter's event loop holds (epoll, eventfd, and its pair of sockets).
const FDS_PER_WORKER: u64 = 4;

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
    /// Descriptors: each worker needs four, and listeners need the most.
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
mod tests {
    use super::*;
    use crate::spec::Protocol;

    fn host() -> HostLimits {
        HostLimits {
            parallelism: 2,
            nofile_soft: 1024,
            nofile_hard: 20_000,
            fds_open: 4,
            threads_max: 10_000,
            threads_bound: ThreadBound::Kernel,
            somaxconn: 4096,
            unprivileged_port_start: 1024,
            can_bind_low_ports: false,
            nonlocal_bind_v4: false,
            nonlocal_bind_v6: false,
        }
    }

    fn threads(factor: f64, workers: Option<u16>) -> config::Threads {
        config::Threads { factor, workers }
    }

    fn limits(max_sessions: Option<u32>, fd_reserve: u32) -> config::Limits {
        config::Limits { max_sessions, fd_reserve, ..config::Limits::default() }
    }

    #[test]
    fn the_descriptor_table_has_room_for_every_endpoint_and_the_first_sessions() {
        assert_eq!(descriptor_room(15_000, &limits(None, 64)), 15_000 + 512 + 4096);
        assert_eq!(descriptor_room(15_000, &limits(Some(10), 64)), 15_000 + 512 + 10);
        assert_eq!(descriptor_room(u64::MAX, &limits(None, 64)), u64::MAX);
    }

    fn demand(protocol: Protocol, endpoints: u64, reuse_port: bool) -> Demand {
        let settings = config::ListenSettings { reuse_port, ..Default::default() };
        let mut demand = Demand::default();
        demand.add(protocol, endpoints, &settings, 2);
        demand
    }

    fn tcp(endpoints: u64) -> Demand {
        demand(Protocol::Tcp, endpoints, false)
    }

    #[test]
    fn with_reuse_port_an_endpoint_takes_a_socket_for_each_worker() {
        let all = FdBudget::divide(&host(), &demand(Protocol::Tcp, 70, true), 2, &limits(None, 64));
        assert_eq!((all.listeners, all.sessions, all.needed), (70, 19_768, 28 + 64 + 140 + 256));
        let small = HostLimits { nofile_hard: 256, ..host() };
        let mut mixed = demand(Protocol::Tcp, 50, true);
        let single = config::ListenSettings::default();
        mixed.add(Protocol::Tcp, 30, &single, 2);
        // 164 are available, a quarter of them for sessions: 50 × 2 and 23 × 1.
        let budget = FdBudget::divide(&small, &mixed, 2, &limits(None, 64));
        assert_eq!((budget.listeners, budget.sessions), (73, 41));
        let budget =
            FdBudget::divide(&small, &demand(Protocol::Udp, 90, true), 2, &limits(None, 64));
        assert_eq!((budget.listeners, budget.sessions), (82, 0));
    }

    #[test]
    fn workers_are_parallelism_times_factor_rounded_and_at_least_one() {
        for (factor, workers) in [(1.0, 2), (0.01, 1), (1.25, 3), (1.2, 2), (64.0, 128)] {
            assert_eq!(worker_count(&threads(factor, None), &host()).workers, workers, "{factor}");
        }
        assert_eq!(worker_count(&threads(1.0, Some(7)), &host()).workers, 7);
    }

    #[test]
    fn the_threads_a_process_may_have_bound_the_workers_and_are_named() {
        let host = HostLimits { threads_max: 10, threads_bound: ThreadBound::CgroupPids, ..host() };
        let count = worker_count(&threads(1.0, Some(32)), &host);
        assert_eq!((count.workers, count.wanted), (6, 32));
        assert_eq!(count.limited_by, Some(ThreadBound::CgroupPids));
        assert_eq!(worker_count(&threads(1.0, None), &host).limited_by, None);
        let none = HostLimits { threads_max: 0, ..host };
        assert_eq!(worker_count(&threads(1.0, None), &none).workers, 1);
    }

    #[test]
    fn event_loops_never_eat_the_descriptors_that_listeners_need() {
        let host = HostLimits { nofile_hard: 256, parallelism: 128, ..host() };
        let count = worker_count(&threads(1.0, None), &host);
        assert_eq!((count.workers, count.limited_by), (29, Some(ThreadBound::OpenFiles)));
    }

    #[test]
    fn a_chunk_is_an_even_share_unless_its_size_is_set() {
        let auto = config::Chunks { size: None };
        assert_eq!(chunk_size(70, 2, &auto), 35);
        assert_eq!(chunk_size(71, 2, &auto), 36);
        assert_eq!(chunk_size(0, 0, &auto), 1);
        assert_eq!(chunk_size(70, 2, &config::Chunks { size: Some(10) }), 10);
    }

    #[test]
    fn what_listeners_leave_goes_to_sessions() {
        let budget = FdBudget::divide(&host(), &tcp(70), 2, &limits(None, 64));
        // 20,000 less 28 of the service, 64 in reserve and 70 listeners.
        assert_eq!((budget.listeners, budget.sessions), (70, 19_838));
        assert!(budget.needed <= budget.have);
        let fixed = FdBudget::divide(&host(), &tcp(70), 2, &limits(Some(100), 64));
        assert_eq!(fixed.sessions, 100);
    }

    #[test]
    fn what_does_not_fit_leaves_room_for_sessions_and_the_reserve() {
        let small = HostLimits { nofile_hard: 256, ..host() };
        let budget = FdBudget::divide(&small, &tcp(1_000), 2, &limits(None, 64));
        // 256 - 28 - 64 = 164 are available, a quarter of them for sessions.
        assert_eq!((budget.listeners, budget.sessions), (123, 41));
        assert_eq!((budget.needed, budget.have), (28 + 64 + 1_000 + 41, 256));
        let few = FdBudget::divide(&small, &tcp(1_000), 2, &limits(Some(3), 64));
        assert_eq!((few.listeners, few.sessions), (161, 3));
    }

    #[test]
    fn udp_alone_needs_no_room_for_sessions() {
        let small = HostLimits { nofile_hard: 256, ..host() };
        let budget =
            FdBudget::divide(&small, &demand(Protocol::Udp, 164, false), 2, &limits(None, 64));
        assert_eq!((budget.listeners, budget.sessions, budget.needed), (164, 0, 256));
    }

    #[test]
    fn tiny_limits_and_huge_reserves_never_underflow() {
        for hard in [0, 1, 20, 93, 94, 95, 100, u64::MAX] {
            for reserve in [0, 64, u32::MAX] {
                for endpoints in [0, 1, 1_000_000, u64::MAX] {
                    let host = HostLimits { nofile_hard: hard, ..host() };
                    let budget =
                        FdBudget::divide(&host, &tcp(endpoints), 2, &limits(None, reserve));
                    assert!(budget.listeners <= endpoints);
                    let used = budget.listeners.saturating_add(budget.sessions);
                    assert!(used == 0 || used <= hard, "{hard} {reserve} {endpoints}");
                    let short = budget.needed > budget.have;
                    assert!(endpoints == u64::MAX || short || budget.listeners == endpoints);
                    assert!(endpoints == 0 || !short || budget.listeners < endpoints);
                }
            }
        }
    }
}
