//! Rows that come, move and go, told to the chunk table.

use super::*;

fn at(chunk: u32, slot: Slot) -> Place {
    Place { chunk: ChunkId(chunk), slot }
}

fn remove(table: &mut ChunkTable<()>, place: Place) {
    table.hold(place, Hold::Closed).expect("it is there");
    for (place, lease) in table.take_closings() {
        table.listener_closed(place, lease).expect("it was told");
    }
}

#[test]
fn what_is_added_gets_new_chunks_and_what_listens_does_not_notice() {
    let now = Instant::now();
    let mut table = table(4, 2);
    open_next(&mut table, &[], now);
    open_next(&mut table, &[], now);
    table.renumber(7, Vec::new(), Some);
    table.add(&[4, 5, 6]);
    assert_eq!((table.chunk_counts().ready, table.undecided()), (2, 3));
    assert_eq!((table.place(3), table.place(6)), (at(2, 1), at(4, 0)));
    assert_eq!(table.endpoint(at(3, 1)), 5);
    assert_eq!(open_next(&mut table, &[], now).slots, [0, 1]);
    assert_eq!(open_next(&mut table, &[], now).slots, [0]);
    assert_eq!((table.endpoint_counts().listening, table.endpoint_counts().total), (7, 7));
}

#[test]
fn a_chunk_that_is_emptied_is_gone_and_its_number_is_not_used_again() {
    let now = Instant::now();
    let mut table = table(3, 2);
    open_next(&mut table, &[], now);
    open_next(&mut table, &[], now);
    remove(&mut table, at(1, 0));
    assert_eq!((table.retire(), table.chunk_counts().total), (Vec::new(), 2));
    remove(&mut table, at(1, 1));
    assert_eq!((table.retire(), table.chunk_counts().total), (vec![ChunkId(1)], 1));
    assert_eq!((table.state(ChunkId(1)), table.states().count()), (None, 1));
    table.renumber(2, Vec::new(), |old| (old == 2).then_some(1));
    table.add(&[0]);
    assert_eq!((table.place(1), table.place(0)), (at(2, 0), at(3, 0)));
}

#[test]
fn an_emptied_chunk_stays_until_its_lease_has_ended() {
    let now = Instant::now();
    let mut table = table(1, 1);
    let leased = table.lease_next(worker(), now).expect("a ready chunk");
    table.hold(at(1, 0), Hold::Closed).expect("it is there");
    assert_eq!(table.retire(), []);
    table.finish(leased.lease, [(0, opened())], now).expect("the present lease");
    assert_eq!((table.take_closings(), table.retire()), (vec![(at(1, 0), leased.lease)], vec![]));
    table.listener_closed(at(1, 0), leased.lease).expect("it was told");
    assert_eq!(table.retire(), [ChunkId(1)]);
    assert!(table.finish(leased.lease, [], now).is_err());
}

#[test]
fn an_endpoint_with_new_settings_is_served_again_from_the_same_socket() {
    let now = Instant::now();
    let mut table = table(2, 2);
    open_next(&mut table, &[], now);
    assert!(table.reopen(at(1, 1), false, now) && !table.reopen(at(1, 1), false, now));
    assert_eq!(table.held(at(1, 1)), (80, Some(&())));
    let closings = table.take_closings();
    table.wake(now);
    assert!(table.lease_next(worker(), now).is_none_or(|leased| leased.slots.is_empty()));
    for (place, lease) in closings {
        table.listener_closed(place, lease).expect("it was told");
    }
    let mut again = Vec::new();
    while again.is_empty() {
        table.wake(now);
        again = table.lease_next(worker(), now).map(|leased| leased.slots).unwrap_or_default();
    }
    assert_eq!((again, table.held(at(1, 1))), (vec![1], (80, Some(&()))));
}

#[test]
fn a_rollback_run_follows_its_endpoints_to_their_new_places() {
    let now = Instant::now();
    let mut table = table(4, 4);
    table.renumber(4, vec![std::ops::Range { start: 0, end: 2 }], |old| Some(3 - old));
    let leased = table.lease_next(worker(), now).expect("a ready chunk");
    let outcomes = [0, 1].map(|slot| (slot, opened())).into_iter();
    let failed = [2, 3].map(|slot| (slot, Outcome::Failed(in_use())));
    table.finish(leased.lease, outcomes.chain(failed), now).expect("the present lease");
    table.verdict(at(1, 2), Verdict::RetryAfter(SECOND), now);
    table.verdict(at(1, 3), Verdict::RetryAfter(2 * SECOND), now);
    table.wake(now + SECOND);
    assert_eq!(table.lease_next(worker(), now + SECOND).expect("due").slots, [2, 3]);
}
