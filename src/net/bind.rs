//! The only socket(2), bind(2) and listen(2) of the program.
//!
//! Opens one socket for one endpoint with the options that IPCow relies on, and
//! says what the kernel said. Never retries a failure and never accepts: those
//! belong to supervision and to `accept`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Socket, Type};

use super::given::GivenSocket;
use super::low_port;
use crate::spec::{Address, Endpoint, Port, Protocol};

/// Numbers that [`reserve_pair`] tries before it gives up.
const PAIR_ATTEMPTS: usize = 64;

/// How to open a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BindOptions {
    /// Bind an address that no interface has yet (`IP_FREEBIND`, ip(7)).
    pub(crate) freebind: bool,
    /// Length of the queue of established, not yet accepted connections, 1 to
    /// 65535, for [`listen`]; the kernel caps it at `net.core.somaxconn`.
    pub(crate) backlog: u16,
    /// `SO_RCVBUF` of a UDP socket, in bytes (the kernel doubles it and caps it
    /// at `net.core.rmem_max`, socket(7)); `None` = the kernel's default.
    pub(crate) receive_buffer: Option<u32>,
}

/// A bound socket; clones share it, and it closes with the last of them.
///
/// Whoever supervises the endpoint keeps a clone, so that a listener that
/// crashed is registered again and never bound again: a connection made in the
/// gap waits in the backlog.
#[derive(Debug, Clone)]
pub(crate) struct Bound {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    socket: Socket,
    endpoint: Endpoint,
    /// Kernel-side losses that were counted (the low 32 bits), so that a listener
    /// which takes over the socket counts none of them twice; and [`OFFERED`].
    losses_counted: AtomicU64,
    /// Further sockets of the same endpoint, one for each other worker.
    #[expect(clippy::box_collection, reason = "most have none, and there are many")]
    members: OnceLock<Box<Vec<Bound>>>,
}

/// Another process counts the losses from here on.
const OFFERED: u64 = 1 << 32;

impl Bound {
    /// What it is bound to, with the number that the kernel chose for port 0.
    pub(crate) fn endpoint(&self) -> Endpoint {
        self.shared.endpoint
    }

    /// The address it is bound to.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.shared.endpoint.socket_addr()
    }

    /// TCP or UDP.
    pub(crate) fn protocol(&self) -> Protocol {
        self.shared.endpoint.protocol
    }

    /// Whether it is bound in the zone of `endpoint`: a socket belongs to its
    /// interface's number, and hears nothing of an interface that was made again.
    pub(crate) fn is_in_zone_of(&self, endpoint: &Endpoint) -> bool {
        let scope = |address: SocketAddr| match address {
            SocketAddr::V4(_) => 0,
            SocketAddr::V6(address) => address.scope_id(),
        };
        scope(self.local_addr()) == scope(endpoint.socket_addr())
    }

    /// The further sockets of its endpoint; none but after [`listen_together`].
    pub(crate) fn members(&self) -> &[Self] {
        self.shared.members.get().map_or(&[], |members| members)
    }

    /// The socket, to accept from or to exchange datagrams on.
    pub(super) fn socket(&self) -> &Socket {
        &self.shared.socket
    }

    /// How many of the `total` datagrams that the kernel dropped on this socket
    /// so far (modulo 2³²) nobody has counted yet; they count as counted then.
    pub(super) fn uncounted_losses(&self, total: u32) -> u32 {
        let mut fresh = 0;
        let count = |counted: u64| {
            fresh = total.wrapping_sub(u32::try_from(counted).ok()?);
            // A total that is older than what was counted says nothing new.
            (fresh <= u32::MAX / 2).then_some(u64::from(total))
        };
        let losses = &self.shared.losses_counted;
        let counted = losses.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count);
        counted.map_or(0, |_| fresh)
    }

    /// Leaves the losses to another process, which shares the socket: how many are
    /// counted already (modulo 2³²).
    pub(crate) fn offer(&self) -> u32 {
        let counted = self.shared.losses_counted.fetch_or(OFFERED, Ordering::Relaxed);
        (counted & u64::from(u32::MAX)) as u32
    }

    /// The other process does not take it: the losses are counted here again.
    pub(crate) fn withdraw(&self) {
        self.shared.losses_counted.fetch_and(!OFFERED, Ordering::Relaxed);
    }
}

