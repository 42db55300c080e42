//! What the kernel knows about one socket or thread, and options of a session.
//!
//! With those below it the only file with `unsafe`: registrations, questions, calls for many
//! datagrams or past the C library, descriptors of other processes, and code for some
//! processors only, for which no dependency has a safe call. Never opens or binds a socket.

pub(super) mod batch;
pub(crate) mod descriptors;
pub(crate) mod poller;
#[cfg(feature = "http")]
pub(crate) mod rights;
pub(super) mod scheduling;
pub(super) mod screen;
pub(super) mod stream_calls;

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use nix::libc;
use nix::time::ClockId;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::bind::Bound;

/// A socket, mostly a bound one, whose input wakes tasks of this thread's runtime.
#[derive(Debug)]
pub(super) struct Watched<T: AsRawFd = Bound>(AsyncFd<T>);

impl Watched<OwnedFd> {
    /// Registers a socket that nobody else holds, until this is dropped.
    ///
    /// # Errors
    /// What epoll_ctl(2) says: ENOSPC, ENOMEM.
    #[allow(unsafe_code)]
    pub(super) fn owned(fd: OwnedFd) -> io::Result<Self> {
        // SAFETY: an `OwnedFd` stays open and keeps its number until it is
        // dropped, and this one is never handed out while it is registered.
        let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
        Ok(Self(registered.map_err(|refused| refused.into_parts().1)?))
    }
}

impl Watched {
    /// Registers the socket until this is dropped.
    ///
    /// # Errors
    /// What epoll_ctl(2) says: EEXIST while this runtime still watches the same
    /// socket elsewhere, ENOSPC, ENOMEM.
    #[allow(unsafe_code)]
    pub(super) fn new(bound: Bound) -> io::Result<Self> {
        // SAFETY: a `Bound` owns one socket, which stays open and keeps its
        // number until the last clone is dropped; this clone is neither
        // replaced nor handed out mutably while it is registered.
        let registered = unsafe { AsyncFd::register_with_interest(bound, Interest::READABLE) };
        Ok(Self(registered.map_err(|refused| refused.into_parts().1)?))
    }

    /// The socket.
    pub(super) fn bound(&self) -> &Bound {
        self.0.get_ref()
    }
}

impl<T: AsRawFd> Watched<T> {
    /// Runs `call` once, unless no input came since it last said EAGAIN.
    ///
    /// # Errors
    /// What `call` says; EAGAIN also when it was not run.
    pub(super) fn try_io<O>(&self, call: impl FnOnce(&T) -> io::Result<O>) -> io::Result<O> {
        self.0.try_io(Interest::READABLE, call)
    }

    /// Waits for input, and leaves it there.
    ///
    /// # Errors
    /// That the runtime is shutting down (no errno).
    pub(super) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read_ready(cx).map_ok(drop)
    }

    /// Runs `call` until it no longer says EAGAIN, waiting for input in between.
    ///
    /// # Errors
    /// What `call` says, or that the runtime is shutting down (no errno).
    pub(super) fn poll_io<O>(
        &self,
        cx: &mut Context<'_>,
        mut call: impl FnMut(&T) -> io::Result<O>,
    ) -> Poll<io::Result<O>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(cx))?;
            if let Ok(done) = ready.try_io(|socket| call(socket.get_ref())) {
                return Poll::Ready(done);
            }
        }
    }

    /// As [`Self::poll_io`]; `call` also says whether it has emptied the socket.
    /// If so, the next poll waits for new input without asking the kernel again:
    /// what has come since is another event of epoll(7), which forgets none.
    ///
    /// # Errors
    /// As [`Self::poll_io`].
    pub(super) fn poll_batch<O>(
        &self,
        cx: &mut Context<'_>,
        mut call: impl FnMut(&T) -> io::Result<(O, bool)>,
    ) -> Poll<io::Result<O>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(cx))?;
            if let Ok(done) = ready.try_io(|socket| call(socket.get_ref())) {
                return Poll::Ready(done.map(|(done, emptied)| {
                    if emptied {
                        ready.clear_ready();
                    }
                    done
                }));
            }
        }
    }
}

