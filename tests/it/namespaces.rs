//! What needs a network of its own: addresses that come later, whole port ranges,
//! wildcards on fixed ports, links that go down (faults 5, 12 and 31).

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::common::{
    Ipcow, Namespace, Need, connect, counts, echo_tcp, echo_udp, eventually, needs, udp_client,
};

#[test]
fn an_address_that_comes_later_is_served_without_a_restart() {
    if !needs(&[Need::Root, Need::Tool("ip")]) {
        return;
    }
    let namespace = Namespace::new();
    let later: Ipv4Addr = "10.77.0.1".parse().expect("an address");
    namespace.enter(|| {
        let mut server = Ipcow::serve(["both://10.77.0.1,127.0.0.1:8000"])
            .set("retry.max_attempts=2")
            .set("retry.initial_backoff_ms=10")
            .set("retry.quarantine_probe_secs=1")
            .start();
        let ready = server.ready();
        assert_eq!((ready.state(), ready.endpoints("listening")), ("degraded", 2));
        for endpoint in ["tcp://10.77.0.1:8000", "udp://10.77.0.1:8000"] {
            assert_eq!(ready.failure(endpoint)["errno"], "EADDRNOTAVAIL");
        }
        namespace.ip("addr add 10.77.0.1/32 dev lo");
        server.event("recovered");
        server.event("recovered");
        echo_tcp(&mut connect((later, 8_000).into()), b"it came");
        echo_udp(&udp_client((later, 8_000).into()), b"it came");
        server.terminate().expect_code(0);
    });
}

#[test]
fn clients_whose_link_goes_down_without_a_word_are_noticed_by_keepalive() {
    if !needs(&[Need::Root, Need::Tool("ip")]) {
        return;
    }
    let (near, far) = (Namespace::new(), Namespace::new());
    near.ip("link add lan0 type veth peer name lan1");
    near.give_link("lan1", &far);
    for (namespace, link, address) in [(&near, "lan0", "10.79.0.1"), (&far, "lan1", "10.79.0.2")] {
        namespace.ip(&format!("addr add {address}/24 dev {link}"));
        namespace.ip(&format!("link set {link} up"));
    }
    near.enter(|| {
        let mut server = Ipcow::serve(["tcp://10.79.0.1:8000"])
            .set("session.keepalive_secs=1")
            .set("session.idle_timeout_secs=0")
            .start();
        assert_eq!(server.ready().endpoints("listening"), 1);
        let at = "10.79.0.1:8000".parse().expect("an address");
        let baseline = server.sockets();
        // The first have their options from a call, the others from the listening socket.
        let mut clients: Vec<_> = (0..8).map(|_| far.enter(|| connect(at))).collect();
        for client in &mut clients {
            echo_tcp(client, b"here");
        }
        assert_eq!(server.sockets(), baseline + clients.len());
        far.ip("link set lan1 down");
        // Five seconds is the promise; the rest is for a machine that is busy.
        assert!(eventually(Duration::from_secs(20), || server.sockets() == baseline));
        let summary = server.terminate().expect_code(0).summary();
        assert_eq!(counts(&summary, "sessions", ["closed", "failed", "forced"]), [0, 8, 0]);
        assert_eq!(summary["errors"]["by_kind"]["session_reset"], 8, "{summary}");
    });
}

#[test]
fn freebind_serves_an_address_before_it_comes() {
    if !needs(&[Need::Root, Need::Tool("ip")]) {
        return;
    }
    let namespace = Namespace::new();
    namespace.enter(|| {
        let mut server = Ipcow::serve(["tcp://10.77.0.1:8000"])
            .set("listen_defaults.freebind=true")
            .without_retries()
            .start();
        let ready = server.ready();
        assert_eq!((ready.state(), ready.endpoints("listening")), ("ready", 1));
        namespace.ip("addr add 10.77.0.1/32 dev lo");
        echo_tcp(&mut connect("10.77.0.1:8000".parse().expect("an address")), b"it came");
    });
}

#[test]
fn both_wildcards_share_a_port_because_ipv6_is_v6_only() {
    if !needs(&[Need::Root, Need::Tool("ip")]) {
        return;
    }
    Namespace::new().enter(|| {
        let mut server = Ipcow::serve(["both://*:8000"]).without_retries().start();
        let ready = server.ready();
        assert_eq!((ready.state(), ready.endpoints("listening")), ("ready", 4));
        for at in [(Ipv4Addr::LOCALHOST, 8_000).into(), (Ipv6Addr::LOCALHOST, 8_000).into()] {
            echo_tcp(&mut connect(at), b"either family");
            echo_udp(&udp_client(at), b"either family");
        }
        server.terminate().expect_code(0);
    });
}

#[test]
fn a_broadcast_address_is_quarantined_although_linux_would_bind_it() {
    if !needs(&[Need::Root, Need::Tool("ip")]) {
        return;
    }
    let namespace = Namespace::new();
    namespace.ip("link add lan0 type veth peer name lan1");
    namespace.ip("addr add 10.78.0.1/24 brd 10.78.0.255 dev lan0");
    namespace.ip("link set lan0 up");
    namespace.enter(|| {
        let mut server =
            Ipcow::serve(["tcp://10.78.0.1,10.78.0.255:8000"]).without_retries().start();
        let ready = server.ready();
        assert_eq!((ready.state(), ready.endpoints("listening")), ("degraded", 1));
        assert_eq!(ready.failure("tcp://10.78.0.255:8000")["state"], "quarantined");
        let plan = Ipcow::plan(["tcp://10.78.0.1,10.78.0.255:8000"]).run().expect_code(1).json();
        let finding = &plan["findings"][0];
        assert_eq!(finding["kind"], "unreachable_address", "{plan}");
        assert_eq!((&finding["level"], &finding["count"]), (&"error".into(), &1.into()));
    });
}

#[test]
fn an_interface_is_served_on_every_address_it_has() {
    if !needs(&[Need::Root, Need::Tool("ip")]) {
        return;
    }
    let namespace = Namespace::new();
    namespace.ip("link add lan0 type veth peer name lan1");
    namespace.ip("addr add 10.78.0.1/24 dev lan0");
    namespace.ip("addr add 10.78.0.2/24 dev lan0");
    namespace.ip("link set lan0 up");
    namespace.enter(|| {
        let mut server = Ipcow::serve(["tcp://if:lan0,!10.78.0.2:8000"]).start();
        // Its link-local IPv6 address counts where the kernel gave it one.
        assert!(server.ready().endpoints("total") >= 1);
        echo_tcp(&mut connect("10.78.0.1:8000".parse().expect("an address")), b"by name");
        assert!(crate::common::refused("10.78.0.2:8000".parse().expect("an address")));
    });
}

#[test]
fn taking_every_ephemeral_port_is_refused_unless_forced() {
    if !needs(&[Need::Root, Need::Tool("ip")]) {
        return;
    }
    Namespace::new().enter(|| {
        let all = "tcp://127.0.0.1:1024-65535";
        let plan = Ipcow::plan([all]).run().expect_code(1).json();
        let kinds = plan["findings"].as_array().expect("a list").clone();
        let finding = kinds.iter().find(|finding| finding["kind"] == "ephemeral_exhausted");
        assert_eq!(finding.map(|found| found["level"].clone()), Some("error".into()), "{plan}");
    });
}