impl AsFd for Bound {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.socket.as_fd()
    }
}

impl AsRawFd for Bound {
    fn as_raw_fd(&self) -> RawFd {
        self.shared.socket.as_raw_fd()
    }
}

/// Opens a socket and binds it; a TCP one does not listen yet.
///
/// Non-blocking and close-on-exec. TCP binds through TIME_WAIT (`SO_REUSEADDR`);
/// UDP never does: there the option would let a second instance steal the
/// traffic. A low port is bound with CAP_NET_BIND_SERVICE raised, where the process kept it. IPv6 is v6-only, so that `[::]` and `0.0.0.0` go side by side.
///
/// # Errors
/// What the kernel said, with its errno: EADDRINUSE, EADDRNOTAVAIL, EACCES,
/// EMFILE and the rest of bind(2) and socket(2).
pub(crate) fn bind(endpoint: &Endpoint, options: &BindOptions) -> io::Result<Bound> {
    bind_socket(endpoint, options, false)
}

fn bind_socket(endpoint: &Endpoint, options: &BindOptions, joins: bool) -> io::Result<Bound> {
    let asked = endpoint.socket_addr();
    let kind = match endpoint.protocol {
        Protocol::Tcp => Type::STREAM,
        Protocol::Udp => Type::DGRAM,
    };
    let socket = Socket::new(Domain::for_address(asked), kind.nonblocking(), None)?;
    if asked.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    prepare(&socket, endpoint, options)?;
    if joins {
        socket.set_reuse_port(true)?;
    }
    low_port::bind(|| socket.bind(&asked.into()))?;
    let endpoint = match endpoint.port {
        Port::Number(_) => *endpoint,
        Port::Ephemeral(_) => endpoint.with_port(own_port(&socket)?),
    };
    let (losses_counted, members) = (AtomicU64::new(0), OnceLock::new());
    Ok(Bound { shared: Arc::new(Shared { socket, endpoint, losses_counted, members }) })
}

/// Takes on a socket that was bound elsewhere, with these options as far as a
/// bound socket can have them. What waits in it stays there.
///
/// # Errors
/// What setsockopt(2) said.
pub(crate) fn adopt(given: GivenSocket, options: &BindOptions) -> io::Result<Bound> {
    let endpoint = given.endpoint();
    let GivenSocket { socket, losses, .. } = given;
    prepare(&socket, &endpoint, options)?;
    let (losses_counted, members) = (AtomicU64::new(losses.into()), OnceLock::new());
    Ok(Bound { shared: Arc::new(Shared { socket, endpoint, losses_counted, members }) })
}

/// The sockets of one endpoint as one: the first with the others as its members.
/// `None` where there are none.
pub(crate) fn join(sockets: Vec<Bound>) -> Option<Bound> {
    let mut sockets = sockets.into_iter();
    let first = sockets.next()?;
    let others: Vec<_> = sockets.collect();
    if !others.is_empty() {
        first.shared.members.get_or_init(|| Box::new(others));
    }
    Some(first)
}

/// The options that a socket of this endpoint has.
fn prepare(socket: &Socket, endpoint: &Endpoint, options: &BindOptions) -> io::Result<()> {
    let asked = endpoint.socket_addr();
    if options.freebind {
        match asked {
            SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
            SocketAddr::V6(_) => socket.set_freebind_v6(true)?,
        }
    }
    match endpoint.protocol {
        Protocol::Tcp => {
            // A connection that gets it later has lost the first of two urgent bytes.
            socket.set_out_of_band_inline(true)?;
            socket.set_reuse_address(true)
        }
        Protocol::Udp => prepare_datagrams(socket, asked.ip(), options.receive_buffer),
    }
}

