//! What the peers share: their arguments, and listeners on a block of endpoints.
//!
//! A block is ADDRS addresses in a row with PORTS ports in a row on each, as the C
//! programs have it. Never decides how a peer echoes.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// Length of the accept queue, as in every other server of a comparison.
const BACKLOG: i32 = 4096;

/// Every address of the block that the arguments `ADDRESS ADDRS PORT PORTS` name.
///
/// # Errors
/// When there are not four of them, or they are no block of loopback endpoints.
pub fn block(words: &[String]) -> io::Result<Vec<SocketAddr>> {
    let wrong = || io::Error::other("expected ADDRESS ADDRS PORT PORTS");
    let [address, addrs, port, ports] = words else { return Err(wrong()) };
    let first: Ipv4Addr = address.parse().map_err(|_| wrong())?;
    let number = |word: &String| word.parse::<u16>().map_err(|_| wrong());
    let (addrs, port, ports) = (number(addrs)?, number(port)?, number(ports)?);
    if !first.is_loopback() || port.checked_add(ports).is_none() {
        return Err(wrong());
    }
    let addresses = (0..addrs).map(|more| Ipv4Addr::from_bits(first.to_bits() + u32::from(more)));
    Ok(addresses
        .flat_map(|address| (port..port + ports).map(move |port| (address, port).into()))
        .collect())
}

/// A listening socket, not yet known to a runtime.
///
/// # Errors
/// What bind(2) and listen(2) say.
pub fn listen(at: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Raises the soft limit of open files to the hard one.
///
/// # Errors
/// What setrlimit(2) says.
pub fn raise_nofile() -> io::Result<()> {
    let (_, hard) = rlimit::Resource::NOFILE.get()?;
    rlimit::Resource::NOFILE.set(hard, hard)
}
