//! A network of a test's own, and sockets in it that clients try to reach.

use std::future::Future;
use std::io::Write;
use std::net::{IpAddr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};

use crate::net::bind::{self, BindOptions, Bound};
use crate::plan::reach::{LocalRoutes, Reach};
use crate::spec::{Address, Endpoint, Port, Protocol};

/// How long what must come may take.
pub(super) const LONG: Duration = Duration::from_secs(20);

const VETH: &str = "link set lo up
    link add veth0 type veth peer name veth1
    link set veth0 addrgenmode none
    link set veth1 addrgenmode none
    link set veth0 up
    link set veth1 up";

/// Runs ip(8) with these lines, in one process.
pub(super) fn ip(lines: &str) {
    assert!(ip_says(lines), "ip -batch: {lines}");
}

fn ip_says(lines: &str) -> bool {
    let ip = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn();
    let Ok(mut ip) = ip else { return false };
    let sent = ip.stdin.take().is_some_and(|mut pipe| pipe.write_all(lines.as_bytes()).is_ok());
    ip.wait().is_ok_and(|status| status.success()) && sent
}

/// Waits until the kernel's own work on a new link is done: it announces the carrier,
/// and runs IPv6 on it, after `ip` has returned.
fn wait_for_links() {
    for link in ["veth0", "veth1"] {
        let up = || {
            let shown = Command::new("ip").args(["-o", "link", "show", link]).output();
            String::from_utf8_lossy(&shown.expect("ip starts").stdout).contains("state UP")
        };
        while !up() {
            std::thread::yield_now();
        }
    }
}

/// Runs `test` on a thread with a network of two joined interfaces and loopback, or
/// says why it cannot.
pub(super) fn in_own_network<T: Future<Output = ()>>(test: impl FnOnce() -> T + Send + 'static) {
    let thread = std::thread::spawn(move || {
        if let Err(errno) = unshare(CloneFlags::CLONE_NEWNET) {
            eprintln!("skipped: no network namespace ({errno}); run as root");
            return;
        }
        if !ip_says(VETH) {
            eprintln!("skipped: ip made no veth interfaces");
            return;
        }
        wait_for_links();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(test());
    });
    thread.join().expect("the test");
}

/// Both sockets of one address, each with a port of the kernel's choice.
pub(super) struct Sockets {
    pub(super) tcp: (Endpoint, Bound, TcpListener),
    pub(super) udp: (Endpoint, Bound, UdpSocket),
}

impl Sockets {
    /// Waits for the address: the kernel makes the route of an IPv6 one some time
    /// after `ip` has returned, `nodad` or not.
    pub(super) fn on(address: Address) -> Self {
        let end = Instant::now() + LONG;
        while LocalRoutes::read().expect("a table").classify(&address) != Reach::Local {
            assert!(Instant::now() < end, "{address} never came");
            std::thread::yield_now();
        }
        let options = BindOptions { freebind: false, backlog: 8, receive_buffer: None };
        let open = |protocol| {
            let endpoint = Endpoint { protocol, address, port: Port::Ephemeral(0) };
            (endpoint, bind::bind(&endpoint, &options).expect("an address that is there"))
        };
        let (tcp, udp) = (open(Protocol::Tcp), open(Protocol::Udp));
        bind::listen(&tcp.1, options.backlog).expect("to listen");
        let raw = |bound: &Bound| bound.socket().try_clone().expect("a descriptor");
        let (listener, socket) = (raw(&tcp.1), raw(&udp.1));
        listener.set_nonblocking(false).expect("an option");
        socket.set_nonblocking(false).expect("an option");
        Self { tcp: (tcp.0, tcp.1, listener.into()), udp: (udp.0, udp.1, socket.into()) }
    }

    /// True when a client gets through to both; false when to neither.
    pub(super) fn answer(&self) -> bool {
        let at = self.tcp.1.local_addr();
        let stream = TcpStream::connect_timeout(&at, Duration::from_millis(300));
        let tcp = stream.is_ok_and(|stream| {
            let (_, peer) = self.tcp.2.accept().expect("the client that got through");
            stream.local_addr().expect("its address").port() == peer.port()
        });
        let at = self.udp.1.local_addr();
        let any: IpAddr = if at.is_ipv4() { [0; 4].into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let client = UdpSocket::bind((any, 0)).expect("a client");
        let udp = client.send_to(b"hello", at).is_ok() && {
            self.udp.2.set_read_timeout(Some(Duration::from_millis(300))).expect("an option");
            self.udp.2.recv(&mut [0; 9]).is_ok()
        };
        assert_eq!(tcp, udp, "both or none");
        tcp
    }
}
