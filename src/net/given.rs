//! Sockets that somebody else bound: systemd, or the instance that ran before.
//!
//! Asks the kernel what such a socket is, and says why one is of no use. Never binds,
//! listens or accepts: `bind` takes it on for an endpoint, like one of its own.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::{OwnedFd, RawFd};

use nix::net::if_::if_indextoname;
use socket2::{Socket, Type};

use super::sys;
use crate::spec::{Address, Endpoint, Port, Protocol, Zone};

/// A bound socket that a service may serve from instead of binding one itself.
///
/// It stays bound as long as this lives, or whoever else holds it.
#[derive(Debug)]
pub struct GivenSocket {
    pub(super) socket: Socket,
    endpoint: Endpoint,
    ordinal: Option<u32>,
    pub(super) losses: u32,
}

/// Why a descriptor is no socket that a service can serve from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// It is no socket, or the kernel does not say what it is.
    #[error("it is no socket ({0})")]
    NotASocket(#[from] io::Error),
    /// It is neither TCP nor UDP over IPv4 or IPv6.
    #[error("it is neither TCP nor UDP")]
    Foreign,
    /// It belongs to one peer: a connection, as systemd gives with `Accept=yes`.
    #[error("it is connected to a peer; systemd's Accept= must be no")]
    Connected,
    /// It has no port yet.
    #[error("it is not bound")]
    Unbound,
    /// `[::]` that takes IPv4 clients too: IPCow serves `[::]` and `0.0.0.0` apart.
    #[error("it takes IPv4 clients too; systemd's BindIPv6Only= must be ipv6-only")]
    DualStack,
}

impl GivenSocket {
    /// Reads what the socket is bound to.
    ///
    /// # Errors
    /// [`Unfit`]; the descriptor is closed then.
    pub fn read(fd: OwnedFd) -> Result<Self, Unfit> {
        let socket = Socket::from(fd);
        let kind = socket.r#type()?;
        let local = socket.local_addr()?.as_socket().ok_or(Unfit::Foreign)?;
        let protocol = match (kind, socket.protocol()?) {
            (Type::STREAM, Some(socket2::Protocol::TCP)) => Protocol::Tcp,
            (Type::DGRAM, Some(socket2::Protocol::UDP)) => Protocol::Udp,
            _ => return Err(Unfit::Foreign),
        };
        if local.port() == 0 {
            return Err(Unfit::Unbound);
        }
        if socket.peer_addr().is_ok() {
            return Err(Unfit::Connected);
        }
        if local.is_ipv6() && local.ip().is_unspecified() && !socket.only_v6()? {
            return Err(Unfit::DualStack);
        }
        socket.set_nonblocking(true)?;
        socket.set_cloexec(true)?;
        // What was dropped before is not this service's loss.
        let losses = sys::kernel_drops(&socket).unwrap_or(0);
        let endpoint =
            Endpoint { protocol, address: address(local), port: Port::Number(local.port()) };
        Ok(Self { socket, endpoint, ordinal: None, losses })
    }

    /// Reads what this process was started with: the sockets of these numbers, in
    /// their order, or why one is of no use. Closes what is not.
    ///
    /// For the first moments of a program that systemd starts (sd_listen_fds(3)),
    /// before it opens anything: the numbers are owned from then on. Works once in the
    /// life of a process; later calls find nothing.
    #[must_use]
    pub fn inherited(numbers: Range<RawFd>) -> Vec<Result<Self, Unfit>> {
        sys::descriptors::take_inherited(numbers).into_iter().map(Self::read).collect()
    }

    /// What it is bound to; always with a number.
    #[must_use]
    pub const fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// Says that the kernel chose its number for the endpoint of this ordinal
    /// (see [`Port::Ephemeral`]): it goes to an endpoint that asks for port 0.
    #[must_use]
    pub const fn chosen_by_kernel(mut self, ordinal: u32) -> Self {
        self.ordinal = Some(ordinal);
        self
    }

    /// The ordinal that was given to [`Self::chosen_by_kernel`].
    #[must_use]
    pub const fn ordinal(&self) -> Option<u32> {
        self.ordinal
    }

    /// How many datagrams that the kernel dropped on it somebody has counted
    /// already (modulo 2³²). By default all until [`Self::read`].
    #[must_use]
    pub const fn losses_counted(mut self, losses: u32) -> Self {
        self.losses = losses;
        self
    }
}

/// The address as a plan writes it, with the zone's present name.
fn address(local: SocketAddr) -> Address {
    let SocketAddr::V6(address) = local else { return local.ip().into() };
    let zone = Some(address.scope_id()).filter(|scope| *scope != 0).and_then(|scope| {
        let name = if_indextoname(scope).ok()?;
        Zone::new(name.to_str().ok()?, scope)
    });
    match zone {
        Some(zone) => Address::with_zone(*address.ip(), zone),
        None => IpAddr::V6(*address.ip()).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    fn unfit(fd: impl Into<OwnedFd>) -> Unfit {
        GivenSocket::read(fd.into()).expect_err("it is of no use")
    }

    #[test]
    fn a_listener_and_a_datagram_socket_say_what_they_are_bound_to() {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let at = tcp.local_addr().expect("its address");
        let given = GivenSocket::read(tcp.into()).expect("of use");
        assert_eq!(given.endpoint().to_string(), format!("tcp://{at}"));
        let udp = UdpSocket::bind("[::1]:0").expect("a socket");
        let at = udp.local_addr().expect("its address");
        let given = GivenSocket::read(udp.into()).expect("of use").chosen_by_kernel(3);
        assert_eq!(
            (given.endpoint().to_string(), given.ordinal()),
            (format!("udp://{at}"), Some(3))
        );
    }

    #[test]
    fn what_is_no_bound_tcp_or_udp_socket_is_named_for_what_it_is() {
        assert!(matches!(unfit(File::open("/dev/null").expect("a file")), Unfit::NotASocket(_)));
        let (unix, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
        assert!(matches!(unfit(unix), Unfit::Foreign));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let client = TcpStream::connect(listener.local_addr().expect("its address"));
        assert!(matches!(unfit(client.expect("a client")), Unfit::Connected));
        let fresh = Socket::new(socket2::Domain::IPV4, Type::STREAM, None).expect("a socket");
        assert!(matches!(unfit(fresh), Unfit::Unbound));
        let both = Socket::new(socket2::Domain::IPV6, Type::STREAM, None).expect("a socket");
        both.set_only_v6(false).expect("an option");
        both.bind(&"[::]:0".parse::<SocketAddr>().expect("an address").into()).expect("a bind");
        assert!(matches!(unfit(both), Unfit::DualStack));
    }
}
