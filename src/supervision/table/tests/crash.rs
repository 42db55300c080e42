//! Crashes and lost addresses, told to the chunk table.

use super::*;

const A: WorkerId = WorkerId(1);
const B: WorkerId = WorkerId(2);

fn crash() -> Fault {
    Fault::without_errno(FaultKind::ListenerPanic)
}

fn away() -> Fault {
    Fault::without_errno(FaultKind::AddressLost)
}

/// Everything there is to know of the table, but for what it refused.
fn facts(table: &ChunkTable<()>) -> String {
    let rows: Vec<_> = table.chunks.iter().map(|chunk| (&chunk.state, &chunk.rows)).collect();
    format!("{rows:?} {:?} {:?} {}", table.endpoints, table.states, table.stack.len())
}

#[test]
fn a_crashed_listener_is_leased_again_with_its_socket_and_no_attempt_is_charged() {
    let now = Instant::now();
    let mut table = open_chunk(2, now);
    table.listener_crashed(at(1), crash(), now + SECOND).expect("it is served");
    assert_eq!(table.state(ChunkId(1)), Some(ChunkState::Error { faults: 1 }));
    assert_eq!((table.unjudged(ChunkId(1)).count(), table.held(at(1))), (0, (80, Some(&()))));
    assert_eq!(table.owned_by(A).collect::<Vec<_>>(), [at(0)]);
    table.wake(now);
    assert!(table.lease_next(B, now).is_none(), "it is not due");
    table.wake(now + SECOND);
    let leased = table.lease_next(B, now + SECOND).expect("due");
    assert_eq!((leased.slots.clone(), table.lease_of(B)), (vec![1], Some(leased.lease)));
    let recovered = table.finish(leased.lease, [(1, opened())], now + SECOND);
    assert_eq!(recovered, Ok(vec![at(1)]));
    assert_eq!(table.served_under(at(1)), Some(leased.lease));
    assert_eq!(table.state(ChunkId(1)), Some(ChunkState::Completed));
}

#[test]
fn the_endpoints_of_a_lost_worker_keep_their_sockets_and_the_others_their_owner() {
    let now = Instant::now();
    let mut table = table(6, 2);
    for worker in [A, B, A] {
        let leased = table.lease_next(worker, now).expect("a chunk");
        table.finish(leased.lease, [(0, opened()), (1, opened())], now).expect("present");
    }
    table.address_lost(at(0), away()).expect("it listens");
    let lost = Fault::without_errno(FaultKind::WorkerLost);
    assert_eq!(table.worker_lost(A, lost, now), 4);
    assert_eq!((table.owned_by(A).count(), table.owned_by(B).count()), (0, 2));
    assert_eq!((table.chunk_counts().completed, table.chunk_counts().error), (1, 2));
    table.wake(now);
    let slots: Vec<_> =
        std::iter::from_fn(|| table.lease_next(B, now)).map(|leased| leased.slots).collect();
    assert_eq!(slots, [[0, 1], [0, 1]]);
    assert_eq!(table.worker_lost(A, lost, now), 0);
}

#[test]
fn what_a_crashed_worker_opened_is_adopted_and_the_rest_is_due_later() {
    let now = Instant::now();
    let mut table = table(3, 3);
    let old = table.lease_next(A, now).expect("a chunk").lease;
    table.adopt(old, [(1, opened())], now + SECOND).expect("the present lease");
    assert_eq!((table.endpoint_counts().listening, table.endpoint_counts().pending), (1, 2));
    table.wake(now);
    assert!(table.lease_next(A, now).is_none(), "the rest is not due");
    table.wake(now + SECOND);
    let again = table.lease_next(B, now + SECOND).expect("due");
    assert_eq!(again.slots, [0, 2]);
    assert!(table.finish(old, [(0, opened())], now).is_err(), "a late report");
    assert_eq!(table.refused(), 1);
}

#[test]
fn adoption_by_finish_gives_back_what_does_not_live() {
    let now = Instant::now();
    let mut table = table(3, 3);
    let old = table.lease_next(A, now).expect("a chunk").lease;
    table.finish(old, [(1, opened())], now).expect("the present lease");
    table.wake(now);
    assert_eq!(table.lease_next(B, now).expect("due at once").slots, [0, 2]);
}

#[test]
fn a_lease_that_is_retried_later_is_not_leased_before() {
    let now = Instant::now();
    let mut table = table(2, 2);
    let old = table.lease_next(A, now).expect("a chunk").lease;
    table.retry_chunk_at(old, now + SECOND).expect("the present lease");
    assert_eq!(table.lease_of(A), None);
    table.wake(now);
    assert!(table.lease_next(A, now).is_none());
    table.wake(now + SECOND);
    let again = table.lease_next(A, now + SECOND).expect("due");
    assert_eq!(again.slots, [0, 1]);
    table.finish(again.lease, [(0, Outcome::Failed(in_use()))], now).expect("present");
    let attempts: Vec<_> = table.unjudged(ChunkId(1)).map(|(_, _, attempts)| attempts).collect();
    assert_eq!(attempts, [1], "a crash is no failed attempt");
}

