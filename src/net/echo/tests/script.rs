//! A stream that does what a script says, and a driver that demands wake-ups.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use crate::net::echo::{ByteStream, End, Pump, Tally};

/// What one read does; past the script the stream is at its end.
#[derive(Debug, Clone)]
pub(super) enum Read {
    /// Delivers these bytes, in as many reads as the buffer asks for.
    Bytes(Vec<u8>),
    /// Delivers nothing now, and wakes the task.
    Pending,
    /// Delivers nothing, for ever.
    Stuck,
    /// Fails with this error number.
    Fail(i32),
}

/// What one write does; past the script all is taken.
#[derive(Debug, Clone)]
pub(super) enum Write {
    /// Takes at most that many bytes.
    Take(usize),
    /// Takes nothing now, and wakes the task.
    Pending,
    /// Takes nothing, for ever.
    Stuck,
    /// Fails with this error number.
    Fail(i32),
}

#[derive(Debug, Default)]
pub(super) struct Script {
    reads: VecDeque<Read>,
    pub(super) writes: VecDeque<Write>,
    pub(super) written: Vec<u8>,
    pub(super) shut: bool,
    /// Where each read began, and where the last ended, in the stream.
    boundaries: Vec<usize>,
}

impl Script {
    pub(super) fn new(
        reads: impl IntoIterator<Item = Read>,
        writes: impl IntoIterator<Item = Write>,
    ) -> Self {
        let (reads, writes) = (reads.into_iter().collect(), writes.into_iter().collect());
        Self { reads, writes, boundaries: vec![0], ..Self::default() }
    }

    pub(super) fn reading(reads: impl IntoIterator<Item = Read>) -> Self {
        Self::new(reads, [])
    }

    /// All bytes that the script will deliver.
    pub(super) fn input(&self) -> Vec<u8> {
        let bytes = self.reads.iter().filter_map(|read| match read {
            Read::Bytes(bytes) => Some(&bytes[..]),
            Read::Pending | Read::Stuck | Read::Fail(_) => None,
        });
        bytes.flatten().copied().collect()
    }

    /// Bytes of the stream before the read that reached `place`.
    pub(super) fn read_before(&self, place: usize) -> usize {
        let earlier = self.boundaries.iter().rev().find(|boundary| **boundary < place);
        *earlier.expect("the script was read that far")
    }
}

impl ByteStream for Script {
    fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        match self.reads.pop_front() {
            None => Poll::Ready(Ok(0)),
            Some(Read::Pending) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Read::Stuck) => {
                self.reads.push_front(Read::Stuck);
                Poll::Pending
            }
            Some(Read::Fail(errno)) => Poll::Ready(Err(io::Error::from_raw_os_error(errno))),
            Some(Read::Bytes(mut bytes)) => {
                let rest = bytes.split_off(bytes.len().min(room.len()));
                room[..bytes.len()].copy_from_slice(&bytes);
                let end = self.boundaries.last().map_or(0, |begin| begin + bytes.len());
                self.boundaries.push(end);
                if !rest.is_empty() {
                    self.reads.push_front(Read::Bytes(rest));
                }
                Poll::Ready(Ok(bytes.len()))
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        assert!(!self.shut, "nothing is written after the half-close");
        let most = match self.writes.pop_front() {
            None => bytes.len(),
            Some(Write::Take(most)) => most.min(bytes.len()),
            Some(Write::Fail(errno)) => {
                return Poll::Ready(Err(io::Error::from_raw_os_error(errno)));
            }
            Some(Write::Stuck) => {
                self.writes.push_front(Write::Stuck);
                return Poll::Pending;
            }
            Some(Write::Pending) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        };
        self.written.extend_from_slice(&bytes[..most]);
        Poll::Ready(Ok(most))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shut = true;
        Poll::Ready(Ok(()))
    }
}

impl ByteStream for DuplexStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut room = ReadBuf::new(room);
        AsyncRead::poll_read(Pin::new(self), cx, &mut room).map_ok(|()| room.filled().len())
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(self), cx, bytes)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(Pin::new(self), cx)
    }
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A session, its buffer, and what it has moved.
pub(super) struct Driven {
    pub(super) pump: Pump<Script>,
    pub(super) tally: Tally,
    pub(super) end: End,
    scratch: Vec<u8>,
}

impl Driven {
    pub(super) fn new(pump: Pump<Script>, buffer: usize) -> Self {
        Self { pump, tally: Tally::default(), end: End::Drain, scratch: vec![0; buffer] }
    }

    /// Polls to the end; every `Pending` must have arranged for a wake-up.
    pub(super) fn run(pump: Pump<Script>, buffer: usize) -> Self {
        let mut driven = Self::new(pump, buffer);
        for _ in 0..10_000 {
            if let Poll::Ready(end) = driven.poll() {
                driven.end = end;
                return driven;
            }
        }
        panic!("the session never ended: {:?}", driven.pump);
    }

    /// One poll of a session that something will wake.
    pub(super) fn poll(&mut self) -> Poll<End> {
        let (polled, woken) = self.poll_once();
        assert!(polled.is_ready() || woken, "nobody would wake this session: {:?}", self.pump);
        polled
    }

    /// One poll of a session that waits for a stream that is stuck.
    pub(super) fn poll_stuck(&mut self) -> Poll<End> {
        let (polled, woken) = self.poll_once();
        assert!(!woken, "a session that waits must not spin: {:?}", self.pump);
        polled
    }

    fn poll_once(&mut self) -> (Poll<End>, bool) {
        let flag = Arc::new(Flag::default());
        let waker = Waker::from(Arc::clone(&flag));
        let mut cx = Context::from_waker(&waker);
        let polled = self.pump.poll(&mut cx, &mut self.scratch, &mut self.tally);
        (polled, flag.0.load(Ordering::SeqCst))
    }

    pub(super) fn script(&self) -> &Script {
        self.pump.stream()
    }

    pub(super) fn script_mut(&mut self) -> &mut Script {
        &mut self.pump.stream
    }
}
