//! Descriptors that travel over a Unix socket (`SCM_RIGHTS`, unix(7)).
//!
//! Gives each an owner the moment it is there. Never says what they are.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::cmsg_space;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};

/// Most descriptors of one message (`SCM_MAX_FD`, unix(7)).
pub(crate) const MOST: usize = 253;

/// Sends the bytes and, with the first of them, these descriptors: at most [`MOST`].
/// Returns how many bytes went.
///
/// # Errors
/// What sendmsg(2) says: EPIPE where nobody reads, EAGAIN after the stream's timeout,
/// ETOOMANYREFS where too many descriptors are on their way.
pub(crate) fn send(
    stream: &UnixStream,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    let numbers: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let rights = if numbers.is_empty() { &[][..] } else { &rights[..] };
    let text = [IoSlice::new(bytes)];
    let flags = MsgFlags::MSG_NOSIGNAL;
    Ok(sendmsg::<UnixAddr>(stream.as_raw_fd(), &text, rights, flags, None)?)
}

/// Receives some bytes and the descriptors that came with them; none at the end.
///
/// # Errors
/// What recvmsg(2) says: EAGAIN after the stream's timeout. `InvalidData` where the
/// process had no room for all descriptors; those that came are closed.
#[allow(unsafe_code)]
pub(crate) fn receive(stream: &UnixStream, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut room = cmsg_space!([RawFd; MOST]);
    let mut text = [IoSliceMut::new(bytes)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<UnixAddr>(stream.as_raw_fd(), &mut text, Some(&mut room), flags)?;
    let mut descriptors = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = part {
            // SAFETY: the kernel has just opened each of them for this call alone.
            descriptors.extend(numbers.into_iter().map(|it| unsafe { OwnedFd::from_raw_fd(it) }));
        }
    }
    if message.flags.contains(MsgFlags::MSG_CTRUNC) {
        let full = "the process may not open as many descriptors as were sent";
        return Err(io::Error::new(io::ErrorKind::InvalidData, full));
    }
    Ok((message.bytes, descriptors))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn descriptors_arrive_with_the_bytes_that_they_were_sent_with() {
        let (here, there) = UnixStream::pair().expect("a pair");
        let files: Vec<_> = (0..MOST).map(|_| File::open("/dev/null").expect("a file")).collect();
        let borrowed: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        assert_eq!(send(&here, b"abc", &borrowed).expect("room"), 3);
        (&here).write_all(b"d").expect("room");
        let mut buffer = [0; 8];
        let (length, received) = receive(&there, &mut buffer).expect("a message");
        assert_eq!((&buffer[..length], received.len()), (&b"abc"[..], MOST));
        let (length, received) = receive(&there, &mut buffer).expect("a message");
        assert_eq!((&buffer[..length], received.len()), (&b"d"[..], 0));
        drop(here);
        assert_eq!(receive(&there, &mut buffer).expect("the end").0, 0);
    }
}