/// Has the kernel say what it dropped and, on a wildcard, which address was
/// dialled. Before the bind, because a bound socket receives.
fn prepare_datagrams(socket: &Socket, ip: IpAddr, receive_buffer: Option<u32>) -> io::Result<()> {
    setsockopt(socket, sockopt::RxqOvfl, &1)?;
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(usize::try_from(bytes).unwrap_or(usize::MAX))?;
    }
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => {
            setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?;
        }
        IpAddr::V6(ip) if ip.is_unspecified() => {
            setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        }
        _ => {}
    }
    Ok(())
}

fn own_port(socket: &Socket) -> io::Result<u16> {
    let address = socket.local_addr()?.as_socket();
    let address = address.ok_or_else(|| io::Error::from_raw_os_error(libc::EAFNOSUPPORT))?;
    Ok(address.port())
}

/// Lets a bound TCP socket take connections; a UDP one already takes datagrams.
///
/// Apart from [`bind`], so that a chunk can bind everything before it serves
/// anything.
///
/// # Errors
/// What listen(2) says: EADDRINUSE when another socket began to listen on the
/// same address in between.
pub(crate) fn listen(bound: &Bound, backlog: u16) -> io::Result<()> {
    match bound.protocol() {
        Protocol::Tcp => bound.socket().listen(i32::from(backlog)),
        Protocol::Udp => Ok(()),
    }
}

/// As [`listen`], and has the endpoint served from so many sockets in all, among
/// which the kernel spreads its clients (`SO_REUSEPORT`, socket(7)).
///
/// The first of them claimed the address for itself alone: whoever held it, also
/// with `SO_REUSEPORT`, had that refused, and a second instance, which claims in
/// the same way, is refused. Only then may others join, and the kernel lets
/// programs of the same user alone.
///
/// # Errors
/// As [`listen`] and [`bind`]; then there is the first socket alone.
pub(crate) fn listen_together(
    bound: &Bound,
    options: &BindOptions,
    sockets: usize,
) -> io::Result<()> {
    listen(bound, options.backlog)?;
    if !bound.members().is_empty() {
        return bound.members().iter().try_for_each(|member| listen(member, options.backlog));
    }
    bound.socket().set_reuse_port(true)?;
    let join = |_| {
        let member = bind_socket(&bound.endpoint(), options, true)?;
        listen(&member, options.backlog)?;
        Ok(member)
    };
    match (1..sockets).map(join).collect() {
        Ok(members) => {
            bound.shared.members.get_or_init(|| Box::new(members));
            Ok(())
        }
        Err(refused) => {
            // Or anybody of this user could join.
            let _unchanged = bound.socket().set_reuse_port(false);
            Err(refused)
        }
    }
}

/// Binds TCP and UDP on one number that the kernel chooses (`both://…:0`).
///
/// # Errors
/// As [`bind`]; EADDRINUSE when 64 numbers that were free for TCP were all taken
/// for UDP.
pub(crate) fn reserve_pair(
    address: Address,
    options: &BindOptions,
) -> io::Result<(Bound, Bound, u16)> {
    // Numbers that did not fit stay taken until the end, or they might come again.
    let mut unfit = Vec::new();
    while unfit.len() < PAIR_ATTEMPTS {
        let port = Port::Ephemeral(0);
        let stream = bind(&Endpoint { protocol: Protocol::Tcp, address, port }, options)?;
        let number = stream.local_addr().port();
        let port = Port::Number(number);
        match bind(&Endpoint { protocol: Protocol::Udp, address, port }, options) {
            Ok(datagram) => return Ok((stream, datagram, number)),
            Err(error) if error.raw_os_error() == Some(libc::EADDRINUSE) => unfit.push(stream),
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::from_raw_os_error(libc::EADDRINUSE))
}

#[cfg(test)]
mod tests;