#[test]
fn a_poisoned_chunk_is_quarantined_but_for_what_is_served() {
    let now = Instant::now();
    let mut table = table(4, 4);
    let old = table.lease_next(A, now).expect("a chunk").lease;
    table.adopt(old, [(2, opened())], now).expect("the present lease");
    let poison = Fault::without_errno(FaultKind::ChunkPanic);
    table.quarantine_chunk(ChunkId(1), poison, Some(now + SECOND));
    assert_eq!(table.state(ChunkId(1)), Some(ChunkState::Error { faults: 3 }));
    assert_eq!((table.endpoint_counts().quarantined, table.undecided()), (3, 0));
    assert_eq!(table.served_under(at(2)), Some(old));
    table.wake(now);
    assert!(table.lease_next(A, now).is_none());
    table.wake(now + SECOND);
    assert_eq!(table.lease_next(A, now + SECOND).expect("the probe").slots, [0, 1, 3]);
}

#[test]
fn a_poisoned_chunk_loses_its_lease() {
    let now = Instant::now();
    let mut table = table(2, 2);
    let old = table.lease_next(A, now).expect("a chunk").lease;
    table.quarantine_chunk(ChunkId(1), Fault::without_errno(FaultKind::ChunkPanic), None);
    assert_eq!(table.state(ChunkId(1)), Some(ChunkState::Error { faults: 2 }));
    assert!(table.finish(old, [(0, opened())], now).is_err());
    assert_eq!((table.next_due(), table.endpoint_counts().quarantined), (None, 2));
}

#[test]
fn a_quarantined_endpoint_holds_no_socket_and_waits_for_its_probe_or_its_release() {
    let now = Instant::now();
    let mut table = open_chunk(2, now);
    table.quarantine(at(0), crash(), None);
    assert_eq!((table.held(at(0)), table.served_under(at(0))), ((80, None), None));
    assert_eq!(table.state(ChunkId(1)), Some(ChunkState::Error { faults: 1 }));
    table.wake(now + 900 * SECOND);
    assert!(table.lease_next(A, now + 900 * SECOND).is_none());
    table.release(at(0), now);
    table.release(at(1), now);
    table.wake(now);
    assert_eq!(table.lease_next(A, now).expect("released").slots, [0]);
}

#[test]
fn what_becomes_of_a_listener_before_the_report_is_done_with_the_report() {
    let now = Instant::now();
    let mut table = table(3, 3);
    let lease = table.lease_next(A, now).expect("a chunk").lease;
    table.listener_crashed(at(1), crash(), now + SECOND).expect("it is noted");
    table.quarantine(at(2), crash(), None);
    assert_eq!((table.endpoint_counts().pending, table.undecided()), (3, 3));
    let all = (0..3).map(|slot| (slot, opened()));
    assert_eq!(table.finish(lease, all, now), Ok(vec![]));
    let states = [0, 1, 2].map(|slot| table.endpoint_state(at(slot)));
    use EndpointState::{Listening, Quarantined, Retrying};
    assert_eq!(states, [Listening, Retrying, Quarantined].map(Some));
    assert_eq!(table.held(at(2)), (80, None), "clients must be refused");
    table.wake(now);
    assert!(table.lease_next(B, now).is_none(), "its delay is kept");
    table.wake(now + SECOND);
    assert_eq!(table.lease_next(B, now + SECOND).map(|leased| leased.slots), Some(vec![1]));
}

#[test]
fn used_up_attempts_let_the_kept_socket_go() {
    let now = Instant::now();
    let mut table = open_chunk(1, now);
    table.listener_crashed(at(0), crash(), now).expect("it is served");
    table.wake(now);
    open_next(&mut table, &[0], now);
    assert!(table.held(at(0)).1.is_some(), "the next attempt needs it");
    table.verdict(at(0), Verdict::Quarantine { probe: None }, now);
    assert!(table.held(at(0)).1.is_none(), "clients must be refused, not kept waiting");
}

#[test]
fn an_address_that_leaves_and_returns_changes_no_owner() {
    let now = Instant::now();
    let mut table = open_chunk(2, now);
    let lease = table.served_under(at(0));
    table.address_lost(at(0), away()).expect("it listens");
    table.address_lost(at(1), away()).expect("it listens");
    assert_eq!(table.state(ChunkId(1)), Some(ChunkState::Error { faults: 2 }));
    assert_eq!((table.next_due(), table.served_under(at(0))), (None, lease));
    table.address_back(at(0)).expect("it waits");
    assert_eq!(table.state(ChunkId(1)), Some(ChunkState::Error { faults: 1 }));
    table.address_back(at(1)).expect("it waits");
    assert_eq!(table.state(ChunkId(1)), Some(ChunkState::Completed));
    assert_eq!((table.endpoint_counts().listening, table.failures().count()), (2, 0));
}

