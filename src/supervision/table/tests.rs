//! The chunk table, told stories.

use std::time::{Duration, Instant};

use nix::errno::Errno;

mod crash;
mod grow;
mod model;
mod operate;
mod random;

use super::*;
use crate::supervision::failure::FaultKind;
use crate::supervision::retry::Verdict;

const SECOND: Duration = Duration::from_secs(1);

fn worker() -> WorkerId {
    WorkerId(1)
}

fn in_use() -> Fault {
    Fault::from_bind_errno(Errno::EADDRINUSE as i32)
}

fn opened() -> Outcome<()> {
    Outcome::Opened { port: 80, socket: (), sockets: 1 }
}

/// A table with everything stacked.
fn table(total: u64, size: u32) -> ChunkTable<()> {
    let mut table = ChunkTable::new(total, size, Vec::new());
    table.stack_all();
    table
}

/// Leases the next chunk and reports `fail` as failed and the rest as open.
fn open_next(table: &mut ChunkTable<()>, fail: &[Slot], now: Instant) -> Leased {
    let leased = table.lease_next(worker(), now).expect("a ready chunk");
    let outcomes: Vec<_> = leased
        .slots
        .iter()
        .map(|slot| (*slot, if fail.contains(slot) { Outcome::Failed(in_use()) } else { opened() }))
        .collect();
    table.finish(leased.lease, outcomes, now).expect("the present lease");
    leased
}

/// An endpoint of the first chunk.
fn at(slot: Slot) -> Place {
    Place { chunk: ChunkId(1), slot }
}

/// One chunk of `total` endpoints that all listen, by worker A.
fn open_chunk(total: u32, now: Instant) -> ChunkTable<()> {
    let mut table = table(total.into(), total);
    open_next(&mut table, &[], now);
    table
}

#[test]
fn the_last_chunk_is_shorter() {
    let table = table(10, 4);
    assert_eq!(table.chunk_counts().ready, 3);
    assert_eq!(table.place(9), Place { chunk: ChunkId(3), slot: 1 });
    assert_eq!(table.endpoint(Place { chunk: ChunkId(3), slot: 1 }), 9);
}

#[test]
fn workers_take_chunks_until_none_is_left() {
    let now = Instant::now();
    let mut table = table(10, 4);
    let sizes: Vec<_> = (0..3).map(|_| open_next(&mut table, &[], now).slots.len()).collect();
    assert_eq!(sizes, [4, 4, 2]);
    assert!(table.lease_next(worker(), now).is_none());
    assert_eq!((table.chunk_counts().completed, table.endpoint_counts().listening), (3, 10));
    assert_eq!(table.undecided(), 0);
}

#[test]
fn a_failed_endpoint_never_takes_down_a_bound_sibling() {
    let now = Instant::now();
    let mut table = table(1_000, 1_000);
    open_next(&mut table, &[500], now);
    assert_eq!(table.state(ChunkId(1)), Some(ChunkState::Error { faults: 1 }));
    assert_eq!((table.endpoint_counts().listening, table.endpoint_counts().retrying), (999, 1));
}

#[test]
fn a_retry_leases_only_what_is_due() {
    let now = Instant::now();
    let mut table = table(3, 3);
    open_next(&mut table, &[0, 2], now);
    let place = |slot| Place { chunk: ChunkId(1), slot };
    table.verdict(place(0), Verdict::RetryAfter(SECOND), now);
    table.verdict(place(2), Verdict::RetryAfter(2 * SECOND), now);
    table.wake(now);
    assert!(table.lease_next(worker(), now).is_none());
    table.wake(now + SECOND);
    let leased = table.lease_next(worker(), now + SECOND).expect("one is due");
    assert_eq!(leased.slots, [0]);
}

#[test]
fn a_retry_that_succeeds_says_that_the_endpoint_recovered() {
    let now = Instant::now();
    let mut table = table(2, 2);
    open_next(&mut table, &[1], now);
    let place = Place { chunk: ChunkId(1), slot: 1 };
    table.verdict(place, Verdict::Quarantine { probe: Some(SECOND) }, now);
    assert_eq!((table.endpoint_counts().quarantined, table.undecided()), (1, 0));
    table.wake(now + SECOND);
    let leased = table.lease_next(worker(), now + SECOND).expect("the probe is due");
    let recovered = table.finish(leased.lease, [(1, opened())], now + SECOND);
    assert_eq!(recovered, Ok(vec![place]));
    assert_eq!(table.state(ChunkId(1)), Some(ChunkState::Completed));
}

