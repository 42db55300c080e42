//! Link-local endpoints whose interface is deleted and made again: the same name, and
//! another number, which their sockets do not hear.
//!
//! In network namespaces, on the built program.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

use nix::net::if_::if_nametoindex;

use crate::common::{Ipcow, Namespace, connect, echo_tcp, echo_udp, udp_client};
use crate::running_listeners::{asked, can_run, counts_become, recovered, sockets};

const ZONED: [&str; 2] = ["tcp://[fe80::7%lan0]:8000", "udp://[fe80::7%lan0]:8000"];

fn make(namespace: &Namespace) {
    namespace.ip("link add lan0 type veth peer name lan1");
    namespace.ip("link set lan0 addrgenmode none");
    namespace.ip("link set lan1 up");
    namespace.ip("link set lan0 up");
}

/// The endpoint's address in the zone of this moment.
fn here() -> SocketAddr {
    let index = if_nametoindex("lan0").expect("the interface is there");
    let ip: Ipv6Addr = "fe80::7".parse().expect("an address");
    SocketAddr::V6(SocketAddrV6::new(ip, 8_000, 0, index))
}

fn both_echo() {
    echo_tcp(&mut connect(here()), b"in the present zone");
    echo_udp(&udp_client(here()), b"in the present zone");
}

#[test]
fn a_link_local_endpoint_is_served_again_when_its_interface_is_made_again() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    make(&namespace);
    namespace.ip("addr add fe80::7/64 dev lan0 nodad");
    namespace.enter(|| {
        let specs = ["both://[fe80::7%lan0]:8000", "both://127.0.0.1:8000", "--workers", "1"];
        let mut server = Ipcow::serve(specs).start();
        assert_eq!(server.ready().state(), "ready");
        let mut neighbour = connect("127.0.0.1:8000".parse().expect("an address"));
        both_echo();
        for round in 0..3_u8 {
            namespace.ip("link del lan0");
            counts_become(&server, 2, 2);
            assert_eq!(asked(&server)["chunks_completed"], 0, "completed hides no dead socket");
            make(&namespace);
            // The interface is there before its address.
            counts_become(&server, 2, 2);
            namespace.ip("addr add fe80::7/64 dev lan0 nodad");
            assert_eq!(recovered(&mut server, 2), ZONED);
            both_echo();
            counts_become(&server, 4, 0);
            assert_eq!(asked(&server)["chunks_completed"], 1);
            assert_eq!(sockets().len(), 4, "the dead sockets are closed");
            echo_tcp(&mut neighbour, &[round]);
        }
        drop(neighbour);
        let summary = server.terminate().expect_code(0).summary();
        assert_eq!(summary["errors"]["by_kind"], serde_json::json!({"address_lost": 6}));
        assert_eq!(summary["sessions"]["failed"], 0);
    });
}

#[test]
fn an_interface_that_is_replaced_at_once_is_served_again_too() {
    if !can_run() {
        return;
    }
    let namespace = Namespace::new();
    make(&namespace);
    namespace.ip("addr add fe80::7/64 dev lan0 nodad");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("again");
    let batch = "link del lan0\nlink add lan0 type veth peer name lan1\n\
                 link set lan0 addrgenmode none\nlink set lan1 up\nlink set lan0 up\n\
                 addr add fe80::7/64 dev lan0 nodad\n";
    std::fs::write(&file, batch).expect("room for a list");
    namespace.enter(|| {
        let mut server = Ipcow::serve(["both://[fe80::7%lan0]:8000"]).start();
        assert_eq!(server.ready().state(), "ready");
        for _ in 0..3 {
            let dead = here();
            namespace.ip(&format!("-b {}", file.display()));
            assert_ne!(here(), dead, "the interface has another number");
            assert_eq!(recovered(&mut server, 2), ZONED);
            both_echo();
        }
        server.terminate().expect_code(0);
    });
}
