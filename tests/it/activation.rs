//! Sockets that were open before the program: systemd's, by `LISTEN_FDS`.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use serde_json::json;

use crate::common::{
    Block, DEADLINE, Ipcow, NO_SPECS, Namespace, Need, assert_free, connect, counts, echo_tcp,
    echo_udp, eventually, needs, read_to_fin, refused, udp_client,
};

/// Becomes a program that holds these sockets as systemd would give them: `tcp:ADDR:PORT`
/// listens, `bound:…` is bound and no more, `udp:…` takes datagrams, `dual:PORT` is `[::]`
/// for IPv4 too.
const PARENT: &str = r#"
import os, socket, sys
words, command = sys.argv[1].split(","), sys.argv[2:]
held = []
for word in words:
    kind, at = word.split(":", 1)
    family = socket.AF_INET6 if kind == "dual" else socket.AF_INET
    made = socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    if kind == "dual":
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind(("::", int(at)))
    else:
        host, port = at.rsplit(":", 1)
        made.bind((host, int(port)))
    if kind == "tcp":
        made.listen(16)
    held.append(made)
copies = [os.dup(made.fileno()) for made in held]
top = max(copies + [made.fileno() for made in held]) + len(held) + 4
for copy in [os.dup2(copy, top + place) for place, copy in enumerate(copies)]:
    pass
for place in range(len(held)):
    os.dup2(top + place, 3 + place, inheritable=True)
    os.close(top + place)
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = str(len(held))
os.environ["LISTEN_FDNAMES"] = ":".join("s%d" % place for place in range(len(held)))
os.execvp(command[0], command)
"#;

fn held(ipcow: Ipcow, sockets: &[String]) -> Ipcow {
    ipcow.under(["python3", "-c", PARENT, &sockets.join(",")])
}

fn tcp(at: SocketAddr) -> String {
    format!("tcp:{at}")
}

fn udp(at: SocketAddr) -> String {
    format!("udp:{at}")
}

#[test]
fn endpoints_of_the_plan_are_served_from_the_sockets_that_systemd_gave() {
    if !needs(&[Need::Tool("python3")]) {
        return;
    }
    let block = Block::new();
    let specs = [format!("both://{}:8000-8001", block.ip(0))];
    let sockets = [tcp(block.at(8000)), udp(block.at(8000)), format!("bound:{}", block.at(8001))];
    let mut server = held(Ipcow::serve(specs).set("listen_defaults.backlog=7"), &sockets).start();
    let ready = server.ready();
    assert_eq!((ready.state(), ready.endpoints("listening")), ("ready", 4));
    for port in [8000, 8001] {
        echo_tcp(&mut connect(block.at(port)), b"given or bound");
        echo_udp(&udp_client(block.at(port)), b"given or bound");
    }
    assert!(server.stderr().contains("serving from sockets that were given"));
    let done = server.terminate().expect_code(0);
    assert_eq!(counts(&done.summary(), "sessions", ["accepted"]), [2]);
    assert_eq!(counts(&done.summary(), "datagrams", ["received", "replied"]), [2, 2]);
    assert_free([block.at(8000), block.at(8001)]);
}

#[test]
fn without_a_spec_exactly_what_was_given_is_served() {
    if !needs(&[Need::Tool("python3")]) {
        return;
    }
    let block = Block::new();
    let sockets = [tcp(block.at(8000)), udp(block.at(8009))];
    let mut server = held(Ipcow::serve(NO_SPECS), &sockets).start();
    let ready = server.ready();
    assert_eq!((ready.endpoints("total"), ready.endpoints("listening")), (2, 2));
    echo_tcp(&mut connect(block.at(8000)), b"as if an argument named it");
    echo_udp(&udp_client(block.at(8009)), b"as if an argument named it");
    assert!(refused(block.at(8009)));
    server.terminate().expect_code(0);
}

#[test]
fn a_given_socket_that_no_endpoint_is_for_is_closed_and_named() {
    if !needs(&[Need::Tool("python3")]) {
        return;
    }
    let block = Block::new();
    let specs = [format!("tcp://{}:8000", block.ip(0))];
    let sockets = [tcp(block.at(8000)), tcp(block.at(8005)), "dual:0".to_owned()];
    let mut server = held(Ipcow::serve(specs), &sockets).start();
    server.ready();
    assert!(eventually(DEADLINE, || refused(block.at(8005))));
    let said = server.stderr();
    assert!(said.contains(&format!("\"{}\"", block.at(8005))), "{said}");
    assert!(said.contains("BindIPv6Only= must be ipv6-only"), "{said}");
    server.terminate().expect_code(0);
}

#[test]
fn variables_that_do_not_describe_the_sockets_are_refused_by_name() {
    let specs = ["tcp://127.0.0.1:0"];
    let wrapper = ["sh", "-c", r#"LISTEN_PID=$$ LISTEN_FDS=7 exec "$@""#, "sh"];
    Ipcow::serve(specs).under(wrapper).run().expect_refusal(78, &["LISTEN_FDS", "unset"]);
    // Somebody else's are none of its business.
    let server = Ipcow::serve(specs).env("LISTEN_PID", "1").env("LISTEN_FDS", "7");
    server.args(["--once"]).run().expect_code(0);
}

#[test]
fn in_use_means_others_and_not_the_sockets_that_were_given() {
    if !needs(&[Need::Tool("python3"), Need::Root, Need::Tool("ip")]) {
        return;
    }
    let block = Block::new();
    // The word speaks of the whole machine: one on which no other test names a port.
    Namespace::new().enter(|| {
        let _other = TcpListener::bind((block.ip(1), 8_001)).expect("a fresh address");
        let specs = [format!("tcp://{}:8000-8003,!in-use", block.ip(0))];
        let mut server = held(Ipcow::serve(specs), &[tcp(block.at(8002))]).start();
        let ready = server.ready();
        assert_eq!((ready.endpoints("total"), ready.endpoints("listening")), (3, 3));
        assert!(!server.stderr().contains("in_use"), "{}", server.stderr());
        assert!(refused(block.at(8001)), "somebody else's port is left out");
        server.terminate().expect_code(0);
    });
}

#[test]
fn a_client_that_connected_before_the_program_ran_is_served() {
    if !needs(&[Need::Tool("systemd-socket-activate")]) {
        return;
    }
    let block = Block::new();
    let listen = format!("--listen={}", block.at(8000));
    // It starts the program for the first client, which waits in the backlog till then.
    let server = Ipcow::serve(NO_SPECS).under(["systemd-socket-activate", &listen]);
    let mut server = server.start();
    let mut client = None;
    assert!(eventually(DEADLINE, || {
        client = std::net::TcpStream::connect_timeout(&block.at(8000), DEADLINE).ok();
        client.is_some()
    }));
    let mut client = client.expect("it connected");
    client.set_read_timeout(Some(Duration::from_secs(60))).expect("a legal timeout");
    client.write_all(b"first!!quit!!").expect("the backlog");
    assert_eq!(read_to_fin(&mut client), b"first");
    assert_eq!(server.ready().0["endpoints"]["total"], json!(1));
    let done = server.terminate().expect_code(0);
    assert_eq!(counts(&done.summary(), "sessions", ["accepted", "closed"]), [1, 1]);
}
