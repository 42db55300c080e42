//! How threads, descriptors and chunks are divided.

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
    assert_eq!((all.listeners, all.sessions, all.needed), (70, 19_766, 30 + 64 + 140 + 256));
    let small = HostLimits { nofile_hard: 256, ..host() };
    let mut mixed = demand(Protocol::Tcp, 50, true);
    let single = config::ListenSettings::default();
    mixed.add(Protocol::Tcp, 30, &single, 2);
    // 162 are available, a quarter of them for sessions: 50 × 2 and 22 × 1.
    let budget = FdBudget::divide(&small, &mixed, 2, &limits(None, 64));
    assert_eq!((budget.listeners, budget.sessions), (72, 40));
    let budget = FdBudget::divide(&small, &demand(Protocol::Udp, 90, true), 2, &limits(None, 64));
    assert_eq!((budget.listeners, budget.sessions), (81, 0));
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
    assert_eq!((count.workers, count.limited_by), (23, Some(ThreadBound::OpenFiles)));
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
    // 20,000 less 30 of the service, 64 in reserve and 70 listeners.
    assert_eq!((budget.listeners, budget.sessions), (70, 19_836));
    assert!(budget.needed <= budget.have);
    let fixed = FdBudget::divide(&host(), &tcp(70), 2, &limits(Some(100), 64));
    assert_eq!(fixed.sessions, 100);
}

#[test]
fn what_does_not_fit_leaves_room_for_sessions_and_the_reserve() {
    let small = HostLimits { nofile_hard: 256, ..host() };
    let budget = FdBudget::divide(&small, &tcp(1_000), 2, &limits(None, 64));
    // 256 - 30 - 64 = 162 are available, a quarter of them for sessions.
    assert_eq!((budget.listeners, budget.sessions), (122, 40));
    assert_eq!((budget.needed, budget.have), (30 + 64 + 1_000 + 40, 256));
    let few = FdBudget::divide(&small, &tcp(1_000), 2, &limits(Some(3), 64));
    assert_eq!((few.listeners, few.sessions), (159, 3));
}

#[test]
fn udp_alone_needs_no_room_for_sessions() {
    let small = HostLimits { nofile_hard: 256, ..host() };
    let budget = FdBudget::divide(&small, &demand(Protocol::Udp, 162, false), 2, &limits(None, 64));
    assert_eq!((budget.listeners, budget.sessions, budget.needed), (162, 0, 256));
}

#[test]
fn tiny_limits_and_huge_reserves_never_underflow() {
    for hard in [0, 1, 20, 93, 94, 95, 100, u64::MAX] {
        for reserve in [0, 64, u32::MAX] {
            for endpoints in [0, 1, 1_000_000, u64::MAX] {
                let host = HostLimits { nofile_hard: hard, ..host() };
                let budget = FdBudget::divide(&host, &tcp(endpoints), 2, &limits(None, reserve));
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
