//! The reactor of one thread: polls the task of each of its connections when that
//! connection is ready, and at no other time but when it is called.
//!
//! A runtime would make a task, a waker, a registration and a place in a queue of each,
//! and look at all of them for every message: that took longer than everything else in
//! the program. Here one call of epoll_wait(2) names the tasks, and they are polled
//! where they lie. Knows nothing of what they do.

mod crowd;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};

use slab::Slab;

use super::lean_stream::{LeanStream, Readiness};
use super::sys::poller::{BATCH, News, Poller, Told};
use super::sys::scheduling;
use crowd::Crowd;

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// See the module.
pub(crate) struct Reactor {
    poller: Poller,
    places: RefCell<Slab<Place>>,
    /// Tasks that are to be polled whatever their connections say, each of them once.
    called: RefCell<VecDeque<Key>>,
    /// Wakes [`Self::run`].
    waker: RefCell<Option<Waker>>,
    /// What is known of the connection whose task is being polled; of every other one that
    /// lies in its place. All connections share this cell.
    ready: Rc<Readiness>,
    turn: Arc<Turn>,
    tasks_waker: Waker,
    registered: Cell<u32>,
    crowd: Cell<Crowd>,
    /// Nobody polls any more.
    ended: Cell<bool>,
}

struct Place {
    key: Key,
    /// It waits among those that were called.
    called: bool,
    known: News,
    /// `None` before it begins, and while it is polled.
    task: Option<Task>,
}

/// Names a task: its place, and which of those that had the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    place: u32,
    number: u32,
}

impl Key {
    const fn pack(self) -> u64 {
        (self.number as u64) << 32 | self.place as u64
    }

    const fn unpack(word: u64) -> Self {
        Self { place: word as u32, number: (word >> 32) as u32 }
    }
}

/// What the tasks' waker says: that the one being polled wants another turn.
#[derive(Debug, Default)]
struct Turn(AtomicBool);

impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

/// A connection's place with a reactor.
pub(crate) struct Registration {
    reactor: Rc<Reactor>,
    key: Key,
}

impl Registration {
    /// Gives the place its task. It is polled first when the connection's present
    /// readiness is told, and from then on for each event of it, for each [`Self::call`],
    /// and again, after all others, where it woke its waker while it was polled. A waker
    /// that it keeps wakes nobody. Its panics are its own to catch.
    pub(crate) fn begin(&self, task: impl Future<Output = ()> + 'static) {
        let mut task: Option<Task> = Some(Box::pin(task));
        self.reactor.in_place(self.key, |place| place.task = task.take());
    }

    /// Has the task polled soon.
    pub(crate) fn call(&self) {
        self.reactor.enqueue(self.key);
        if let Some(waker) = &*self.reactor.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

/// Drops the tasks of a reactor that does not run any more.
struct End(Rc<Reactor>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.ended.set(true);
        let places = std::mem::take(&mut *self.0.places.borrow_mut());
        for (_, place) in places {
            if catch_unwind(AssertUnwindSafe(|| drop(place))).is_err() {
                tracing::error!("a session panicked while its thread ended");
            }
        }
    }
}

impl Reactor {
    /// One that serves nothing yet, on this thread's runtime.
    ///
    /// # Errors
    /// As [`Poller::new`].
    pub(crate) fn new() -> io::Result<Self> {
        let turn = Arc::new(Turn::default());
        Ok(Self {
            poller: Poller::new()?,
            places: RefCell::default(),
            called: RefCell::default(),
            waker: RefCell::default(),
            ready: Rc::default(),
            tasks_waker: Waker::from(Arc::clone(&turn)),
            turn,
            registered: Cell::default(),
            crowd: Cell::default(),
            ended: Cell::default(),
        })
    }

    /// Takes a connection, which must not block, and keeps a place for its task.
    ///
    /// # Errors
    /// As [`Poller::add`], and where the reactor does not run any more; the connection is
    /// closed then.
    pub(crate) fn register(
        self: &Rc<Self>,
        tcp: TcpStream,
    ) -> io::Result<(LeanStream, Registration)> {
        if self.ended.get() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let mut places = self.places.borrow_mut();
        let vacant = places.vacant_entry();
        let place = u32::try_from(vacant.key()).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let number = self.registered.replace(self.registered.get().wrapping_add(1));
        let key = Key { place, number };
        self.poller.add(&tcp, key.pack())?;
        // There is room in a connection that nothing was written to.
        vacant.insert(Place { key, called: false, known: News::WRITABLE, task: None });
        let registration = Registration { reactor: Rc::clone(self), key };
        Ok((LeanStream::new(tcp, Rc::clone(&self.ready)), registration))
    }

