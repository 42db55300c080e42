//! What every accepted connection is set to, and how it comes by that.
//!
//! Linux hands the options of a listening socket down to the connections that
//! are made on it, so a listener that is used sets them once instead of six
//! times a session. Never touches a connection's bytes.

use std::cell::Cell;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// Connections that get their options one by one before the listening socket
/// does: most endpoints of a big plan never see as many, and start sooner.
const ONE_BY_ONE: u8 = 4;

/// Probes that a silent peer may leave unanswered.
const PROBES: u32 = 4;

/// Options of a connection: answers go out at once (`TCP_NODELAY`), a peer that
/// vanished is noticed (`SO_KEEPALIVE`), and urgent data are read in their place
/// (`SO_OOBINLINE`; tcp(7) and socket(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamOptions {
    /// Silence before the first probe, in seconds; 0 = no probes.
    keepalive_secs: u16,
}

impl StreamOptions {
    /// With probes of a peer that was silent for `keepalive`; `None` = without.
    ///
    /// Unit: whole seconds, 1 to 32,767 (tcp(7)). The probes follow each other
    /// in a quarter of that, at least a second, and the fourth that is not
    /// answered ends the connection: twice `keepalive` after its last sign.
    pub(crate) fn new(keepalive: Option<Duration>) -> Self {
        let seconds = keepalive.map_or(0, |idle| idle.as_secs());
        Self::of_seconds(u16::try_from(seconds).unwrap_or(u16::MAX))
    }

    /// The same for a number of seconds; 0 = without probes.
    pub(crate) const fn of_seconds(keepalive_secs: u16) -> Self {
        Self { keepalive_secs }
    }

    /// Silence before the first probe; 0 = no probes.
    pub(crate) const fn keepalive_secs(self) -> u16 {
        self.keepalive_secs
    }

    /// Sets them on a connection, or on a socket that listens.
    ///
    /// # Errors
    /// What setsockopt(2) says: EINVAL when the peer has reset the connection.
    fn set(self, socket: &impl AsFd) -> io::Result<()> {
        let socket = SockRef::from(socket);
        if self.keepalive_secs > 0 {
            let seconds = |number: u16| Duration::from_secs(number.into());
            let keepalive = TcpKeepalive::new()
                .with_time(seconds(self.keepalive_secs))
                .with_interval(seconds((self.keepalive_secs / 4).max(1)))
                .with_retries(PROBES);
            socket.set_tcp_keepalive(&keepalive)?;
        } else {
            // Its listener may have had it on.
            socket.set_keepalive(false)?;
        }
        socket.set_out_of_band_inline(true)?;
        // Last: who has it has the others.
        socket.set_tcp_nodelay(true)
    }
}

/// Whether a connection that nobody touched got these options from its listener.
fn has_inherited(connection: &impl AsFd, options: StreamOptions) -> bool {
    let socket = SockRef::from(connection);
    let probes = || {
        let seconds = u64::from(options.keepalive_secs);
        socket.keepalive().is_ok_and(|on| on == (seconds > 0))
            && (seconds == 0 || socket.tcp_keepalive_time().is_ok_and(|it| it.as_secs() == seconds))
    };
    socket.tcp_nodelay().unwrap_or(false) && probes()
}

/// Which of a listener's connections have their options already.
#[derive(Debug)]
pub(super) struct HandDown {
    options: Cell<StreamOptions>,
    stage: Cell<Stage>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// So many were set one by one, and the listening socket was not.
    OneByOne(u8),
    /// The listening socket is set; older connections may wait in its backlog.
    HandedDown,
    /// One inherited, so every later one does: a backlog is in order.
    Inherited,
}

impl HandDown {
    pub(super) const fn new(options: StreamOptions) -> Self {
        Self { options: Cell::new(options), stage: Cell::new(Stage::OneByOne(0)) }
    }

    /// Connections that are accepted from now on get other options.
    pub(super) fn change(&self, options: StreamOptions, listener: &impl AsFd) {
        if self.options.replace(options) == options {
            return;
        }
        if let Stage::HandedDown | Stage::Inherited = self.stage.get() {
            // Those that wait in the backlog have the old ones.
            self.stage.set(match options.set(listener) {
                Ok(()) => Stage::HandedDown,
                Err(_) => Stage::OneByOne(ONE_BY_ONE),
            });
        }
    }

    /// Sees to the options of a connection that `listener` gave.
    ///
    /// Options that the kernel refuses belong to a peer that has gone already.
    pub(super) fn given(&self, listener: &impl AsFd, connection: &impl AsFd) {
        let options = self.options.get();
        match self.stage.get() {
            Stage::Inherited => return,
            Stage::HandedDown if has_inherited(connection, options) => {
                return self.stage.set(Stage::Inherited);
            }
            Stage::HandedDown => {}
            Stage::OneByOne(ONE_BY_ONE) => {
                if options.set(listener).is_ok() {
                    self.stage.set(Stage::HandedDown);
                }
            }
            Stage::OneByOne(given) => self.stage.set(Stage::OneByOne(given + 1)),
        }
        let _gone = options.set(connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    fn is_set(stream: &TcpStream) -> bool {
        let socket = SockRef::from(stream);
        socket.tcp_nodelay().expect("an option")
            && socket.out_of_band_inline().expect("an option")
            && socket.keepalive().expect("an option")
            && socket.tcp_keepalive_time().expect("an option") == Duration::from_secs(40)
            && socket.tcp_keepalive_interval().expect("an option") == Duration::from_secs(10)
            && socket.tcp_keepalive_retries().expect("an option") == PROBES
    }

    #[test]
    fn every_connection_has_its_options_and_the_later_ones_inherit_them() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("its address");
        let hand_down = HandDown::new(StreamOptions::new(Some(Duration::from_secs(40))));
        let connect = |_| TcpStream::connect(address).expect("the backlog");
        let total = usize::from(ONE_BY_ONE) + 4;
        // All of them are made before the listening socket has a single option.
        let mut clients: Vec<_> = (0..total).map(connect).collect();
        for number in 0..total {
            let (stream, _) = listener.accept().expect("it waits");
            assert!(!is_set(&stream), "number {number} inherited");
            hand_down.given(&listener, &stream);
            assert!(is_set(&stream), "number {number}");
        }
        assert_eq!(hand_down.stage.get(), Stage::HandedDown);
        clients.extend((0..2).map(connect));
        for _ in 0..2 {
            let (stream, _) = listener.accept().expect("it waits");
            assert!(is_set(&stream), "without a call of its own");
            hand_down.given(&listener, &stream);
            assert_eq!(hand_down.stage.get(), Stage::Inherited);
        }
    }

    #[test]
    fn without_keepalive_no_peer_is_probed() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        StreamOptions::new(None).set(&listener).expect("options");
        let socket = SockRef::from(&listener);
        assert!(socket.tcp_nodelay().expect("an option"));
        assert!(!socket.keepalive().expect("an option"));
    }
}
