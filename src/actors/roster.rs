//! The roster: for each worker its load, and the mailbox in which sessions wait
//! that another worker accepted for it.
//!
//! A mailbox belongs to the worker's place and not to its thread, so that what
//! waits there outlives the thread: its successor takes it, or any other worker
//! that finds it abandoned. Knows neither actor nor runtime; time is an argument.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_queue::ArrayQueue;
use tokio::sync::Notify;

use crate::supervision::{Load, WorkerId, WorkerLoad, least_loaded};

/// Most sessions that wait for one worker; more stay where they were accepted.
const MAILBOX: usize = 256;
/// A worker that was not seen for this long gets no session, and what waits for
/// it is taken by others: three of the ticks in which a thread shows itself.
const ABANDONED: Duration = Duration::from_millis(300);

/// See the module. `T` is what is handed over.
#[derive(Debug)]
pub(crate) struct Roster<T> {
    born: Instant,
    places: Box<[Place<T>]>,
}

#[derive(Debug)]
struct Place<T> {
    load: WorkerLoad,
    /// When its thread last showed itself, in milliseconds since `born`.
    seen: AtomicU64,
    /// Whether anything may be pushed. SeqCst, here and where the mailbox is
    /// emptied after it was shut: see [`Place::push`].
    open: AtomicBool,
    mailbox: ArrayQueue<T>,
    arrived: Notify,
}

impl<T> Place<T> {
    fn new() -> Self {
        Self {
            load: WorkerLoad::default(),
            seen: AtomicU64::new(0),
            open: AtomicBool::new(false),
            mailbox: ArrayQueue::new(MAILBOX),
            arrived: Notify::new(),
        }
    }

    /// # Errors
    /// An item, where the mailbox is full or shut: this one, or one as good that
    /// was pushed at the same time.
    fn push(&self, item: T) -> Result<(), T> {
        if !self.open.load(Ordering::SeqCst) {
            return Err(item);
        }
        self.mailbox.push(item)?;
        if !self.open.load(Ordering::SeqCst) {
            // It was shut meanwhile. Who shut it may have emptied it before the
            // push: then the item is still there, and nobody else looks again.
            return self.mailbox.pop().map_or(Ok(()), Err);
        }
        self.arrived.notify_one();
        Ok(())
    }

    fn shut(&self) -> Vec<T> {
        self.open.store(false, Ordering::SeqCst);
        self.take_all()
    }

    fn take_all(&self) -> Vec<T> {
        std::iter::from_fn(|| self.mailbox.pop()).collect()
    }
}

impl<T> Roster<T> {
    /// For so many workers. None of them takes anything yet.
    pub(crate) fn new(workers: u64, now: Instant) -> Self {
        Self { born: now, places: (0..workers).map(|_| Place::new()).collect() }
    }

    /// How many workers there are, with or without a thread.
    pub(crate) const fn workers(&self) -> usize {
        self.places.len()
    }

