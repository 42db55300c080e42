//! Each rule against made-up machines.
//!
//! Every fact that a rule looks at is written here; nothing is read.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;

use super::block::PortRanges;
use super::*;
use crate::plan::facts::{BoundSocket, EphemeralPorts};
use crate::plan::reach::{LocalRoute, LocalRoutes, Reach};
use crate::plan::resources::{HostLimits, ThreadBound};
use crate::spec::{Address, Protocol};

/// A machine with loopback and 10.0.0.1/24, on which nothing is the matter.
struct Machine {
    facts: HostFacts,
    groups: Vec<Group>,
    duplicates: u64,
    workers: WorkerCount,
    listeners: u64,
    force: bool,
}

impl Default for Machine {
    fn default() -> Self {
        let route = |network: &str, prefix_len, reach| LocalRoute {
            network: network.parse().expect("an address"),
            prefix_len,
            reach,
            interface: 1,
        };
        let routes = LocalRoutes::from_routes([
            route("127.0.0.0", 8, Reach::Local),
            route("10.0.0.1", 32, Reach::Local),
            route("10.0.0.255", 32, Reach::Broadcast),
            route("::1", 128, Reach::Local),
            route("2001:db8::", 64, Reach::Local),
        ]);
        let limits = HostLimits {
            parallelism: 2,
            nofile_soft: 1024,
            nofile_hard: 20_000,
            fds_open: 4,
            threads_max: 1000,
            threads_bound: ThreadBound::Kernel,
            somaxconn: 4096,
            unprivileged_port_start: 1024,
            can_bind_low_ports: false,
            nonlocal_bind_v4: false,
            nonlocal_bind_v6: false,
        };
        let ephemeral = EphemeralPorts::default();
        Self {
            facts: HostFacts { limits, routes: Some(routes), sockets: Vec::new(), ephemeral },
            groups: Vec::new(),
            duplicates: 0,
            workers: WorkerCount { workers: 2, wanted: 2, limited_by: None },
            listeners: u64::MAX,
            force: false,
        }
    }
}

impl Machine {
    fn serving(blocks: impl IntoIterator<Item = Block>) -> Self {
        let blocks = blocks.into_iter().collect();
        let groups = vec![Group { freebind: false, open_to_all: true, blocks }];
        Self { groups, ..Self::default() }
    }

    fn holding(mut self, protocol: Protocol, ip: &str, port: u16, inode: u64) -> Self {
        self.facts.sockets.push(BoundSocket {
            protocol,
            address: ip.parse().expect("an address"),
            port,
            dual_stack: false,
            inode,
        });
        self
    }

    fn findings(&self) -> Vec<Finding> {
        let names = |inodes: &BTreeSet<u64>| -> BTreeMap<u64, Holder> {
            let holder = |inode: &u64| Holder { name: "python3".into(), pid: *inode as u32 };
            inodes.iter().map(|inode| (*inode, holder(inode))).collect()
        };
        findings(&Inputs {
            admin: None,
            groups: &self.groups,
            duplicates: self.duplicates,
            facts: &self.facts,
            workers: self.workers,
            budget: FdBudget {
                needed: 1148,
                have: 256,
                listeners: self.listeners,
                sessions: 10,
                reserve: 64,
            },
            force: self.force,
            holders: &names,
        })
    }

    /// The only finding.
    fn finding(&self) -> Finding {
        let [finding] = <[Finding; 1]>::try_from(self.findings()).expect("one finding");
        assert!(!finding.fix.is_empty());
        finding
    }

    fn assert(&self, kind: Kind, level: Level, count: u64) -> Finding {
        let finding = self.finding();
        assert_eq!((finding.kind, finding.level, finding.count), (kind, level, count));
        finding
    }
}

fn block(protocol: Protocol, first: &str, last: &str, ports: &PortRanges) -> Block {
    let address = |text: &str| Address::new(text.parse::<IpAddr>().expect("an address"));
    let (first, last) = (address(first), address(last));
    Block { protocol, first, last, ports: Rc::from(ports), port_zeros: 0 }
}

fn tcp(first: &str, last: &str, ports: &PortRanges) -> Block {
    block(Protocol::Tcp, first, last, ports)
}

fn udp(first: &str, last: &str, ports: &PortRanges) -> Block {
    block(Protocol::Udp, first, last, ports)
}

#[test]
fn a_plan_that_fits_the_machine_finds_nothing() {
    let machine = Machine::serving([
        tcp("127.0.0.0", "127.0.0.7", &[(8000, 8010)]),
        udp("127.0.0.0", "127.0.0.7", &[(8000, 8010)]),
        tcp("10.0.0.1", "10.0.0.1", &[(8000, 8010)]),
        tcp("::1", "::1", &[(8000, 8000)]),
        tcp("0.0.0.0", "0.0.0.0", &[(9000, 9000)]),
    ]);
    assert_eq!(machine.findings(), []);
    assert!(reachable(&[]));
}

