//! How busy each worker is, and which of them a new session goes to.
//!
//! Pure: the time that a thread was busy is an argument. Knows nothing of
//! threads, and moves nothing.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// While threads take less than this, their time counts less than their sessions:
/// who has time to spare need not be spared. Unit: thousandths of a core a worker.
const IDLE: u64 = 500;
/// A session leaves only where its worker has more than this much above the
/// least loaded one, relative and absolute. Unit: sessions.
const SLACK: (f64, f64) = (0.125, 0.5);

/// What one worker has to do. Written by its thread, read by all; padded to its
/// own cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerLoad {
    sessions: AtomicU64,
    settled: AtomicU64,
    busy: AtomicU64,
    given: AtomicU64,
}

/// The load of one worker at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Open sessions, those on their way to it included.
    pub sessions: u64,
    /// Of those, how many were there when `busy` was measured.
    pub settled: u64,
    /// How much of a core its thread took lately. Unit: thousandths.
    pub busy: u64,
    /// Sessions since the start that it accepted and another worker got.
    pub given: u64,
    /// Whether it takes sessions of others: its thread lives, answers and
    /// does not drain.
    pub open: bool,
}

impl WorkerLoad {
    /// So many sessions live on the thread now.
    pub fn set_sessions(&self, count: usize) {
        self.sessions.store(count as u64, Relaxed);
    }

    /// Of `passed`, the thread ran for `ran`. Counts for half of what is known,
    /// so that a figure of five calls ago counts for a thirty-second.
    pub fn ran(&self, ran: Duration, passed: Duration) {
        let passed = passed.as_micros().max(1);
        let share = (ran.as_micros() * 1000 / passed).min(1000);
        let share = u64::try_from(share).unwrap_or(1000);
        self.busy.store(self.busy.load(Relaxed).midpoint(share), Relaxed);
        self.settled.store(self.sessions.load(Relaxed), Relaxed);
    }

    /// Another worker got a session that this one had accepted.
    pub fn gave(&self) {
        self.given.fetch_add(1, Relaxed);
    }

    /// The load, with `waiting` sessions on their way.
    #[must_use]
    pub fn read(&self, waiting: u64, open: bool) -> Load {
        Load {
            sessions: self.sessions.load(Relaxed) + waiting,
            settled: self.settled.load(Relaxed),
            busy: self.busy.load(Relaxed),
            given: self.given.load(Relaxed),
            open,
        }
    }
}

/// The worker that a new session goes to, where that is not the one that
/// accepted it: the least loaded, if the accepting one is busier than its share.
///
/// A worker's load is its sessions, and its share of all settled sessions, by
/// what its thread takes of all threads' time: so of two workers with as many
/// sessions, the one whose sessions are silent gets the next. Those that came
/// since the time was measured weigh by their number alone, so a burst does not
/// all go to one worker.
#[must_use]
pub fn least_loaded(workers: &[Load], accepting: usize) -> Option<usize> {
    let own = workers.get(accepting)?;
    let sum = |of: fn(&Load) -> u64| workers.iter().map(of).sum::<u64>();
    let floor = IDLE * workers.len() as u64;
    let (settled, busy) = (sum(|it| it.settled), sum(|it| it.busy).max(floor).max(1));
    let weigh = |it: &Load| it.sessions as f64 + it.busy as f64 * settled as f64 / busy as f64;
    let others = workers.iter().enumerate().filter(|(index, it)| *index != accepting && it.open);
    let weighed = others.map(|(index, it)| (index, weigh(it)));
    let (index, least) = weighed.min_by(|(_, one), (_, other)| one.total_cmp(other))?;
    (weigh(own) > least + least * SLACK.0 + SLACK.1).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(sessions: u64, busy: u64) -> Load {
        Load { sessions, settled: sessions, busy, given: 0, open: true }
    }

    /// Accepts `count` sessions on the first of these workers.
    fn accept(workers: &mut [Load], count: u64) -> u64 {
        let mut given = 0;
        for _ in 0..count {
            let goes = least_loaded(workers, 0);
            given += u64::from(goes.is_some());
            workers[goes.unwrap_or(0)].sessions += 1;
        }
        given
    }

    #[test]
    fn the_sessions_of_one_endpoint_are_spread_evenly_whatever_their_number() {
        for count in 2..1000 {
            for among in 2..5 {
                let mut workers = vec![worker(0, 0); among];
                accept(&mut workers, count);
                let most = workers.iter().map(|it| it.sessions).max().expect("workers");
                let least = workers.iter().map(|it| it.sessions).min().expect("workers");
                assert!(most - least <= 1 + (least + 2) / 4, "{count} among {among}: {workers:?}");
            }
        }
    }

    #[test]
    fn where_load_is_even_a_session_stays_where_it_was_accepted() {
        for sessions in [0, 1, 7, 40, 4000] {
            for busy in [0, 50, 1000] {
                assert_eq!(least_loaded(&[worker(sessions, busy); 3], 1), None);
            }
        }
        // Nor does the noise of threads that are as busy as each other move one.
        assert_eq!(least_loaded(&[worker(40, 1000), worker(40, 950)], 0), None);
        assert_eq!(least_loaded(&[worker(1, 20), worker(1, 0)], 0), None);
    }

    #[test]
    fn a_thread_that_works_gets_fewer_sessions_than_one_whose_sessions_are_silent() {
        let (works, rests) = (worker(10, 1000), worker(100, 0));
        assert_eq!(least_loaded(&[works, rests], 0), Some(1));
        assert_eq!(least_loaded(&[works, rests], 1), None);
        // But a burst does not all go to one of them.
        let mut workers = [works, rests];
        accept(&mut workers, 1000);
        assert!(workers[0].sessions > 200 && workers[1].sessions > 200, "{workers:?}");
    }

    #[test]
    fn who_takes_none_gets_none() {
        let closed = Load { open: false, ..worker(0, 0) };
        assert_eq!(least_loaded(&[worker(9, 0), closed], 0), None);
        assert_eq!(least_loaded(&[worker(9, 0), closed, worker(3, 0)], 0), Some(2));
        assert_eq!(least_loaded(&[worker(9, 0)], 0), None);
        assert_eq!(least_loaded(&[], 0), None);
    }

    #[test]
    fn the_time_of_a_thread_is_forgotten_within_a_few_calls() {
        let load = WorkerLoad::default();
        let tick = Duration::from_millis(100);
        (0..10).for_each(|_| load.ran(tick, tick));
        assert!(load.read(0, true).busy > 990);
        (0..10).for_each(|_| load.ran(Duration::ZERO, tick));
        let idle = Load { sessions: 2, settled: 0, busy: 0, given: 0, open: true };
        assert_eq!(load.read(2, true), idle);
        // A clock that stands still, or two clocks that disagree.
        load.ran(tick, Duration::ZERO);
        assert_eq!(load.read(0, false).busy, 500);
    }
}
