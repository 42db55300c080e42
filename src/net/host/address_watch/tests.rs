//! Addresses that leave and return, in a network namespace of each test's own;
//! needs root and ip(8).

mod network;

use std::future::Future;
use std::process::{Command, Stdio};
use std::task::{Context, Waker};

use network::{LONG, Sockets, in_own_network, ip};
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{setsockopt, sockopt};

use super::*;
use crate::net::bind::{self, BindOptions};
use crate::plan::reach::LocalRoutes;
use crate::spec::{Address, Endpoint, Port, Protocol, Zone};

/// Fails when no change comes.
async fn change(watch: &mut AddressWatch) {
    let changed = tokio::time::timeout(LONG, watch.changed()).await;
    changed.expect("a change in time").expect("a watch that works");
}

/// Takes changes until the table says `served` of `endpoint`.
async fn until_served(watch: &mut AddressWatch, endpoint: &Endpoint, served: bool) {
    loop {
        change(watch).await;
        if LocalRoutes::read().expect("a table").serves(endpoint, false) == served {
            return;
        }
    }
}

fn served(endpoint: &Endpoint) -> bool {
    LocalRoutes::read().expect("a table").serves(endpoint, false)
}

fn address(text: &str) -> Address {
    Address::new(text.parse().expect("an address"))
}

fn zoned(text: &str, interface: &str) -> Address {
    let index = if_nametoindex(interface).expect("an interface");
    let zone = Zone::new(interface, index).expect("a short name");
    Address::with_zone(text.parse().expect("an address"), zone)
}

#[test]
fn an_address_that_leaves_and_returns_is_served_again_on_the_same_sockets() {
    in_own_network(async || {
        for (text, words) in [("10.1.1.1", "10.1.1.1/24"), ("fd00::1", "fd00::1/64")] {
            ip(&format!("addr add {words} dev veth0 nodad"));
            let sockets = Sockets::on(address(text));
            let endpoint = sockets.tcp.0;
            let mut watch = AddressWatch::open().expect("a watch");
            for _ in 0..2 {
                assert!(served(&endpoint) && sockets.answer(), "{text}");
                ip(&format!("addr del {words} dev veth0"));
                until_served(&mut watch, &endpoint, false).await;
                assert!(!sockets.answer(), "{text} is gone");
                ip(&format!("addr add {words} dev veth0 nodad"));
                until_served(&mut watch, &endpoint, true).await;
            }
            assert!(sockets.answer(), "{text} is back");
        }
    });
}

#[test]
fn a_link_that_goes_down_takes_its_ipv6_addresses_and_leaves_the_ipv4_ones() {
    in_own_network(async || {
        ip("addr add 10.1.1.1/24 dev veth0\naddr add fd00::1/64 dev veth0 nodad");
        let mut watch = AddressWatch::open().expect("a watch");
        let (four, six) = (Sockets::on(address("10.1.1.1")), Sockets::on(address("fd00::1")));
        ip("link set veth0 down");
        until_served(&mut watch, &six.tcp.0, false).await;
        assert!(!six.answer());
        assert!(served(&four.tcp.0) && four.answer(), "the machine still answers for it");
        ip("link set veth0 up");
        change(&mut watch).await;
        assert!(!served(&six.tcp.0), "a link that comes up brings no IPv6 address back");
        ip("addr add fd00::1/64 dev veth0 nodad");
        until_served(&mut watch, &six.tcp.0, true).await;
        assert!(six.answer() && four.answer());
    });
}

#[test]
fn an_ipv6_address_is_served_only_once_no_neighbour_claims_it() {
    in_own_network(async || {
        let mut watch = AddressWatch::open().expect("a watch");
        let endpoint = Endpoint {
            protocol: Protocol::Tcp,
            address: address("fd00::1"),
            port: Port::Number(80),
        };
        ip("addr add fd00::1/64 dev veth0");
        assert!(!served(&endpoint), "duplicate address detection takes a second");
        let options = BindOptions { freebind: false, backlog: 8, receive_buffer: None };
        let refused = bind::bind(&endpoint, &options).expect_err("a tentative address");
        assert_eq!(refused.raw_os_error(), Some(libc::EADDRNOTAVAIL));
        until_served(&mut watch, &endpoint, true).await;
        bind::bind(&endpoint, &options).expect("the address is settled");
    });
}

#[test]
fn an_interface_that_is_made_again_brings_its_addresses_back_but_not_its_zone() {
    in_own_network(async || {
        let setup = "link add again0 type veth peer name again1
            link set again0 addrgenmode none
            addr add 10.1.1.1/24 dev again0
            addr add fe80::7/64 dev again0 nodad
            link set again0 up
            link set again1 up";
        ip(setup);
        let mut watch = AddressWatch::open().expect("a watch");
        let (four, link) =
            (Sockets::on(address("10.1.1.1")), Sockets::on(zoned("fe80::7", "again0")));
        assert!(four.answer() && link.answer());
        ip("link del again0");
        until_served(&mut watch, &four.tcp.0, false).await;
        assert!(!served(&link.tcp.0) && !four.answer() && !link.answer());
        ip(setup);
        until_served(&mut watch, &four.tcp.0, true).await;
        assert!(four.answer(), "an IPv4 socket knows no interface");
        let now = Sockets::on(zoned("fe80::7", "again0"));
        assert!(served(&now.tcp.0) && now.answer());
        assert!(!served(&link.tcp.0), "the index of before is nobody's");
        assert!(!link.answer(), "a socket on a zone belongs to the interface that is gone");
    });
}

