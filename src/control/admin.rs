//! The read-only TCP address. Never decides whether it may be reached from elsewhere: the
//! configuration does.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};

use super::socket::{BACKLOG, BindError};

/// A bound admin address.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
}

impl Admin {
    /// Binds `address`; port 0 takes one that is free.
    ///
    /// # Errors
    /// [`BindError`]: another socket has it, or the kernel refuses.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::Taken { place: address.to_string() },
            _ => BindError::Io { place: address.to_string(), source },
        };
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None);
        let socket = socket.map_err(failed)?;
        if address.is_ipv6() {
            socket.set_only_v6(true).map_err(failed)?;
        }
        // A restart binds through TIME_WAIT.
        socket.set_reuse_address(true).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        socket.bind(&address.into()).map_err(failed)?;
        socket.listen(BACKLOG).map_err(failed)?;
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// Goes on with the listener of another instance.
    ///
    /// # Errors
    /// [`BindError::Io`]: it is none.
    pub fn adopt(listener: TcpListener) -> Result<Self, BindError> {
        let failed = |source| BindError::Io { place: "the admin address".to_owned(), source };
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// The address, with the port that it got.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn listener(&self) -> io::Result<TcpListener> {
        self.listener.try_clone()
    }
}