#[test]
fn an_address_that_moved_to_another_interface_is_bound_anew_and_costs_no_attempt() {
    let now = Instant::now();
    let mut table = open_chunk(2, now);
    table.address_lost(at(0), away()).expect("it listens");
    table.address_moved(at(0), away(), now).expect("it is served");
    assert_eq!((table.held(at(0)), table.served_under(at(0))), ((80, None), None));
    assert_eq!((table.unjudged(ChunkId(1)).count(), table.endpoint_counts().listening), (0, 1));
    assert!(table.address_moved(at(0), away(), now).is_err(), "told twice");
    table.wake(now);
    let leased = table.lease_next(B, now).expect("due at once");
    let recovered = table.finish(leased.lease, [(0, opened())], now);
    assert_eq!((leased.slots, recovered), (vec![0], Ok(vec![at(0)])));
    assert_eq!(table.state(ChunkId(1)), Some(ChunkState::Completed));
}

#[test]
fn a_listener_that_waits_for_its_address_is_never_leased_with_its_run() {
    let now = Instant::now();
    let mut table = ChunkTable::new(3, 3, vec![Range { start: 0, end: 3 }]);
    table.stack_all();
    open_next(&mut table, &[], now);
    table.address_lost(at(0), away()).expect("it listens");
    table.listener_crashed(at(1), crash(), now).expect("it is served");
    table.wake(now);
    assert_eq!(table.lease_next(B, now).expect("due").slots, [1]);
}

#[test]
fn an_endpoint_that_was_quarantined_for_crashing_is_not_leased_with_its_run() {
    let now = Instant::now();
    let mut table = ChunkTable::new(3, 3, vec![Range { start: 0, end: 3 }]);
    table.stack_all();
    open_next(&mut table, &[], now);
    table.quarantine(at(0), crash(), None);
    table.listener_crashed(at(1), crash(), now).expect("it is served");
    table.wake(now);
    assert_eq!(table.lease_next(B, now).expect("due").slots, [1]);
}

#[test]
fn a_refused_call_changes_nothing_and_is_counted_where_it_is_a_late_report() {
    let now = Instant::now();
    let mut table = table(4, 2);
    open_next(&mut table, &[1], now);
    let stale = Lease { chunk: ChunkId(1), worker: A, epoch: 1 };
    let before = facts(&table);
    for place in [at(1), Place { chunk: ChunkId(2), slot: 0 }] {
        assert!(table.listener_crashed(place, crash(), now).is_err());
        assert!(table.listener_lost(place, crash()).is_err());
        assert!(table.address_lost(place, away()).is_err());
        assert!(table.address_back(place).is_err());
    }
    assert!(table.address_back(at(0)).is_err());
    assert!(table.retry_chunk_at(stale, now).is_err());
    assert!(table.adopt(stale, [(1, opened())], now).is_err());
    assert!(table.revoke(stale, now).is_err());
    assert_eq!((facts(&table), table.refused()), (before.clone(), 6));
    for place in [at(7), Place { chunk: ChunkId(9), slot: 0 }] {
        assert!(table.listener_crashed(place, crash(), now).is_err());
        assert!(table.address_lost(place, away()).is_err());
        assert!(table.address_back(place).is_err());
        table.quarantine(place, crash(), None);
        table.release(place, now);
    }
    table.quarantine_chunk(ChunkId(9), crash(), None);
    assert_eq!(facts(&table), before);
}

#[test]
fn a_report_that_panics_half_way_changes_nothing() {
    let now = Instant::now();
    let mut table = table(2, 2);
    let lease = table.lease_next(A, now).expect("a chunk").lease;
    let before = facts(&table);
    let half = (0..2).map(|slot| if slot == 0 { (slot, opened()) } else { panic!("half way") });
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        table.finish(lease, half, now).is_ok()
    }));
    assert!(caught.is_err());
    assert_eq!(facts(&table), before);
}

#[test]
fn a_closed_table_leases_nothing_and_keeps_no_socket() {
    let now = Instant::now();
    let mut table = table(4, 2);
    open_next(&mut table, &[], now);
    let late = table.lease_next(B, now).expect("the second chunk").lease;
    table.close();
    table.listener_crashed(at(0), crash(), now).expect("it is served");
    table.finish(late, [(0, opened())], now).expect("the present lease");
    table.wake(now + SECOND);
    assert!(table.lease_next(A, now + SECOND).is_none());
    assert_eq!((table.next_due(), table.is_closed()), (None, true));
    let sockets = (0..4).filter(|index| table.held(table.place(*index)).1.is_some()).count();
    assert_eq!(sockets, 0);
}

#[test]
fn a_verdict_that_comes_after_the_endpoint_listens_is_too_late() {
    let now = Instant::now();
    let mut table = ChunkTable::new(2, 2, vec![Range { start: 0, end: 2 }]);
    table.stack_all();
    open_next(&mut table, &[0, 1], now);
    table.verdict(at(0), Verdict::RetryAfter(SECOND), now);
    table.wake(now + SECOND);
    open_next(&mut table, &[], now + SECOND);
    table.verdict(at(1), Verdict::Quarantine { probe: None }, now + SECOND);
    assert_eq!(table.endpoint_counts().listening, 2);
}