#[test]
fn an_interface_that_leaves_the_namespace_takes_its_addresses_with_it() {
    in_own_network(async || {
        ip("addr add 10.1.1.1/24 dev veth0");
        let mut watch = AddressWatch::open().expect("a watch");
        let sockets = Sockets::on(address("10.1.1.1"));
        let mut elsewhere = Command::new("unshare")
            .args(["-n", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("unshare starts");
        // The namespace is the child's own only after it became `cat`.
        let name = format!("/proc/{}/comm", elsewhere.id());
        while std::fs::read_to_string(&name).expect("procfs") != "cat\n" {
            std::thread::yield_now();
        }
        ip(&format!("link set veth0 netns {}", elsewhere.id()));
        until_served(&mut watch, &sockets.udp.0, false).await;
        assert!(!sockets.answer());
        drop(elsewhere.stdin.take());
        elsewhere.wait().expect("cat ends with its input");
    });
}

#[test]
fn a_burst_is_one_change_and_its_confirmation() {
    in_own_network(async || {
        let mut watch = AddressWatch::open().expect("a watch");
        let lines: Vec<_> = (1..=50).map(|n| format!("addr add 10.1.1.{n}/32 dev veth0")).collect();
        ip(&lines.join("\n"));
        let start = Instant::now();
        change(&mut watch).await;
        assert!(!watch.drain().expect("a watch that works"), "nothing of the burst is left");
        change(&mut watch).await;
        assert!(start.elapsed() >= CONFIRM, "{:?}", start.elapsed());
        assert!(watch.confirm.is_none() && watch.due.is_none(), "a confirmation is the last");
    });
}

#[test]
fn news_that_were_lost_count_as_a_change() {
    in_own_network(async || {
        let small = || {
            let fd = netlink::subscribe(SockProtocol::NetlinkRoute, GROUPS).expect("a socket");
            setsockopt(&fd, sockopt::RcvBuf, &1).expect("the least buffer");
            fd
        };
        let (twin, mut watch) = (small(), AddressWatch::on(small()).expect("a watch"));
        // None of these matters by itself.
        let lines: Vec<_> =
            (1..=99).map(|n| format!("route add 10.9.{n}.0/24 dev veth0")).collect();
        ip(&lines.join("\n"));
        let lost = std::iter::from_fn(|| netlink::receive(&twin, &mut [0; 9]).err());
        assert_eq!(lost.take(1).next().and_then(|e| e.raw_os_error()), Some(libc::ENOBUFS));
        change(&mut watch).await;
    });
}

#[test]
fn routes_that_are_not_local_wake_no_reader() {
    in_own_network(async || {
        let lines: Vec<_> = (1..=99).map(|n| format!("route add 10.9.{n}.0/24 dev lo")).collect();
        let mut watch = AddressWatch::open().expect("a watch");
        ip(&lines.join("\n"));
        poll_fn(|cx| watch.socket.poll_ready(cx)).await.expect("news");
        assert!(!watch.drain().expect("a watch that works"));
        assert!(watch.socket.try_io(|_| Ok(())).is_err(), "all of it was read");
    });
}

#[test]
fn a_call_that_is_dropped_early_hides_no_change() {
    in_own_network(async || {
        let mut watch = AddressWatch::open().expect("a watch");
        ip("addr add 10.1.1.1/32 dev veth0");
        poll_fn(|cx| watch.socket.poll_ready(cx)).await.expect("news");
        let mut polls = 0;
        // Polled once and dropped, again and again, faster than a burst settles.
        loop {
            let mut call = std::pin::pin!(watch.changed());
            let mut cx = Context::from_waker(Waker::noop());
            polls += 1;
            if call.as_mut().poll(&mut cx).is_ready() {
                break;
            }
            tokio::time::sleep(SETTLE / 10).await;
            assert!(polls < 1_000, "it starts over with each call");
        }
        assert!(polls > 1, "a burst settles first");
    });
}

/// A message of that type whose body has one byte that is not zero.
fn message(kind: u16, at: usize, value: u8) -> Vec<u8> {
    let mut body = vec![0; 32];
    body[at] = value;
    let length = 16 + body.len() as u32;
    [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], &body].concat()
}

#[test]
fn only_addresses_local_routes_and_links_that_go_up_or_down_are_changes() {
    for (kind, at, value, change) in [
        (libc::RTM_NEWADDR, 0, 0, true),
        (libc::RTM_DELADDR, 0, 0, true),
        (libc::RTM_DELLINK, 0, 0, true),
        (libc::RTM_NEWROUTE, 4, libc::RT_TABLE_LOCAL, true),
        (libc::RTM_DELROUTE, 4, libc::RT_TABLE_LOCAL, true),
        (libc::RTM_NEWROUTE, 4, libc::RT_TABLE_MAIN, false),
        (libc::RTM_DELROUTE, 4, libc::RT_TABLE_MAIN, false),
        (libc::RTM_NEWLINK, 12, 1, true),
        (libc::RTM_NEWLINK, 13, 1, false),
        (libc::RTM_NEWNEIGH, 0, 0, false),
    ] {
        let message = message(kind, at, value);
        assert_eq!(tells_of_change(&message), change, "{kind} {at} {value}");
        let quiet = self::message(libc::RTM_NEWNEIGH, 0, 0);
        assert_eq!(tells_of_change(&[quiet, message].concat()), change, "the second one");
    }
}

#[test]
fn news_that_contradict_their_length_count_as_a_change_and_never_panic() {
    let whole = message(libc::RTM_NEWROUTE, 4, libc::RT_TABLE_MAIN);
    for length in 16..whole.len() {
        assert!(tells_of_change(&whole[..length]), "{length}");
    }
    for length in [0_u32, 15, 17, u32::MAX] {
        let mut odd = whole.clone();
        odd[..4].copy_from_slice(&length.to_ne_bytes());
        assert!(tells_of_change(&odd), "{length}");
    }
}