#[test]
fn endpoints_beyond_the_descriptors_are_counted_with_need_have_and_fix() {
    let plan = [tcp("127.0.0.1", "127.0.0.1", &[(8000, 8999)])];
    let machine = Machine { listeners: 123, ..Machine::serving(plan) };
    let finding = machine.assert(Kind::FdLimit, Level::Error, 877);
    assert!(finding.message.contains("1148") && finding.message.contains("256"));
    assert!(finding.fix.contains("ulimit -Hn 1148"), "{}", finding.fix);
    assert!(!reachable(&[finding]));
}

#[test]
fn fewer_workers_are_a_warning_that_names_the_limit() {
    let limited_by = Some(ThreadBound::CgroupPids);
    let workers = WorkerCount { workers: 6, wanted: 32, limited_by };
    let machine = Machine { workers, ..Machine::default() };
    let finding = machine.assert(Kind::ThreadLimit, Level::Warning, 26);
    assert!(finding.message.contains("pids.max") && reachable(&[finding]));
}

#[test]
fn absent_addresses_are_an_error_unless_they_are_bound_ahead_of_time() {
    let plan = [tcp("10.0.0.0", "10.0.0.3", &[(8000, 8001)])];
    let mut machine = Machine::serving(plan);
    let finding = machine.assert(Kind::NotLocal, Level::Error, 6);
    assert!(finding.message.contains("tcp://10.0.0.0:8000-8001 tcp://10.0.0.2-10.0.0.3:8000-8001"));
    assert!(finding.fix.contains("ip addr add 10.0.0.0/32"), "{}", finding.fix);
    machine.groups[0].freebind = true;
    machine.assert(Kind::NotLocal, Level::Warning, 6);
}

#[test]
fn a_link_local_address_without_its_interface_is_told_to_name_it() {
    let finding = Machine::serving([tcp("fe80::1", "fe80::1", &[(8000, 8000)])]).finding();
    assert_eq!(finding.kind, Kind::NotLocal);
    assert!(finding.fix.contains("[fe80::1%eth0]"), "{}", finding.fix);
}

#[test]
fn an_ipv6_address_that_only_a_prefix_route_covers_needs_freebind() {
    let mut machine = Machine::serving([tcp("2001:db8::1", "2001:db8::2", &[(8000, 8000)])]);
    machine.assert(Kind::NotLocal, Level::Error, 2);
    machine.groups[0].freebind = true;
    assert_eq!(machine.findings(), []);
}

#[test]
fn tcp_on_broadcast_and_multicast_is_unreachable_and_udp_is_not() {
    let ends = ["10.0.0.255", "224.0.0.1"];
    let mut machine = Machine::serving(ends.map(|ip| tcp(ip, ip, &[(8000, 8000)])));
    machine.groups[0].freebind = true;
    let finding = machine.assert(Kind::UnreachableAddress, Level::Error, 2);
    assert!(finding.fix.contains("--exclude '10.0.0.255:*'"), "{}", finding.fix);
    let machine = Machine::serving(ends.map(|ip| udp(ip, ip, &[(8000, 8000)])));
    machine.assert(Kind::UdpExposed, Level::Warning, 2);
}

#[test]
fn an_absent_address_that_a_sysctl_lets_bind_is_unreachable() {
    let mut machine = Machine::serving([tcp("10.0.0.9", "10.0.0.9", &[(8000, 8000)])]);
    machine.facts.limits.nonlocal_bind_v4 = true;
    machine.assert(Kind::UnreachableAddress, Level::Error, 1);
}

#[test]
fn without_a_route_table_no_address_is_doubted() {
    let mut machine = Machine::serving([tcp("10.0.0.9", "10.0.0.9", &[(8000, 8000)])]);
    machine.facts.routes = None;
    assert_eq!(machine.findings(), []);
}

#[test]
fn low_ports_need_a_right_that_is_named() {
    let plan = [tcp("127.0.0.1", "127.0.0.2", &[(7, 7), (1023, 1024)])];
    let mut machine = Machine::serving(plan);
    let finding = machine.assert(Kind::Privileged, Level::Error, 4);
    assert!(finding.message.contains("CAP_NET_BIND_SERVICE"));
    assert!(finding.fix.contains("ip_unprivileged_port_start=7"), "{}", finding.fix);
    machine.facts.limits.can_bind_low_ports = true;
    assert_eq!(machine.findings(), []);
    machine.facts.limits.can_bind_low_ports = false;
    machine.facts.limits.unprivileged_port_start = 0;
    assert_eq!(machine.findings(), []);
}

#[test]
fn a_listener_on_the_same_address_or_the_wildcard_is_in_the_way() {
    let plan = || [tcp("127.0.0.1", "127.0.0.4", &[(8000, 8010)])];
    let machine = Machine::serving(plan())
        .holding(Protocol::Tcp, "127.0.0.2", 8003, 7)
        .holding(Protocol::Tcp, "127.0.0.2", 8004, 7)
        .holding(Protocol::Tcp, "127.0.0.9", 8003, 8)
        .holding(Protocol::Tcp, "127.0.0.2", 8011, 8)
        .holding(Protocol::Udp, "127.0.0.2", 8005, 8);
    let finding = machine.assert(Kind::InUse, Level::Error, 2);
    assert!(finding.message.ends_with("python3 (pid 7) holds tcp://127.0.0.2:8003-8004"));
    assert!(finding.fix.contains("kill 7"), "{}", finding.fix);
    // The wildcard's four include the one on a single address.
    let machine = Machine::serving(plan()).holding(Protocol::Tcp, "0.0.0.0", 8003, 7).holding(
        Protocol::Tcp,
        "127.0.0.2",
        8003,
        8,
    );
    machine.assert(Kind::InUse, Level::Error, 4);
}