#[test]
fn a_stale_report_changes_nothing_and_is_counted() {
    let now = Instant::now();
    let mut table = table(2, 2);
    let first = table.lease_next(worker(), now).expect("a ready chunk");
    table.revoke(first.lease, now).expect("the present lease");
    let second = table.lease_next(worker(), now).expect("the chunk is ready again");
    assert!(table.finish(first.lease, [(0, opened())], now).is_err());
    assert_eq!((table.endpoint_counts().listening, table.refused()), (0, 1));
    assert!(table.finish(second.lease, [(0, opened()), (1, opened())], now).is_ok());
}

#[test]
fn a_duplicate_report_is_refused() {
    let now = Instant::now();
    let mut table = table(1, 1);
    let leased = open_next(&mut table, &[], now);
    assert!(table.finish(leased.lease, [(0, opened())], now).is_err());
}

#[test]
fn a_shortage_costs_no_attempt() {
    let now = Instant::now();
    let mut table = table(1, 1);
    open_next(&mut table, &[0], now);
    let place = Place { chunk: ChunkId(1), slot: 0 };
    table.verdict(place, Verdict::Pause(SECOND), now);
    table.wake(now + SECOND);
    let leased = table.lease_next(worker(), now + SECOND).expect("due");
    table.finish(leased.lease, [(0, Outcome::Failed(in_use()))], now + SECOND).expect("present");
    let attempts: Vec<_> = table.unjudged(ChunkId(1)).map(|(_, _, attempts)| attempts).collect();
    assert_eq!(attempts, [1]);
}

#[test]
fn what_a_report_leaves_out_is_tried_again() {
    let now = Instant::now();
    let mut table = table(3, 3);
    let leased = table.lease_next(worker(), now).expect("a ready chunk");
    let outcomes = [(0, opened()), (1, Outcome::Deferred)];
    table.finish(leased.lease, outcomes, now).expect("the present lease");
    table.wake(now);
    let again = table.lease_next(worker(), now).expect("two are left");
    assert_eq!(again.slots, [1, 2]);
}

#[test]
fn a_rollback_run_is_retried_as_a_whole() {
    let now = Instant::now();
    let rollback = 2..5;
    let mut table = ChunkTable::new(6, 6, vec![rollback]);
    table.stack_all();
    let leased = table.lease_next(worker(), now).expect("a ready chunk");
    let outcomes: Vec<_> = leased
        .slots
        .iter()
        .map(|slot| {
            (*slot, if (2..5).contains(slot) { Outcome::Failed(in_use()) } else { opened() })
        })
        .collect();
    table.finish(leased.lease, outcomes, now).expect("the present lease");
    for (slot, seconds) in [(2, 3), (3, 1), (4, 2)] {
        let place = Place { chunk: ChunkId(1), slot };
        table.verdict(place, Verdict::RetryAfter(seconds * SECOND), now);
    }
    table.wake(now + SECOND);
    let again = table.lease_next(worker(), now + SECOND).expect("one is due");
    assert_eq!(again.slots, [2, 3, 4]);
}

#[test]
fn completed_never_hides_a_lost_listener() {
    let now = Instant::now();
    let mut table = table(2, 2);
    open_next(&mut table, &[], now);
    let place = Place { chunk: ChunkId(1), slot: 1 };
    table.listener_lost(place, Fault::without_errno(FaultKind::Listener)).expect("it listened");
    assert_eq!(table.state(ChunkId(1)), Some(ChunkState::Error { faults: 1 }));
    assert_eq!(table.unjudged(ChunkId(1)).count(), 1);
    assert!(table.held(place).1.is_none());
}

