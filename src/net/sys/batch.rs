//! The datagrams of one recvmmsg(2) or sendmmsg(2).
//!
//! Owns the memory that the kernel is pointed at. Never looks into a datagram,
//! and never decides whether it is answered.

use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, AsRawFd};

use memmap2::MmapMut;
use nix::errno::Errno;
use nix::libc;

/// Most datagrams that one call moves.
pub(in crate::net) const BATCH: usize = 64;
/// Room for a source: `sockaddr_in6` is the longest.
const NAME: usize = size_of::<libc::sockaddr_in6>();
/// Room for what the kernel says of a datagram: packet info of IPv6 takes 40
/// bytes, the count of losses 24.
pub(in crate::net) const CONTROL: usize = 64;
/// How many more datagrams are asked for than twice what came last.
const SPARE: usize = 8;
/// What lies between the rooms of two datagrams, so that their first bytes do
/// not all compete for one set of a processor's cache.
const APART: usize = 192;

/// Room for the datagrams of one call. Belongs to a thread.
pub(in crate::net) struct Batch {
    /// Longest payload that fits, in bytes.
    room: usize,
    payloads: Memory,
    names: Box<[[u8; NAME]]>,
    controls: Box<[[u8; CONTROL]]>,
    parts: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    sizes: [Sizes; BATCH],
    /// Datagrams that the next receive asks for: more than came last, so that a
    /// lone one does not pay for preparing all places.
    asks: usize,
}

/// Zeroed bytes that the kernel backs once they are written, and gets back when
/// they are dropped: an allocator would keep megabytes for each thread that ended.
enum Memory {
    Mapped(MmapMut),
    /// Where the kernel maps no more.
    Allocated(Box<[u8]>),
}

impl Memory {
    fn new(bytes: usize) -> Self {
        let allocated = |_refused| Self::Allocated(vec![0; bytes].into_boxed_slice());
        MmapMut::map_anon(bytes).map_or_else(allocated, Self::Mapped)
    }
}

impl Deref for Memory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(bytes) => bytes,
            Self::Allocated(bytes) => bytes,
        }
    }
}

impl DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Mapped(bytes) => bytes,
            Self::Allocated(bytes) => bytes,
        }
    }
}

/// How much of its room a datagram fills.
#[derive(Clone, Copy, Default)]
struct Sizes {
    payload: usize,
    name: usize,
    control: usize,
}

/// Datagrams that go back to where they came from: one, or a run of the same
/// source that the kernel cuts apart again (`UDP_SEGMENT`, udp(7)).
#[derive(Debug, Clone, Copy)]
pub(in crate::net) struct Answer {
    /// Place of the first in the list of places.
    pub(in crate::net) first: usize,
    /// How many they are.
    pub(in crate::net) count: usize,
    /// What the kernel is told beside them; the first `told` bytes count.
    pub(in crate::net) control: [u8; CONTROL],
    pub(in crate::net) told: usize,
}

impl Batch {
    /// For datagrams of up to `room` bytes. The kernel gives memory only to what
    /// is used of it: a page or two a datagram while they are short.
    #[allow(unsafe_code)]
    pub(in crate::net) fn new(room: usize) -> Self {
        // SAFETY: both are plain numbers and pointers that may be null: all
        // zeroes is one of their values.
        let (part, header) =
            unsafe { (std::mem::zeroed::<libc::iovec>(), std::mem::zeroed::<libc::mmsghdr>()) };
        Self {
            room,
            payloads: Memory::new(BATCH * (room + APART)),
            names: vec![[0; NAME]; BATCH].into_boxed_slice(),
            controls: vec![[0; CONTROL]; BATCH].into_boxed_slice(),
            parts: vec![part; BATCH].into_boxed_slice(),
            headers: vec![header; BATCH].into_boxed_slice(),
            sizes: [Sizes::default(); BATCH],
            asks: BATCH,
        }
    }

