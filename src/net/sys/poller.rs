//! An epoll(7) instance of a thread's own, for its connections.
//!
//! The runtime's instance watches this one, so that the thread sleeps in one place;
//! one call then tells of up to 64 connections. Never reads from one.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::task::{Context, Poll};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Watched;

/// Most connections that one call tells of.
pub(crate) const BATCH: usize = 64;

/// See the module.
#[derive(Debug)]
pub(crate) struct Poller(Watched<Instance>);

#[derive(Debug)]
struct Instance(Epoll);

impl AsRawFd for Instance {
    fn as_raw_fd(&self) -> RawFd {
        self.0.0.as_raw_fd()
    }
}

/// What was told of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    /// The number under which it was added.
    pub(crate) key: u64,
    pub(crate) news: News,
}

/// What is known of a connection, as bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct News(u8);

impl News {
    /// It can be read from, or will say why not.
    pub(crate) const READABLE: Self = Self(1);
    /// It can be written to, or will say why not.
    pub(crate) const WRITABLE: Self = Self(2);
    /// A short read may not have taken all that is there: the peer has ended its side, the
    /// connection failed, or reads stop at the mark of urgent data (tcp(7)).
    pub(crate) const MORE: Self = Self(4);

    /// Whether all of these are known.
    pub(crate) const fn has(self, wanted: Self) -> bool {
        self.0 & wanted.0 == wanted.0
    }

    /// These too.
    pub(crate) const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Without these.
    pub(crate) const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }
}

impl Poller {
    /// An instance that watches nothing yet, watched by this thread's runtime.
    ///
    /// # Errors
    /// What epoll_create1(2) and epoll_ctl(2) say: EMFILE, ENFILE, ENOMEM, ENOSPC.
    #[allow(unsafe_code)]
    pub(crate) fn new() -> io::Result<Self> {
        let instance = Instance(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?);
        // SAFETY: an `Epoll` owns its descriptor, which stays open and keeps its number
        // until it is dropped, and is never handed out while it is registered.
        let registered = unsafe { AsyncFd::register_with_interest(instance, Interest::READABLE) };
        Ok(Self(Watched(registered.map_err(|refused| refused.into_parts().1)?)))
    }

    /// Tells of this connection from now on, whenever it becomes readable or writable
    /// (`EPOLLET`), until it is closed. What it is already is told at once.
    ///
    /// # Errors
    /// What epoll_ctl(2) says: ENOSPC, ENOMEM, EEXIST where it was added before.
    pub(crate) fn add(&self, connection: impl AsFd, key: u64) -> io::Result<()> {
        let wanted = EpollFlags::EPOLLIN
            | EpollFlags::EPOLLPRI
            | EpollFlags::EPOLLOUT
            | EpollFlags::EPOLLRDHUP
            | EpollFlags::EPOLLET;
        Ok(self.0.0.get_ref().0.add(connection, EpollEvent::new(wanted, key))?)
    }

    /// Waits until there is something to tell, and puts it into `told`: at most
    /// [`BATCH`], and fewer when that is all there is now; none where what there
    /// was is gone.
    ///
    /// # Errors
    /// What epoll_wait(2) says but EINTR, or that the runtime is shutting down.
    pub(crate) fn poll(&self, cx: &mut Context<'_>, told: &mut Vec<Told>) -> Poll<io::Result<()>> {
        told.clear();
        self.0.poll_batch(cx, |instance| {
            let mut events = [EpollEvent::empty(); BATCH];
            let count = loop {
                match instance.0.wait(&mut events, EpollTimeout::ZERO) {
                    Err(Errno::EINTR) => {}
                    counted => break counted?,
                }
            };
            told.extend(events[..count].iter().map(Told::from));
            Ok(((), count < BATCH))
        })
    }
}

impl From<&EpollEvent> for Told {
    fn from(event: &EpollEvent) -> Self {
        let flags = event.events();
        let gone = EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR;
        let ended = gone | EpollFlags::EPOLLRDHUP;
        let news = [
            (ended | EpollFlags::EPOLLIN, News::READABLE),
            (gone | EpollFlags::EPOLLOUT, News::WRITABLE),
            (ended | EpollFlags::EPOLLPRI, News::MORE),
        ];
        let known = news.into_iter().filter(|(any_of, _)| flags.intersects(*any_of));
        Self { key: event.data(), news: known.fold(News::default(), |all, (_, one)| all.and(one)) }
    }
}
