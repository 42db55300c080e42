//! Operators' orders, told to the chunk table.

use super::*;

/// Suspends the endpoint until then, and closes its listener.
fn suspend(table: &mut ChunkTable<()>, place: Place, until: Option<Instant>) {
    table.hold(place, Hold::Suspended(until)).expect("it is there");
    for (place, lease) in table.take_closings() {
        table.listener_closed(place, lease).expect("it was told");
    }
}

#[test]
fn a_suspended_endpoint_is_neither_missing_nor_bound() {
    let now = Instant::now();
    let mut table = open_chunk(2, now);
    table.hold(at(1), Hold::Suspended(None)).expect("it is there");
    assert_eq!(table.state(ChunkId(1)), Some(ChunkState::Completed));
    let counts = table.endpoint_counts();
    assert_eq!((counts.listening, counts.suspended, counts.total), (1, 1, 2));
    assert_eq!(table.held(at(1)), (80, None));
}

#[test]
fn a_listener_is_told_to_close_once_and_its_endpoint_opens_no_sooner_than_it_is_gone() {
    let now = Instant::now();
    let mut table = open_chunk(2, now);
    table.hold(at(1), Hold::Suspended(None)).expect("it is there");
    let closings = table.take_closings();
    let [(place, lease)] = closings[..] else { panic!("one listener, not {closings:?}") };
    table.hold(at(1), Hold::Draining).expect("it is there");
    assert_eq!((place, table.take_closings().len()), (at(1), 0));
    assert!(table.resume(at(1), now));
    table.wake(now);
    assert!(table.lease_next(worker(), now).is_none_or(|leased| leased.slots.is_empty()));
    table.listener_closed(place, lease).expect("it was told");
    table.listener_closed(place, lease).expect_err("told twice");
    table.close_again();
    assert_eq!(table.take_closings(), []);
}

#[test]
fn a_resumed_endpoint_is_opened_again_with_its_number() {
    let now = Instant::now();
    let mut table = open_chunk(2, now);
    suspend(&mut table, at(1), None);
    assert!(table.resume(at(1), now) && !table.resume(at(1), now));
    assert_eq!(table.state(ChunkId(1)), Some(ChunkState::Error { faults: 1 }));
    assert_eq!(table.held(at(1)), (80, None));
    table.wake(now);
    assert_eq!(open_next(&mut table, &[], now).slots, [1]);
    assert_eq!(table.state(ChunkId(1)), Some(ChunkState::Completed));
}

#[test]
fn a_suspension_ends_by_itself_and_a_later_one_without_an_end_does_not() {
    let now = Instant::now();
    let mut table = open_chunk(3, now);
    suspend(&mut table, at(0), Some(now + SECOND));
    suspend(&mut table, at(1), Some(now + SECOND));
    suspend(&mut table, at(1), None);
    assert_eq!(table.next_due(), Some(now + SECOND));
    table.wake(now + SECOND);
    assert_eq!(open_next(&mut table, &[], now + SECOND).slots, [0]);
    assert_eq!(table.endpoint_counts().suspended, 1);
}

#[test]
fn an_endpoint_that_is_suspended_while_it_is_opened_is_closed_with_the_report() {
    let now = Instant::now();
    let mut table = table(3, 3);
    let leased = table.lease_next(worker(), now).expect("a ready chunk");
    for slot in 0..3 {
        table.hold(at(slot), Hold::Suspended(None)).expect("it is there");
    }
    assert_eq!((table.take_closings(), table.is_closing(at(0))), (Vec::new(), true));
    let outcomes = [(0, opened()), (1, Outcome::Failed(in_use())), (2, Outcome::Deferred)];
    let recovered = table.finish(leased.lease, outcomes, now);
    assert_eq!(recovered, Ok(Vec::new()));
    assert_eq!(table.take_closings(), [(at(0), leased.lease)]);
    assert_eq!((table.endpoint_counts().suspended, table.unjudged(ChunkId(1)).count()), (3, 0));
    assert_eq!(table.state(ChunkId(1)), Some(ChunkState::Completed));
    assert_eq!((table.undecided(), table.closing()), (0, 1));
}

#[test]
fn a_listener_that_crashes_while_it_closes_is_closed() {
    let now = Instant::now();
    let mut table = open_chunk(2, now);
    for slot in 0..2 {
        table.hold(at(slot), Hold::Draining).expect("it is there");
    }
    let crash = Fault::without_errno(FaultKind::ListenerPanic);
    table.listener_crashed(at(0), crash, now).expect("it is served");
    assert_eq!(table.worker_lost(worker(), crash, now), 0);
    assert_eq!((table.closing(), table.endpoint_counts().draining), (0, 2));
    assert!(table.drained(at(0)) && !table.drained(at(0)));
    assert_eq!(table.failures().count(), 0);
}

#[test]
fn a_suspension_does_not_make_siblings_forget_their_retry() {
    let now = Instant::now();
    let mut table = table(2, 2);
    open_next(&mut table, &[0, 1], now);
    table.verdict(at(0), Verdict::RetryAfter(SECOND), now);
    table.verdict(at(1), Verdict::RetryAfter(2 * SECOND), now);
    // The report of a lease that opened nothing schedules what comes first alone.
    table.wake(now + SECOND);
    let leased = table.lease_next(worker(), now + SECOND).expect("one is due");
    table.finish(leased.lease, [(0, Outcome::Deferred)], now + SECOND).expect("present");
    table.due.retain(|(due, _)| *due <= now + SECOND);
    table.hold(at(0), Hold::Suspended(None)).expect("it is there");
    table.wake(now + SECOND);
    assert_eq!(table.next_due(), Some(now + 2 * SECOND));
}

#[test]
fn a_removed_endpoint_counts_nowhere_and_comes_back_never() {
    let now = Instant::now();
    let mut table = open_chunk(2, now);
    table.hold(at(0), Hold::Closed).expect("it is there");
    assert!(table.hold(at(0), Hold::Suspended(None)).is_err() && !table.resume(at(0), now));
    assert_eq!((table.endpoint_counts().total, table.endpoint_counts().listening), (1, 1));
    assert_eq!(table.state(ChunkId(1)), Some(ChunkState::Completed));
}

#[test]
fn what_the_fd_budget_leaves_out_stays_out_when_it_is_resumed() {
    let now = Instant::now();
    let mut table = ChunkTable::<()>::new(2, 2, Vec::new());
    table.quarantine_from(1, Fault::without_errno(FaultKind::FdLimit));
    table.hold(at(1), Hold::Suspended(Some(now))).expect("it is there");
    table.wake(now);
    assert_eq!((table.endpoint_counts().quarantined, table.is_left_out(at(1))), (1, true));
}

#[test]
fn a_retry_makes_what_failed_due_at_once_with_fresh_attempts() {
    let now = Instant::now();
    let mut table = table(2, 2);
    open_next(&mut table, &[0], now);
    table.verdict(at(0), Verdict::Quarantine { probe: None }, now);
    assert!(table.release(at(0), now) && !table.release(at(1), now));
    table.wake(now);
    assert_eq!(open_next(&mut table, &[], now).slots, [0]);
}