#[test]
fn a_listener_that_is_lost_before_the_report_of_its_opening_is_not_forgotten() {
    let now = Instant::now();
    let mut table = table(2, 2);
    let leased = table.lease_next(worker(), now).expect("a ready chunk");
    let place = Place { chunk: ChunkId(1), slot: 1 };
    let fault = Fault::without_errno(FaultKind::Listener);
    assert_eq!(table.listener_lost(place, fault), Ok(()));
    table.finish(leased.lease, [(0, opened()), (1, opened())], now).expect("the present lease");
    assert_eq!(table.state(ChunkId(1)), Some(ChunkState::Error { faults: 1 }));
    assert_eq!((table.endpoint_counts().listening, table.endpoint_counts().retrying), (1, 1));
    assert_eq!(table.unjudged(ChunkId(1)).collect::<Vec<_>>(), [(place, fault, 1)]);
}

#[test]
fn endpoints_that_are_due_together_wake_their_chunk_once() {
    let now = Instant::now();
    let mut table = table(1_000, 1_000);
    open_next(&mut table, &(0..1_000).collect::<Vec<_>>(), now);
    for slot in 0..1_000 {
        let place = Place { chunk: ChunkId(1), slot };
        table.verdict(place, Verdict::RetryAfter(SECOND), now);
    }
    assert_eq!(table.due.len(), 1);
    table.wake(now + SECOND);
    assert_eq!((table.chunk_counts().ready, table.refused()), (1, 0));
}

#[test]
fn a_failure_is_put_to_the_error_log_once() {
    let now = Instant::now();
    let mut table = table(3, 3);
    open_next(&mut table, &[0], now);
    assert_eq!(table.unjudged(ChunkId(1)).count(), 1);
    table.asked(ChunkId(1));
    let place = Place { chunk: ChunkId(1), slot: 2 };
    table.listener_lost(place, in_use()).expect("it listened");
    let places: Vec<_> = table.unjudged(ChunkId(1)).map(|(place, _, _)| place).collect();
    assert_eq!(places, [place]);
}

#[test]
fn a_late_verdict_leaves_an_endpoint_alone_that_listens_meanwhile() {
    let now = Instant::now();
    let rollback = 0..2;
    let mut table = ChunkTable::new(2, 2, vec![rollback]);
    table.stack_all();
    open_next(&mut table, &[0, 1], now);
    table.asked(ChunkId(1));
    let place = |slot| Place { chunk: ChunkId(1), slot };
    table.verdict(place(0), Verdict::RetryAfter(SECOND), now);
    // The retry takes the whole unit before the verdict on its other half is there.
    table.wake(now + SECOND);
    open_next(&mut table, &[], now + SECOND);
    table.verdict(place(1), Verdict::Quarantine { probe: None }, now + SECOND);
    assert_eq!((table.endpoint_counts().listening, table.endpoint_counts().quarantined), (2, 0));
}

#[test]
fn an_all_or_nothing_run_that_fits_only_in_part_is_left_out_whole() {
    let now = Instant::now();
    let fault = Fault::without_errno(FaultKind::FdLimit);
    // A run over three chunks of four; the budget ends in the second of them.
    for (budget, opened) in [(1, 1), (2, 2), (3, 2), (4, 4), (6, 4), (8, 8), (10, 8), (11, 11)] {
        let mut table = ChunkTable::new(12, 4, vec![Range { start: 2, end: 11 }]);
        table.quarantine_from(budget, fault);
        table.stack_all();
        let given: Vec<_> = (0..3).map(|_| open_next(&mut table, &[], now).slots.len()).collect();
        assert_eq!(given.iter().sum::<usize>(), opened, "{budget} fit: {given:?}");
        let left_out = table.endpoint_counts().quarantined;
        assert_eq!((left_out, table.undecided()), (12 - opened as u64, 0));
    }
}

#[test]
fn what_the_fd_budget_leaves_out_is_decided_and_never_opened() {
    let now = Instant::now();
    let mut table = ChunkTable::new(6, 2, Vec::new());
    table.quarantine_from(3, Fault::without_errno(FaultKind::FdLimit));
    table.stack_all();
    let given: Vec<_> = (0..3).map(|_| open_next(&mut table, &[], now).slots.len()).collect();
    assert_eq!(given, [2, 1, 0]);
    assert_eq!((table.undecided(), table.chunk_counts().error), (0, 2));
}
