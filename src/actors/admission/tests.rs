//! Limits that hold, change and are given back.

use std::sync::Barrier;
use std::task::Waker;

use proptest::prelude::*;

use super::*;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn admission(sessions: usize, per_source: Option<u32>, on_limit: OnLimit) -> Arc<Admission> {
    Arc::new(Admission::new(sessions, per_source, on_limit))
}

fn seat(admission: &Arc<Admission>) -> Result<Seat, Refusal> {
    let ticket = admission.try_ticket().expect("a ticket");
    admission.seat(HERE, &SourceRules::new(&[], &[]), ticket)
}

#[test]
fn beyond_the_limit_clients_wait_or_are_refused() {
    let waiting = admission(1, None, OnLimit::Wait);
    let held = seat(&waiting).expect("room for one");
    assert!(waiting.try_ticket().is_none());
    drop(held);
    assert!(waiting.try_ticket().is_some());

    let closing = admission(1, None, OnLimit::Close);
    let held = seat(&closing).expect("room for one");
    assert_eq!(seat(&closing).err(), Some(Refusal::Limit));
    drop(held);
    assert!(seat(&closing).is_ok());
}

#[test]
fn who_is_refused_leaves_its_permit_to_the_next() {
    let admission = admission(2, Some(1), OnLimit::Wait);
    let _one = seat(&admission).expect("the first of its source");
    for _ in 0..3 {
        assert_eq!(seat(&admission).err(), Some(Refusal::SourceLimit));
    }
    let ticket = admission.try_ticket().expect("a ticket");
    let nobody = SourceRules::new(&["192.0.2.0/24".parse().expect("a block")], &[]);
    assert_eq!(admission.seat(HERE, &nobody, ticket).err(), Some(Refusal::Source));
    let ticket = admission.try_ticket().expect("a ticket");
    let other = "192.0.2.1".parse().expect("an address");
    assert!(admission.seat(other, &nobody, ticket).is_ok());
}

#[test]
fn a_lower_limit_cuts_nobody_and_admits_nobody_until_there_are_fewer() {
    let admission = admission(3, None, OnLimit::Wait);
    let mut held: Vec<_> = (0..3).map(|_| seat(&admission).expect("room for three")).collect();
    admission.limit(1);
    for left in [2, 1] {
        held.pop();
        assert!(admission.try_ticket().is_none(), "{left} are more than there may be, or as many");
    }
    held.pop();
    let _one = seat(&admission).expect("room for one");
    assert!(admission.try_ticket().is_none());
}

fn poll(queue: &mut TicketQueue, admission: &Arc<Admission>) -> Poll<Option<Ticket>> {
    queue.poll_ticket(admission, &mut Task::from_waker(Waker::noop()))
}

#[test]
fn who_waits_is_admitted_in_order_when_the_limit_rises_and_not_before_the_excess_is_gone() {
    let admission = admission(2, None, OnLimit::Wait);
    let mut held: Vec<_> = (0..2).map(|_| seat(&admission).expect("room for two")).collect();
    let mut queues: Vec<_> = (0..3).map(|_| TicketQueue::new(&admission)).collect();
    for queue in &mut queues {
        assert!(poll(queue, &admission).is_pending());
    }
    admission.limit(1);
    held.pop();
    assert!(queues.iter_mut().all(|queue| poll(queue, &admission).is_pending()), "one is enough");
    admission.limit(3);
    assert!(poll(&mut queues[2], &admission).is_pending(), "the last has to wait");
    let first = poll(&mut queues[0], &admission);
    let second = poll(&mut queues[1], &admission);
    assert!(matches!((&first, &second), (Poll::Ready(Some(_)), Poll::Ready(Some(_)))));
    drop(held);
    assert!(poll(&mut queues[2], &admission).is_ready());
}

#[test]
fn who_waits_is_let_in_to_be_closed_and_keeps_no_place_in_the_queue() {
    let admission = admission(1, None, OnLimit::Wait);
    let held = seat(&admission).expect("room for one");
    let mut queue = TicketQueue::new(&admission);
    assert!(poll(&mut queue, &admission).is_pending());
    admission.on_limit(OnLimit::Close);
    let Poll::Ready(Some(ticket)) = poll(&mut queue, &admission) else { panic!("it waits") };
    let rules = SourceRules::new(&[], &[]);
    assert_eq!(admission.seat(HERE, &rules, ticket).err(), Some(Refusal::Limit));
    drop(held);
    admission.on_limit(OnLimit::Wait);
    assert!(admission.try_ticket().is_some(), "the queue holds the place of nobody");
}

#[test]
fn a_limit_a_source_that_comes_later_counts_who_is_there() {
    let admission = admission(10, None, OnLimit::Close);
    let early = seat(&admission).expect("no limit");
    assert!(early.source.is_none());
    admission.count_sources();
    let late = admission.late_seat(HERE).expect("they are counted");
    admission.limit_sources(Some(1));
    assert_eq!(seat(&admission).err(), Some(Refusal::SourceLimit));
    admission.limit_sources(None);
    let second = seat(&admission).expect("no limit");
    admission.limit_sources(Some(2));
    assert_eq!(seat(&admission).err(), Some(Refusal::SourceLimit));
    drop((early, late, second));
    assert!(seat(&admission).is_ok());
}

proptest! {
    /// Steps: 0 = one ends, 1 = one comes, else the limit is what follows.
    #[test]
    fn whatever_limits_come_and_whoever_goes_nobody_is_admitted_beyond_the_limit(
        first in 0..6_usize,
        steps in prop::collection::vec(0..8_usize, 1..200),
    ) {
        let admission = admission(first, None, OnLimit::Close);
        let (mut limit, mut held) = (first, Vec::new());
        for step in steps {
            match step {
                0 => drop(held.pop()),
                1 => {
                    let seat = seat(&admission);
                    prop_assert_eq!(seat.is_ok(), held.len() < limit, "{} of {}", held.len(), limit);
                    held.extend(seat);
                }
                other => {
                    limit = other - 2;
                    admission.limit(limit);
                }
            }
            prop_assert_eq!(admission.owed.load(Ordering::SeqCst), held.len().saturating_sub(limit));
        }
        drop(held);
        prop_assert_eq!(admission.permits.available_permits(), limit);
    }
}

#[test]
fn many_threads_are_never_more_than_the_highest_limit_while_it_changes_all_the_time() {
    const THREADS: usize = 3;
    const MOST: usize = 3;
    let admission = admission(MOST, None, OnLimit::Close);
    let (now, barrier) = (AtomicUsize::new(0), Barrier::new(THREADS + 1));
    let contend = || {
        barrier.wait();
        for _ in 0..30_000 {
            let Ok(seat) = seat(&admission) else { continue };
            let held = now.fetch_add(1, Ordering::SeqCst) + 1;
            assert!(held <= MOST, "{held} sessions");
            now.fetch_sub(1, Ordering::SeqCst);
            drop(seat);
        }
    };
    std::thread::scope(|scope| {
        (0..THREADS).for_each(|_| drop(scope.spawn(contend)));
        barrier.wait();
        for limit in (0..=MOST).cycle().take(20_000) {
            admission.limit(limit);
        }
        admission.limit(MOST);
    });
    assert_eq!(admission.owed.load(Ordering::SeqCst), 0);
    assert_eq!(admission.permits.available_permits(), MOST);
}