    /// Receives at most `most` datagrams, and at most [`BATCH`], in the order of
    /// the socket's queue. How many they are, and whether the queue was empty then.
    /// Each has its true length, also where it did not fit.
    ///
    /// # Errors
    /// What recvmmsg(2) says; EAGAIN where nothing has arrived.
    #[allow(unsafe_code)]
    pub(in crate::net) fn receive(
        &mut self,
        socket: &impl AsFd,
        most: usize,
    ) -> io::Result<(usize, bool)> {
        let most = most.min(self.asks);
        let payloads = self.payloads.as_mut_ptr();
        for place in 0..most {
            self.parts[place] = libc::iovec {
                iov_base: payloads.wrapping_add(place * (self.room + APART)).cast(),
                iov_len: self.room,
            };
            let header = &mut self.headers[place].msg_hdr;
            header.msg_name = self.names[place].as_mut_ptr().cast();
            header.msg_namelen = NAME as libc::socklen_t;
            header.msg_iov = &raw mut self.parts[place];
            header.msg_iovlen = 1;
            header.msg_control = self.controls[place].as_mut_ptr().cast();
            header.msg_controllen = CONTROL;
        }
        // MSG_TRUNC: say the true length of what does not fit.
        let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
        let headers = self.headers.as_mut_ptr();
        // SAFETY: the descriptor is borrowed for the call. The first `most`
        // headers were just pointed at rooms of this batch that do not overlap,
        // with their true sizes, and nothing refers to those while it runs.
        let answer = unsafe {
            let socket = socket.as_fd().as_raw_fd();
            libc::recvmmsg(socket, headers, most as libc::c_uint, flags, std::ptr::null_mut())
        };
        let count = usize::try_from(answer).map_err(|_| io::Error::last_os_error())?;
        for (sizes, header) in self.sizes.iter_mut().zip(&self.headers[..count]) {
            *sizes = Sizes {
                payload: header.msg_len as usize,
                name: (header.msg_hdr.msg_namelen as usize).min(NAME),
                control: header.msg_hdr.msg_controllen.min(CONTROL),
            };
        }
        self.asks = (2 * count + SPARE).min(BATCH);
        Ok((count, count < most))
    }

    /// Sends datagrams of the last receive back, in this order: each answer is a run of
    /// `places`. How many answers the kernel took: the first, or more.
    ///
    /// # Errors
    /// What sendmmsg(2) says about the first of them.
    #[allow(unsafe_code)]
    pub(in crate::net) fn send(
        &mut self,
        socket: &impl AsFd,
        places: &[usize],
        answers: &[Answer],
    ) -> Result<usize, Errno> {
        let payloads = self.payloads.as_mut_ptr();
        let count = answers.len().min(BATCH);
        let places = &places[..places.len().min(BATCH)];
        for (part, place) in self.parts.iter_mut().zip(places) {
            part.iov_base = payloads.wrapping_add(place * (self.room + APART)).cast();
            part.iov_len = self.sizes[*place].payload.min(self.room);
        }
        let parts = self.parts.as_mut_ptr();
        for (header, answer) in self.headers.iter_mut().zip(answers) {
            let run = &places[answer.first..answer.first + answer.count];
            let header = &mut header.msg_hdr;
            header.msg_name = self.names[run[0]].as_mut_ptr().cast();
            header.msg_namelen = self.sizes[run[0]].name as libc::socklen_t;
            header.msg_iov = parts.wrapping_add(answer.first);
            header.msg_iovlen = answer.count;
            header.msg_control = answer.control.as_ptr().cast_mut().cast();
            header.msg_controllen = answer.told.min(CONTROL);
        }
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        let headers = self.headers.as_mut_ptr();
        // SAFETY: the descriptor is borrowed for the call. The first `count`
        // headers were just pointed at rooms and parts of this batch (a run lies
        // within `places`, which has a part for each) and at `answers`, with sizes
        // within them, and the kernel only reads those.
        let answer = unsafe {
            let socket = socket.as_fd().as_raw_fd();
            libc::sendmmsg(socket, headers, count as libc::c_uint, flags)
        };
        usize::try_from(answer).map_err(|_| Errno::last())
    }

    /// Puts a datagram of our own into that place, for whoever `name` names. At most
    /// `room` bytes of it fit.
    pub(in crate::net) fn put(&mut self, place: usize, name: &[u8], payload: &[u8]) {
        let begin = place * (self.room + APART);
        let (length, named) = (payload.len().min(self.room), name.len().min(NAME));
        self.payloads[begin..begin + length].copy_from_slice(&payload[..length]);
        self.names[place][..named].copy_from_slice(&name[..named]);
        self.sizes[place] = Sizes { payload: length, name: named, control: 0 };
    }

    /// The datagram in that place: what fitted of it.
    pub(in crate::net) fn payload(&self, place: usize) -> &[u8] {
        let begin = place * (self.room + APART);
        &self.payloads[begin..begin + self.sizes[place].payload.min(self.room)]
    }

    /// Bytes that it had, more than [`Self::payload`] where it did not fit.
    pub(in crate::net) fn length(&self, place: usize) -> usize {
        self.sizes[place].payload
    }

    /// Its source, a `sockaddr`.
    pub(in crate::net) fn name(&self, place: usize) -> &[u8] {
        &self.names[place][..self.sizes[place].name]
    }

    /// What the kernel says of it, control messages as in cmsg(3).
    pub(in crate::net) fn control(&self, place: usize) -> &[u8] {
        &self.controls[place][..self.sizes[place].control]
    }
}
