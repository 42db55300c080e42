//! The datagram socket of a service manager, which is never waited for.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Messages that wait for room; the oldest are lost first.
const WAITING: usize = 16;

/// Why there is no way to the manager.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoManager {
    /// The variable names no Unix socket.
    #[error("`{0}` is neither a path nor the name of an abstract socket (`@NAME`)")]
    NoUnixSocket(String),
    /// Nobody answers there.
    #[error("`{0}`: {1}")]
    Unreachable(String, io::Error),
}

/// A connected datagram socket.
pub(super) struct NotifySocket {
    socket: UnixDatagram,
    address: SocketAddr,
    waiting: RefCell<VecDeque<String>>,
}

impl NotifySocket {
    /// Connects to `/path`, or to `@name` among the abstract sockets (unix(7)).
    ///
    /// # Errors
    /// [`NoManager`].
    pub(super) fn connect(name: &OsStr) -> Result<Self, NoManager> {
        let shown = || name.to_string_lossy().into_owned();
        let address = match name.as_bytes() {
            [b'@', rest @ ..] if !rest.is_empty() => SocketAddr::from_abstract_name(rest),
            [b'/', _, ..] => SocketAddr::from_pathname(name),
            _ => return Err(NoManager::NoUnixSocket(shown())),
        };
        let connected = address.and_then(|address| {
            let socket = UnixDatagram::unbound()?;
            socket.connect_addr(&address)?;
            socket.set_nonblocking(true)?;
            Ok(Self { socket, address, waiting: RefCell::default() })
        });
        connected.map_err(|error| NoManager::Unreachable(shown(), error))
    }

    /// Sends a message after those that wait already.
    pub(super) fn send(&self, message: String) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= WAITING {
            waiting.pop_front();
        }
        waiting.push_back(message);
        drop(waiting);
        self.flush();
    }

    /// Sends what waits, as far as there is room.
    pub(super) fn flush(&self) {
        let mut waiting = self.waiting.borrow_mut();
        while let Some(message) = waiting.front() {
            match self.try_send(message.as_bytes()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // A manager that is gone has nobody who would read it later.
                Ok(_) | Err(_) => waiting.pop_front(),
            };
        }
    }

    fn try_send(&self, message: &[u8]) -> io::Result<usize> {
        self.socket.send(message).or_else(|error| {
            if error.kind() == io::ErrorKind::WouldBlock {
                return Err(error);
            }
            // The manager may have made its socket anew.
            self.socket.connect_addr(&self.address)?;
            self.socket.send(message)
        })
    }
}
