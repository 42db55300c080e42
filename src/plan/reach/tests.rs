//! Answers of a small table, address by address and range by range.

use super::*;
use crate::spec::{Port, Zone};

fn route(network: &str, prefix_len: u8, reach: Reach) -> LocalRoute {
    LocalRoute { network: network.parse().expect("an address"), prefix_len, reach, interface: 2 }
}

fn address(text: &str) -> Address {
    Address::new(text.parse().expect("an address"))
}

fn machine() -> LocalRoutes {
    LocalRoutes::from_routes([
        route("127.0.0.0", 8, Reach::Local),
        route("127.0.0.1", 32, Reach::Local),
        route("127.255.255.255", 32, Reach::Broadcast),
        route("192.0.2.2", 32, Reach::Local),
        route("192.0.2.255", 32, Reach::Broadcast),
        route("::1", 128, Reach::Local),
        route("2001:db8::", 64, Reach::Local),
        route("2001:db8:1::7", 128, Reach::Local),
        route("fe80::1", 128, Reach::Local),
        route("ff00::", 8, Reach::Multicast),
    ])
}

#[test]
fn each_kind_of_address_is_told_apart() {
    let routes = machine();
    for (text, reach) in [
        ("127.9.9.9", Reach::Local),
        ("127.255.255.255", Reach::Broadcast),
        ("192.0.2.2", Reach::Local),
        ("192.0.2.3", Reach::Absent),
        ("192.0.2.255", Reach::Broadcast),
        ("255.255.255.255", Reach::Broadcast),
        ("0.0.0.0", Reach::Wildcard),
        ("0.1.2.3", Reach::Absent),
        ("224.0.0.1", Reach::Multicast),
        ("::", Reach::Wildcard),
        ("::1", Reach::Local),
        ("::2", Reach::Absent),
        ("ff02::1", Reach::Multicast),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Reach::Multicast),
    ] {
        assert_eq!(routes.classify(&address(text)), reach, "{text}");
    }
}

#[test]
fn a_link_local_address_is_local_only_in_its_own_zone() {
    let routes = machine();
    let ip = "fe80::1".parse().expect("an address");
    let there = |index| Address::with_zone(ip, Zone::new("eth0", index).expect("a zone"));
    assert_eq!(routes.classify(&there(2)), Reach::Local);
    assert_eq!(routes.classify(&there(3)), Reach::Absent);
    assert_eq!(routes.classify(&address("fe80::1")), Reach::Absent);
}

#[test]
fn an_ipv6_prefix_route_is_reachable_but_not_bindable() {
    let routes = machine();
    let only = |text| {
        let address = address(text);
        routes.spans(address, address).next().expect("a span")
    };
    assert!(only("2001:db8::5").reach == Reach::Local && !only("2001:db8::5").bindable);
    assert!(only("2001:db8:1::7").bindable);
    assert!(only("127.3.3.3").bindable, "IPv4 binds what a prefix covers");
}

#[test]
fn a_range_is_answered_by_few_spans() {
    let routes = machine();
    let spans: Vec<_> =
        routes.spans(address("127.0.0.0"), address("128.0.0.9")).map(|span| span.reach).collect();
    assert_eq!(spans, [Reach::Local, Reach::Broadcast, Reach::Absent]);
    assert_eq!(routes.spans(address("::1"), address("127.0.0.1")).count(), 0);
    assert_eq!(routes.spans(address("127.0.0.2"), address("127.0.0.1")).count(), 0);
}

#[test]
fn a_default_route_in_the_table_leaves_the_fixed_addresses_alone() {
    let routes = LocalRoutes::from_routes([route("0.0.0.0", 0, Reach::Local)]);
    assert_eq!(routes.classify(&address("8.8.8.8")), Reach::Local);
    assert_eq!(routes.classify(&address("0.0.0.0")), Reach::Wildcard);
    assert_eq!(routes.classify(&address("239.1.1.1")), Reach::Multicast);
    let odd = LocalRoutes::from_routes([route("224.0.0.5", 32, Reach::Local)]);
    assert_eq!(odd.classify(&address("224.0.0.5")), Reach::Multicast);
}

#[test]
fn spans_cover_a_family_without_gap_or_overlap() {
    for spans in [machine().v4, machine().v6] {
        assert_eq!(spans[0].first, 0);
        assert!(spans.windows(2).all(|pair| pair[0].last + 1 == pair[1].first));
    }
    assert_eq!(machine().v4.last().map(|span| span.last), Some(u128::from(u32::MAX)));
    assert_eq!(machine().v6.last().map(|span| span.last), Some(u128::MAX));
}

fn endpoint(protocol: Protocol, address: Address) -> Endpoint {
    Endpoint { protocol, address, port: Port::Number(80) }
}

#[test]
fn a_running_endpoint_is_served_as_long_as_datagrams_or_connections_can_arrive() {
    let routes = machine();
    for (text, tcp, udp) in [
        ("0.0.0.0", true, true),
        ("::", true, true),
        ("127.9.9.9", true, true),
        ("192.0.2.2", true, true),
        ("192.0.2.3", false, false),
        ("2001:db8::5", true, true),
        ("2001:db9::5", false, false),
        ("192.0.2.255", false, true),
        ("224.0.0.1", false, true),
        ("ff02::1", false, true),
        ("fe80::1", false, false),
    ] {
        for (protocol, served) in [(Protocol::Tcp, tcp), (Protocol::Udp, udp)] {
            let endpoint = endpoint(protocol, address(text));
            assert_eq!(routes.serves(&endpoint, false), served, "{endpoint}");
            assert!(routes.serves(&endpoint, true), "freebind {endpoint}");
        }
    }
    let zoned = |index| {
        let ip = "fe80::1".parse().expect("an address");
        Address::with_zone(ip, Zone::new("eth0", index).expect("a zone"))
    };
    assert!(routes.serves(&endpoint(Protocol::Tcp, zoned(2)), false));
    assert!(!routes.serves(&endpoint(Protocol::Tcp, zoned(3)), false), "another interface");
}
