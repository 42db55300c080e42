//! recv(2) and send(2) without the C library's own part in them.
//!
//! There they are points where a thread may be cancelled (pthreads(7)), which nobody does
//! here: it took 150 of the 1,040 instructions of a small echo (`valgrind
//! --tool=callgrind`).

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::libc;

/// Reads what has come into `room`; 0 bytes mean that the peer has ended its side, or that
/// there is no room.
///
/// # Errors
/// What recv(2) says.
#[allow(unsafe_code)]
#[inline]
pub(in crate::net) fn receive(from: impl AsFd, room: &mut [u8]) -> io::Result<usize> {
    let (fd, nobody) = (from.as_fd().as_raw_fd(), std::ptr::null_mut::<libc::c_void>());
    let (at, length) = (room.as_mut_ptr(), room.len());
    // SAFETY: the kernel writes at most `length` bytes to where that many are lent to this
    // function alone, and, because the last two are null, nothing else. Each argument is as
    // wide as a register, but for those that the kernel takes as an int.
    counted(unsafe { libc::syscall(libc::SYS_recvfrom, fd, at, length, 0, nobody, nobody) })
}

/// Sends as many of these bytes as there is room for; no signal where the peer is gone.
///
/// # Errors
/// What send(2) says.
#[allow(unsafe_code)]
#[inline]
pub(in crate::net) fn send(to: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    let (fd, flags) = (to.as_fd().as_raw_fd(), libc::MSG_NOSIGNAL);
    let (at, length) = (bytes.as_ptr(), bytes.len());
    let nobody = std::ptr::null::<libc::c_void>();
    // SAFETY: the kernel reads at most `length` bytes, which are lent to this function; the
    // address is null and its length 0. As wide as above.
    counted(unsafe { libc::syscall(libc::SYS_sendto, fd, at, length, flags, nobody, 0_usize) })
}

/// How many bytes, or what was wrong.
#[inline]
fn counted(returned: libc::c_long) -> io::Result<usize> {
    usize::try_from(returned).map_err(|_| Errno::last().into())
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let near = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("a peer");
        (near, listener.accept().expect("it has connected").0)
    }

    #[test]
    fn bytes_come_and_go_whole_and_the_end_is_none() {
        let (near, mut far) = pair();
        assert_eq!(send(&near, b"as they are").expect("there is room"), 11);
        let mut read = [0; 11];
        far.read_exact(&mut read).expect("they came");
        assert_eq!(&read, b"as they are");
        far.write_all(b"back").expect("there is room");
        let mut room = *b"......";
        assert_eq!(receive(&near, &mut room[..3]).expect("they came"), 3);
        assert_eq!(&room, b"bac...", "no more than there is room for");
        assert_eq!(receive(&near, &mut room).expect("one is left"), 1);
        drop(far);
        assert_eq!(receive(&near, &mut room).expect("it has ended"), 0);
    }

    #[test]
    fn what_the_kernel_says_is_told_and_no_signal_comes() {
        let (near, far) = pair();
        near.set_nonblocking(true).expect("a socket");
        let nothing = receive(&near, &mut [0; 8]).expect_err("nothing came");
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
        near.shutdown(std::net::Shutdown::Write).expect("it is connected");
        let ended = send(&near, b"late").expect_err("it has ended its side");
        assert_eq!(ended.kind(), ErrorKind::BrokenPipe);
        drop(far);
    }
}