    fn place(&self, worker: WorkerId) -> Option<&Place<T>> {
        self.places.get(usize::from(worker.0).checked_sub(1)?)
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.born).as_millis()).unwrap_or(u64::MAX)
    }

    fn is_present(&self, place: &Place<T>, now: Instant) -> bool {
        let seen = Duration::from_millis(place.seen.load(Ordering::Acquire));
        let now = Duration::from_millis(self.millis(now));
        place.open.load(Ordering::SeqCst) && now.saturating_sub(seen) < ABANDONED
    }

    /// The worker's thread runs and takes what waits for it.
    pub(crate) fn open(&self, worker: WorkerId, now: Instant) {
        self.show(worker, now);
        if let Some(place) = self.place(worker) {
            place.open.store(true, Ordering::SeqCst);
        }
    }

    /// The worker takes nothing more; what still waited is its caller's now.
    pub(crate) fn close(&self, worker: WorkerId) -> Vec<T> {
        self.place(worker).map(Place::shut).unwrap_or_default()
    }

    /// The worker's thread has ended: it takes nothing more, has no session, and
    /// what waited for it waits for a successor or for others.
    pub(crate) fn leave(&self, worker: WorkerId) {
        let Some(place) = self.place(worker) else { return };
        place.open.store(false, Ordering::SeqCst);
        place.load.set_sessions(0);
    }

    /// The worker's thread runs.
    pub(crate) fn show(&self, worker: WorkerId, now: Instant) {
        if let Some(place) = self.place(worker) {
            place.seen.store(self.millis(now), Ordering::Release);
        }
    }

    /// What the worker has to do.
    pub(crate) fn load(&self, worker: WorkerId) -> Option<&WorkerLoad> {
        self.place(worker).map(|place| &place.load)
    }

    /// Hands `item`, which `from` has accepted, to the least loaded worker.
    ///
    /// # Errors
    /// The item, where it stays: `from` has no more than its share, or the other's
    /// mailbox is full or shut.
    pub(crate) fn give(&self, from: WorkerId, item: T, now: Instant) -> Result<(), T> {
        let (Some(own), Some(to)) = (self.place(from), self.least_loaded(from, now)) else {
            return Err(item);
        };
        to.push(item)?;
        own.load.gave();
        Ok(())
    }

    fn least_loaded(&self, from: WorkerId, now: Instant) -> Option<&Place<T>> {
        let accepting = usize::from(from.0).checked_sub(1)?;
        if self.places.len() < 2 {
            return None;
        }
        let loads: Vec<_> = self.loads(now).collect();
        self.places.get(least_loaded(&loads, accepting)?)
    }

    /// What each worker has to do, in their order.
    pub(crate) fn loads(&self, now: Instant) -> impl Iterator<Item = Load> {
        self.places.iter().map(move |place| {
            let waiting = place.mailbox.len() as u64;
            place.load.read(waiting, self.is_present(place, now))
        })
    }

    /// The next of what waits for the worker; waits until there is one.
    pub(crate) async fn next(&self, worker: WorkerId) -> Option<T> {
        let place = self.place(worker)?;
        loop {
            if let Some(item) = place.mailbox.pop() {
                return Some(item);
            }
            place.arrived.notified().await;
        }
    }

    /// What waits for workers whose threads have ended or hang.
    pub(crate) fn take_abandoned(&self, now: Instant) -> Vec<T> {
        let absent = self.places.iter().filter(|place| !self.is_present(place, now));
        absent.flat_map(Place::take_all).collect()
    }

    /// Shuts every mailbox; what waited, in no order.
    pub(crate) fn close_all(&self) -> Vec<T> {
        self.places.iter().flat_map(Place::shut).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: WorkerId = WorkerId(1);
    const TWO: WorkerId = WorkerId(2);

    /// Worker 1 has ten sessions, worker 2 none.
    fn roster(now: Instant) -> Roster<u32> {
        let roster = Roster::new(2, now);
        roster.load(ONE).expect("it exists").set_sessions(10);
        roster.open(ONE, now);
        roster.open(TWO, now);
        roster
    }

    fn waiting(roster: &Roster<u32>, now: Instant) -> Vec<u64> {
        roster.loads(now).map(|load| load.sessions).collect()
    }

    #[test]
    fn what_is_given_counts_as_the_others_before_it_has_arrived() {
        let now = Instant::now();
        let roster = roster(now);
        let given = (0..20).take_while(|item| roster.give(ONE, *item, now).is_ok()).count();
        assert_eq!(waiting(&roster, now), [10, given as u64]);
        assert_eq!(roster.loads(now).next().expect("it exists").given, given as u64);
        // Then both have as much to do, and the next stays.
        assert!((8..=10).contains(&given), "{given}");
    }

    #[test]
    fn a_full_or_a_shut_mailbox_gives_the_session_back() {
        let now = Instant::now();
        let roster = roster(now);
        roster.load(ONE).expect("it exists").set_sessions(10_000);
        let given = (0..1_000).take_while(|item| roster.give(ONE, *item, now).is_ok()).count();
        assert_eq!(given, MAILBOX);
        assert_eq!(roster.close(TWO), (0..256).collect::<Vec<_>>());
        assert_eq!(roster.give(ONE, 7, now), Err(7));
        assert_eq!(waiting(&roster, now), [10_000, 0]);
        roster.open(TWO, now);
        assert_eq!(roster.give(ONE, 7, now), Ok(()));
    }

    #[test]
    fn what_waits_for_a_thread_that_hangs_is_taken_by_others_and_by_nobody_before() {
        let now = Instant::now();
        let roster = roster(now);
        roster.give(ONE, 7, now).expect("it takes");
        let late = now + ABANDONED;
        roster.show(ONE, late);
        assert!(roster.take_abandoned(late - Duration::from_millis(1)).is_empty());
        assert_eq!(roster.give(ONE, 8, late), Err(8));
        assert_eq!(roster.take_abandoned(late), [7]);
        assert!(roster.take_abandoned(late).is_empty());
        // It answers again.
        roster.show(TWO, late);
        assert_eq!(roster.give(ONE, 8, late), Ok(()));
    }

    #[test]
    fn what_waits_for_a_thread_that_ended_is_the_successors_or_anybodys() {
        let now = Instant::now();
        for successor in [true, false] {
            let roster = roster(now);
            roster.give(ONE, 7, now).expect("it takes");
            roster.leave(TWO);
            assert_eq!(roster.give(ONE, 8, now), Err(8));
            if successor {
                roster.open(TWO, now);
                assert!(roster.take_abandoned(now).is_empty());
                assert_eq!(roster.places[1].mailbox.pop(), Some(7));
            } else {
                assert_eq!(roster.take_abandoned(now), [7]);
            }
        }
    }

    #[test]
    fn at_the_end_nothing_is_left_and_nothing_taken() {
        let now = Instant::now();
        let roster = roster(now);
        roster.give(ONE, 7, now).expect("it takes");
        assert_eq!(roster.close_all(), [7]);
        assert_eq!((roster.give(ONE, 8, now), roster.close_all().len()), (Err(8), 0));
    }

    #[test]
    fn nothing_is_lost_or_doubled_between_givers_and_one_who_shuts() {
        let now = Instant::now();
        for _ in 0..200 {
            let roster = roster(now);
            roster.load(ONE).expect("it exists").set_sessions(10_000);
            let mut seen = std::thread::scope(|scope| {
                let give = |first: u32| {
                    let roster = &roster;
                    let items = first..first + 50;
                    scope.spawn(move || {
                        items.filter_map(|item| roster.give(ONE, item, now).err()).collect()
                    })
                };
                let givers = [give(0), give(50)];
                let shut = scope.spawn(|| roster.close(TWO));
                let kept = givers
                    .into_iter()
                    .flat_map(|giver| -> Vec<u32> { giver.join().expect("no panic") });
                let mut seen: Vec<u32> = kept.collect();
                seen.extend(shut.join().expect("no panic"));
                seen
            });
            seen.sort_unstable();
            assert_eq!(seen, (0..100).collect::<Vec<_>>());
        }
    }

    #[tokio::test]
    async fn who_waits_for_a_session_is_woken_by_it() {
        let now = Instant::now();
        let roster = std::sync::Arc::new(roster(now));
        let (giver, taker) = (std::sync::Arc::clone(&roster), roster.next(TWO));
        let gives = std::thread::spawn(move || giver.give(ONE, 7, now));
        assert_eq!(taker.await, Some(7));
        assert_eq!(gives.join().expect("no panic"), Ok(()));
        assert_eq!(roster.next(WorkerId(3)).await, None);
    }
}
