//! The connection of an embedder's own session: counted, timed, and taken back at
//! its end, whoever still holds its stream.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::Shared;
use crate::actors::local::WorkerLocal;
use crate::actors::protocol::GroupRuntime;
use crate::net::echo::End;
use crate::spec::Endpoint;

/// What an own session may know of itself.
pub(super) struct About {
    pub(super) id: u64,
    pub(super) endpoint: Endpoint,
    pub(super) peer: SocketAddr,
    pub(super) group: Arc<GroupRuntime>,
}

/// See the module.
pub(super) struct Connection {
    /// `None` once the session is over.
    socket: RefCell<Option<TcpStream>>,
    local: Rc<WorkerLocal>,
    shared: Rc<Shared>,
    pub(super) about: About,
    pub(super) read: Cell<u64>,
    pub(super) written: Cell<u64>,
    /// A write waits for the peer.
    unsent: Cell<bool>,
    /// The peer ended its side.
    peer_ended: Cell<bool>,
    /// How a call failed for good.
    broken: Cell<Option<End>>,
    /// The session's own code is gone; what still holds the stream gets errors.
    over: Cell<bool>,
    /// What its own code says went wrong.
    pub(super) failure: RefCell<Option<String>>,
    pub(super) busy: Cell<u32>,
    drain: watch::Sender<bool>,
}

impl Connection {
    pub(super) fn new(
        socket: TcpStream,
        (local, shared): (Rc<WorkerLocal>, Rc<Shared>),
        about: About,
    ) -> Self {
        Self {
            socket: RefCell::new(Some(socket)),
            local,
            shared,
            about,
            read: Cell::default(),
            written: Cell::default(),
            unsent: Cell::default(),
            peer_ended: Cell::default(),
            broken: Cell::default(),
            over: Cell::default(),
            failure: RefCell::default(),
            busy: Cell::default(),
            drain: watch::Sender::new(false),
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        *self.drain.borrow()
    }

    pub(super) fn drain(&self) -> watch::Receiver<bool> {
        self.drain.subscribe()
    }

    /// Says whether the session is to end soon. A session that hears so for the first
    /// time has a whole time of quiet to say goodbye in.
    pub(super) fn drains(&self, drains: bool, now: Instant) {
        let news = self.drain.send_if_modified(|known| std::mem::replace(known, drains) != drains);
        if news && drains {
            self.shared.clock.observe(now, true, false, self.unsent.get(), false);
        }
    }

    pub(super) const fn has_unsent(&self) -> bool {
        self.unsent.get()
    }

    pub(super) const fn peer_has_ended(&self) -> bool {
        self.peer_ended.get()
    }

    /// How the connection broke, if it did.
    pub(super) const fn broken(&self) -> Option<End> {
        self.broken.get()
    }

    pub(super) fn ask<T>(&self, question: impl FnOnce(&TcpStream) -> T) -> Option<T> {
        self.socket.borrow().as_ref().map(question)
    }

    /// From now on whoever still holds the stream gets errors.
    pub(super) fn take_back(&self) {
        self.over.set(true);
        self.unsent.set(false);
    }

    /// Closes it. Who waits for a drain hears that it is over.
    pub(super) fn close(&self) {
        self.take_back();
        drop(self.socket.take());
        self.drain.send_replace(true);
    }

    /// Whether a write that waits still has to.
    pub(super) fn is_stalled(&self, task: &mut Task<'_>) -> bool {
        let socket = self.socket.borrow();
        let waits =
            socket.as_ref().is_some_and(|socket| socket.poll_write_ready(task).is_pending());
        self.unsent.set(waits && self.unsent.get());
        self.observe(0, 0);
        self.unsent.get()
    }

    /// One call of the session's own code.
    pub(super) fn call<T>(
        &self,
        call: impl FnOnce(Pin<&mut TcpStream>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let mut socket = self.socket.borrow_mut();
        let Some(socket) = socket.as_mut().filter(|_| !self.over.get()) else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let result = call(Pin::new(socket));
        if let Poll::Ready(Err(error)) = &result
            && !matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::InvalidInput)
        {
            self.broken.set(Some(End::reset(error)));
        }
        result
    }

    pub(super) fn poll_read(
        &self,
        task: &mut Task<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        ready!(self.call(|socket| socket.poll_read(task, buffer)))?;
        let read = buffer.filled().len() - before;
        if let Some(recording) = &self.shared.recording {
            recording.head(|head| head.take_in(&buffer.filled()[before..]));
        }
        if read == 0 && room > 0 {
            self.peer_ended.set(true);
        }
        self.observe(read as u64, 0);
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_write(
        &self,
        write: impl FnOnce(Pin<&mut TcpStream>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let polled = self.call(write);
        let written = match &polled {
            Poll::Ready(Ok(written)) => *written as u64,
            Poll::Ready(Err(_)) | Poll::Pending => 0,
        };
        self.unsent.set(polled.is_pending());
        self.observe(0, written);
        polled
    }

    pub(super) fn poll_shutdown(&self, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        self.call(|socket| socket.poll_shutdown(task))
    }

    /// Its own code needs the stream no more.
    pub(super) fn hang_up(&self) {
        if !self.over.get() {
            self.finish(&mut Task::from_waker(std::task::Waker::noop()));
        }
    }

    /// Sends the FIN; a peer that has gone already took its place.
    pub(super) fn finish(&self, task: &mut Task<'_>) {
        if let Some(socket) = self.socket.borrow_mut().as_mut() {
            let _gone = Pin::new(socket).poll_shutdown(task);
        }
    }

    /// Reads and drops what the peer still sends, and counts it; `Ready` when that has
    /// ended. A turn is sixteen reads.
    pub(super) fn poll_drop_input(&self, task: &mut Task<'_>) -> Poll<()> {
        let mut socket = self.socket.borrow_mut();
        let Some(socket) = socket.as_mut() else { return Poll::Ready(()) };
        let mut scratch = self.local.scratch.borrow_mut();
        for _ in 0..16 {
            let mut buffer = ReadBuf::new(&mut scratch[..]);
            let read = Pin::new(&mut *socket).poll_read(task, &mut buffer);
            let read = ready!(read).map_or(0, |()| buffer.filled().len());
            if read == 0 {
                return Poll::Ready(());
            }
            self.read.set(self.read.get() + read as u64);
            self.shared.count(&self.local, read as u64, 0);
        }
        task.waker().wake_by_ref();
        Poll::Pending
    }

    /// Counts what moved, and notes for the deadlines how the session stands.
    fn observe(&self, read: u64, written: u64) {
        self.read.set(self.read.get() + read);
        self.written.set(self.written.get() + written);
        self.shared.count(&self.local, read, written);
        let (now, moved) = (self.local.now(), read + written > 0);
        self.shared.clock.observe(now, moved, written > 0, self.unsent.get(), false);
    }

    /// Nothing more is to come of its own code: it only waits for the peer's end.
    pub(super) fn lingers(&self) {
        self.shared.clock.observe(self.local.now(), false, false, false, true);
    }

    /// Leaves what went wrong to the books, which are closed next.
    pub(super) fn report(&self, failure: String) {
        self.local.session_error.replace(Some(failure));
    }
}
