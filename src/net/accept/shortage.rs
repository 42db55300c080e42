//! One back-off for all listeners of a thread, while the machine has no room.
//!
//! The first that is refused room closes the gate. When the pause is over one
//! listener tries for all; each that finds room lets two more in, so that those
//! who wait cost nothing until there is something for them. Never sleeps: whoever
//! was refused says when the pause is [`over`](Shortage::over).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::AcceptPause;

/// How many are let in for each that found room.
const LET_IN: usize = 2;

/// Whether a thread's listeners may try to take connections.
#[derive(Debug, Default)]
pub(crate) struct Shortage {
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    pause: AcceptPause,
    gate: Gate,
    /// Counts those who ever waited; the lower the number, the earlier its turn.
    numbers: u64,
    /// Those who wait for their turn.
    waiting: BTreeMap<u64, Waker>,
    /// Those whose turn it is, and who have not tried yet.
    let_in: BTreeSet<u64>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Gate {
    /// No shortage is known: everybody may try.
    #[default]
    Open,
    /// A pause is under way: nobody may.
    Closed,
    /// The pause is over: those who are let in may try, or whoever comes first.
    Ajar,
}

/// A listener's place at the gate. Dropping it passes its turn on.
#[derive(Debug)]
pub(crate) struct Turn {
    shortage: Rc<Shortage>,
    number: Option<u64>,
}

impl Shortage {
    /// The pause that [`Turn::refused`] asked for is over.
    pub(crate) fn over(&self) {
        let mut state = self.state.borrow_mut();
        if state.gate == Gate::Closed {
            state.gate = Gate::Ajar;
            state.let_in_next(1);
        }
    }
}

impl State {
    fn let_in_next(&mut self, count: usize) {
        for _ in 0..count {
            let Some((number, waker)) = self.waiting.pop_first() else { return };
            self.let_in.insert(number);
            waker.wake();
        }
    }
}

impl Turn {
    /// A place for a listener that has not been refused yet.
    pub(crate) const fn new(shortage: Rc<Shortage>) -> Self {
        Self { shortage, number: None }
    }

    /// Waits until this listener may try.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.shortage.state.borrow_mut();
        if state.gate == Gate::Open {
            self.number = None;
            return Poll::Ready(());
        }
        let number = *self.number.get_or_insert_with(|| {
            state.numbers += 1;
            state.numbers
        });
        let nobody = state.let_in.is_empty() && state.waiting.is_empty();
        if state.gate == Gate::Ajar && nobody {
            state.let_in.insert(number);
        }
        if state.let_in.contains(&number) {
            return Poll::Ready(());
        }
        state.waiting.insert(number, cx.waker().clone());
        Poll::Pending
    }

    /// There was room.
    pub(crate) fn succeeded(&mut self) {
        let mut state = self.shortage.state.borrow_mut();
        if state.gate != Gate::Ajar {
            return;
        }
        state.pause.reset();
        if self.number.take().is_some_and(|number| state.let_in.remove(&number)) {
            state.let_in_next(LET_IN);
        }
        if state.let_in.is_empty() && state.waiting.is_empty() {
            state.gate = Gate::Open;
        }
    }

    /// There was none: nobody may try before [`Shortage::over`] is called, after
    /// the time that this returns; `None` where somebody was told so already.
    /// `chance` is a random number from 0 to 1.
    pub(crate) fn refused(&mut self, chance: f64) -> Option<Duration> {
        let mut state = self.shortage.state.borrow_mut();
        self.number = None;
        if state.gate == Gate::Closed {
            return None;
        }
        state.gate = Gate::Closed;
        // Who was let in and has not tried keeps its number, and so its turn.
        state.let_in.clear();
        Some(state.pause.next(chance))
    }