#[test]
fn a_wildcard_endpoint_meets_each_socket_of_its_family_once() {
    let machine = Machine::serving([tcp("0.0.0.0", "0.0.0.0", &[(8000, 8010)])])
        .holding(Protocol::Tcp, "127.0.0.1", 8003, 7)
        .holding(Protocol::Tcp, "127.0.0.2", 8003, 8)
        .holding(Protocol::Tcp, "::1", 8004, 9);
    machine.assert(Kind::InUse, Level::Error, 1);
}

#[test]
fn a_dual_stack_socket_holds_its_port_in_both_families() {
    let plan = || [tcp("127.0.0.1", "127.0.0.1", &[(8000, 8000)])];
    let mut machine = Machine::serving(plan()).holding(Protocol::Tcp, "::", 8000, 7);
    assert_eq!(machine.findings(), []);
    machine.facts.sockets[0].dual_stack = true;
    machine.assert(Kind::InUse, Level::Error, 1);
}

#[test]
fn ephemeral_ports_are_counted_and_the_sysctl_keeps_what_it_has() {
    let plan = [tcp("127.0.0.1", "127.0.0.2", &[(40_000, 40_010)])];
    let mut machine = Machine::serving(plan);
    machine.facts.ephemeral.reserved = vec![(40_005, 40_010), (9000, 9000)];
    let finding = machine.assert(Kind::EphemeralOverlap, Level::Warning, 10);
    assert!(finding.fix.contains("ip_local_reserved_ports=9000,40000-40010"), "{}", finding.fix);
    machine.facts.ephemeral.reserved = vec![(40_000, 40_010)];
    assert_eq!(machine.findings(), []);
}

#[test]
fn too_few_free_ephemeral_ports_are_an_error_unless_forced() {
    // Two addresses share out the range: a port is taken wherever it is.
    let plan = || {
        [
            tcp("127.0.0.1", "127.0.0.1", &[(32_768, 49_999)]),
            tcp("127.0.0.2", "127.0.0.2", &[(50_000, 59_976)]),
        ]
    };
    let last = |machine: &Machine| {
        let findings = machine.findings();
        let exhausted = |finding: &&Finding| finding.kind == Kind::EphemeralExhausted;
        findings.iter().find(exhausted).map(|finding| (finding.level, finding.count))
    };
    let mut machine = Machine::serving(plan());
    assert_eq!(last(&machine), Some((Level::Error, 27_209)), "1,023 are left");
    machine.force = true;
    assert_eq!(last(&machine), Some((Level::Warning, 27_209)));
    machine.groups[0].blocks[1].ports = [(50_000, 59_975)].into();
    assert_eq!(last(&machine), None, "1,024 are left");
}

#[test]
fn what_was_merged_is_a_warning() {
    let machine = Machine { duplicates: 3, ..Machine::default() };
    machine.assert(Kind::Duplicate, Level::Warning, 3);
}

#[test]
fn udp_is_exposed_off_loopback_to_all_only() {
    let mut machine = Machine::serving([
        udp("127.0.0.1", "127.0.0.1", &[(8000, 8000)]),
        udp("::1", "::1", &[(8000, 8000)]),
        udp("10.0.0.1", "10.0.0.1", &[(8000, 8001)]),
        udp("0.0.0.0", "0.0.0.0", &[(9000, 9000)]),
        udp("::", "::", &[(9000, 9000)]),
    ]);
    machine.assert(Kind::UdpExposed, Level::Warning, 4);
    machine.groups[0].open_to_all = false;
    assert_eq!(machine.findings(), []);
}

#[test]
fn errors_come_before_warnings() {
    let plan = [udp("10.0.0.1", "10.0.0.2", &[(7, 7), (40_000, 40_000)])];
    let machine = Machine { duplicates: 1, ..Machine::serving(plan) };
    let findings = machine.findings();
    assert!(findings.len() >= 5 && findings.is_sorted_by_key(|it| it.level), "{findings:?}");
}

#[test]
fn millions_of_endpoints_are_judged_by_a_few_ranges() {
    let plan = [
        tcp("10.0.0.0", "10.255.255.255", &[(1, 65_535)]),
        udp("2001:db9::", "2001:db9::ffff:ffff:ffff", &[(1, 65_535)]),
    ];
    let findings = Machine::serving(plan).findings();
    assert!(findings.iter().any(|finding| finding.kind == Kind::NotLocal));
    assert!(findings.iter().all(|finding| finding.message.len() < 600), "{findings:?}");
}