/// Bytes of a TCP socket's send queue that the peer has not acknowledged,
/// the FIN not counted (`SIOCOUTQ`, tcp(7)).
///
/// # Errors
/// What ioctl(2) says: EINVAL on a listening socket, ENOTTY on no socket at all.
#[allow(unsafe_code)]
pub(crate) fn unacknowledged(socket: &impl AsFd) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is borrowed for the call, and SIOCOUTQ (which is
    // TIOCOUTQ) writes exactly one int through the pointer.
    let answer = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if answer == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// Datagrams that the kernel dropped on this socket since it was opened, mostly
/// because its receive buffer was full (`SO_MEMINFO`, since Linux 4.12). Wraps at 2³².
///
/// # Errors
/// What getsockopt(2) says; ENOPROTOOPT where the kernel does not count.
#[allow(unsafe_code)]
pub(crate) fn kernel_drops(socket: &impl AsFd) -> io::Result<u32> {
    /// `SK_MEMINFO_DROPS` of linux/sock_diag.h, the last of nine.
    const DROPS: usize = 8;
    let mut memory = [0_u32; DROPS + 1];
    let size = size_of_val(&memory) as libc::socklen_t;
    let mut length = size;
    // SAFETY: the descriptor is borrowed for the call, `length` holds the size
    // of `memory` in bytes, and any bit pattern is a valid u32.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            memory.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if answer == -1 {
        return Err(io::Error::last_os_error());
    }
    if length < size {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(memory[DROPS])
}

/// Connections of a listening socket that nobody has accepted: `tcpi_unacked`
/// of `TCP_INFO` (tcp(7)), which counts the accept queue there.
///
/// # Errors
/// What getsockopt(2) says: EOPNOTSUPP where the socket is not TCP.
#[allow(unsafe_code)]
pub(crate) fn waiting_connections(socket: &impl AsFd) -> io::Result<u32> {
    // SAFETY: `tcp_info` is plain numbers: all zeroes is one of its values.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the descriptor is borrowed for the call, `length` holds the size
    // of `info` in bytes, and any bit pattern is a valid `tcp_info`.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    if answer == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(info.tcpi_unacked)
}

/// Names the calling thread, as `top -H` and `/proc/PID/task/TID/comm` show it.
///
/// At most 15 bytes; the rest, and all from a NUL on, is cut off (`PR_SET_NAME`,
/// prctl(2)).
///
/// # Errors
/// What prctl(2) says, where a sandbox forbids it.
pub(crate) fn name_thread(name: &str) -> io::Result<()> {
    let bytes: Vec<u8> = name.bytes().take(15).take_while(|byte| *byte != 0).collect();
    let name = CString::new(bytes)?;
    Ok(nix::sys::prctl::set_name(&name)?)
}

/// How long the calling thread has run on a processor, in the program and in the
/// kernel (`CLOCK_THREAD_CPUTIME_ID`, clock_gettime(2)).
///
/// # Errors
/// What clock_gettime(2) says, where a sandbox forbids it.
pub(crate) fn thread_time() -> io::Result<Duration> {
    Ok(ClockId::CLOCK_THREAD_CPUTIME_ID.now()?.into())
}

/// Makes close(2) send RST and drop what is unsent (`SO_LINGER` of 0, socket(7)).
///
/// For sessions that are cut off: otherwise the kernel would hold megabytes for
/// a peer that never reads, long after the session has ended.
///
/// # Errors
/// What setsockopt(2) says.
pub(crate) fn reset_on_close(stream: &impl AsFd) -> io::Result<()> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream, UdpSocket};

    #[test]
    fn bytes_that_no_peer_acknowledged_are_none_on_a_fresh_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let mut client =
            TcpStream::connect(listener.local_addr().expect("its address")).expect("a client");
        let (mut server, _) = listener.accept().expect("a connection");
        assert_eq!(unacknowledged(&client).expect("a queue"), 0);
        client.write_all(b"hello").expect("a write");
        server.read_exact(&mut [0; 5]).expect("a read");
        assert_eq!(unacknowledged(&client).expect("a queue"), 0);
        assert_eq!(
            unacknowledged(&listener).map_err(|e| e.raw_os_error()),
            Err(Some(libc::EINVAL))
        );
    }

    #[test]
    fn what_the_kernel_drops_on_a_full_buffer_is_counted() {
        let server = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        client.connect(server.local_addr().expect("its address")).expect("a peer");
        assert_eq!(kernel_drops(&server).expect("a count"), 0);
        let sent = (0..5000).filter(|_| client.send(&[0; 1400]).is_ok()).count();
        server.set_nonblocking(true).expect("an option");
        let mut received = 0;
        while server.recv(&mut [0; 1500]).is_ok() {
            received += 1;
        }
        let dropped = kernel_drops(&server).expect("a count") as usize;
        assert!(dropped > 0);
        assert_eq!(received + dropped, sent);
    }

    #[test]
    fn a_thread_is_named_by_at_most_fifteen_bytes() {
        let named = std::thread::spawn(|| {
            name_thread("ipcow-worker-1234567").expect("a name");
            std::fs::read_to_string("/proc/thread-self/comm").expect("procfs")
        });
        assert_eq!(named.join().expect("the thread").trim_end(), "ipcow-worker-12");
    }
}