    /// There is nothing to take after all: the turn is another's.
    pub(crate) fn pass_on(&mut self) {
        let Some(number) = self.number.take() else { return };
        let mut state = self.shortage.state.borrow_mut();
        state.waiting.remove(&number);
        if state.let_in.remove(&number) {
            state.let_in_next(1);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.pass_on();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A thread's listeners, and how often any of them was woken.
    struct Thread {
        shortage: Rc<Shortage>,
        turns: Vec<Turn>,
        woken: Arc<Woken>,
    }

    impl Thread {
        fn new(listeners: usize) -> Self {
            let shortage = Rc::new(Shortage::default());
            let turns = (0..listeners).map(|_| Turn::new(Rc::clone(&shortage))).collect();
            Self { shortage, turns, woken: Arc::default() }
        }

        /// Those who may try now; the others wait.
        fn may(&mut self) -> Vec<usize> {
            let waker = Waker::from(Arc::clone(&self.woken));
            let mut cx = Context::from_waker(&waker);
            let may = |(at, turn): (usize, &mut Turn)| turn.poll(&mut cx).is_ready().then_some(at);
            self.turns.iter_mut().enumerate().filter_map(may).collect()
        }

        fn refused(&mut self, at: usize) -> Option<u128> {
            self.turns[at].refused(0.0).map(|pause| pause.as_millis())
        }
    }

    #[test]
    fn whoever_is_refused_pauses_all_and_one_tries_for_all_when_that_is_over() {
        let mut thread = Thread::new(3);
        assert_eq!(thread.may(), [0, 1, 2]);
        assert_eq!(thread.refused(1), Some(100));
        assert_eq!(thread.refused(0), None, "the same pause");
        assert_eq!(thread.may(), [0; 0]);
        let mut pauses = Vec::new();
        for _ in 0..5 {
            thread.shortage.over();
            let tries = thread.may();
            assert_eq!(tries.len(), 1);
            pauses.extend(thread.refused(tries[0]));
        }
        assert_eq!(pauses, [200, 400, 800, 1000, 1000]);
        assert_eq!(thread.woken.0.load(Ordering::Relaxed), 5, "one a pause");
    }

    #[test]
    fn each_in_turn_tries_for_all() {
        let mut thread = Thread::new(3);
        thread.refused(0);
        let mut tries = Vec::new();
        for _ in 0..4 {
            thread.may();
            thread.shortage.over();
            tries.extend(thread.may());
            thread.refused(tries[tries.len() - 1]);
        }
        assert_eq!(tries, [0, 1, 2, 0]);
    }

    #[test]
    fn room_for_one_lets_two_more_try_and_the_schedule_starts_over() {
        let mut thread = Thread::new(8);
        thread.refused(0);
        thread.may();
        thread.shortage.over();
        assert_eq!(thread.may(), [0]);
        thread.turns[0].succeeded();
        // The next client of the one that found room waits behind all others.
        assert_eq!(thread.may(), [1, 2]);
        thread.turns[1].succeeded();
        assert_eq!(thread.may(), [2, 3, 4]);
        assert_eq!(thread.refused(2), Some(100));
        assert_eq!(thread.may(), [0; 0]);
        thread.shortage.over();
        assert_eq!(thread.may(), [3], "let in, and not tried: the first of all");
    }

    #[test]
    fn the_gate_is_open_once_nobody_waits() {
        let mut thread = Thread::new(4);
        thread.refused(0);
        thread.may();
        thread.shortage.over();
        while !thread.turns.is_empty() {
            assert_eq!(thread.may().first(), Some(&0));
            // Served, and without another client.
            thread.turns.remove(0).succeeded();
        }
        assert_eq!(thread.shortage.state.borrow().gate, Gate::Open);
    }

    #[test]
    fn a_turn_that_is_not_used_is_another_s() {
        let mut thread = Thread::new(3);
        thread.refused(0);
        thread.may();
        thread.shortage.over();
        assert_eq!(thread.may(), [0]);
        thread.turns[0].pass_on();
        // It has no client any more, and does not ask.
        let gone = thread.turns.remove(0);
        assert_eq!(thread.may(), [0]);
        drop(thread.turns.remove(0));
        assert_eq!(thread.may(), [0], "nor does one that is closed keep it");
        drop(gone);
    }

    #[test]
    fn a_pause_that_ends_while_nobody_waits_lets_the_next_client_try() {
        let mut thread = Thread::new(2);
        thread.refused(0);
        thread.shortage.over();
        assert_eq!(thread.may(), [0], "and nobody else before it has");
        assert_eq!(thread.refused(0), Some(200));
    }
}