    /// Polls the tasks, until this future is dropped; they are dropped with it. Resolves
    /// where their connections cannot be watched any more, and says why.
    pub(crate) fn run(self: Rc<Self>) -> impl Future<Output = io::Error> {
        // Also where the future is dropped before it was ever polled.
        let running = End(self);
        let mut told = Vec::with_capacity(BATCH);
        poll_fn(move |cx| running.0.poll_turn(cx, &mut told))
    }

    /// One turn for each task whose connection is ready, and for each that was called: at
    /// most [`BATCH`] of either, then the thread's other tasks run.
    fn poll_turn(&self, cx: &mut Context<'_>, told: &mut Vec<Told>) -> Poll<io::Error> {
        if !self.waker.borrow().as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            self.waker.replace(Some(cx.waker().clone()));
        }
        let called = self.called.borrow().len().min(BATCH);
        let full = loop {
            match self.poller.poll(cx, told) {
                Poll::Pending => break false,
                Poll::Ready(Ok(())) => self.heard_of(told.len()),
                Poll::Ready(Err(error)) => return Poll::Ready(error),
            }
            for Told { key, news } in &*told {
                let key = Key::unpack(*key);
                self.in_place(key, |place| place.known = place.known.and(*news));
                self.step(key);
            }
            if told.len() == BATCH {
                break true;
            }
        };
        // Those that the events above brought here wait for the next turn.
        for _ in 0..called {
            let Some(key) = self.called.borrow_mut().pop_front() else { break };
            self.in_place(key, |place| place.called = false);
            self.step(key);
        }
        if full || !self.called.borrow().is_empty() {
            // After the runtime has looked for what else there is to do.
            let _resumed = pin!(tokio::task::yield_now()).poll(cx);
        }
        Poll::Pending
    }

    /// Has the thread wait for its core while its connections come in crowds. If it took the
    /// core for the first of several messages, it would keep clients that share the core
    /// from sending the others, and sleep and wake for every few.
    fn heard_of(&self, connections: usize) {
        let (crowd, turned) = self.crowd.get().heard_of(connections);
        self.crowd.set(crowd);
        let (from, to) = match turned {
            None => return,
            Some(true) => (scheduling::INTERRUPTS, scheduling::WAITS),
            Some(false) => (scheduling::WAITS, scheduling::INTERRUPTS),
        };
        // Whoever chose another policy, or refuses this one, has it stay as it is.
        if !matches!(scheduling::change(from, to), Ok(true)) {
            self.crowd.set(Crowd::Unheeded);
        }
    }

    /// Polls one task, if it is still there.
    fn step(&self, key: Key) {
        let taken = self.in_place(key, |place| Some((place.known, place.task.take()?)));
        let Some((known, mut task)) = taken.flatten() else { return };
        self.ready.set(known);
        let mut cx = Context::from_waker(&self.tasks_waker);
        let ended = task.as_mut().poll(&mut cx).is_ready();
        let known = self.ready.take();
        if ended {
            drop(task);
            self.places.borrow_mut().try_remove(key.place as usize);
        } else {
            // Where there is no place any more, it is dropped behind this.
            let mut task = Some(task);
            self.in_place(key, |place| (place.known, place.task) = (known, task.take()));
        }
        // Asked before it is changed: most turns are whole, and an exchange is a locked
        // instruction.
        if self.turn.0.load(Relaxed) {
            self.turn.0.store(false, Relaxed);
            self.enqueue(key);
        }
    }

    /// Puts a task among those that were called, unless it is there.
    fn enqueue(&self, key: Key) {
        let called = self.in_place(key, |place| std::mem::replace(&mut place.called, true));
        if called == Some(false) {
            self.called.borrow_mut().push_back(key);
        }
    }

    /// Works on the place of a task that is still there.
    fn in_place<T>(&self, key: Key, work: impl FnOnce(&mut Place) -> T) -> Option<T> {
        let mut places = self.places.borrow_mut();
        places.get_mut(key.place as usize).filter(|place| place.key == key).map(work)
    }
}
