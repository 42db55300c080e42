//! The chunk table under random reports, losses and waits.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Lease,
    Report { stale: bool, fail: Vec<bool> },
    Revoke,
    Lose(u32),
    Wait(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Lease),
        3 => (any::<bool>(), prop::collection::vec(any::<bool>(), 4))
            .prop_map(|(stale, fail)| Step::Report { stale, fail }),
        1 => Just(Step::Revoke),
        1 => (0..9_u32).prop_map(Step::Lose),
        1 => (1..3_000_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    /// However reports are lost, repeated or late: counts stay true, an
    /// endpoint is under at most one lease, and in the end all are decided.
    #[test]
    fn every_endpoint_is_finally_decided(steps in prop::collection::vec(any_step(), 0..60)) {
        let mut now = Instant::now();
        let mut table = table(9, 4);
        let mut held: Vec<Leased> = Vec::new();
        let mut old: Vec<Leased> = Vec::new();
        for step in steps {
            match step {
                Step::Lease => held.extend(table.lease_next(worker(), now)),
                Step::Report { stale, fail } => {
                    let from = if stale { old.last() } else { held.last() };
                    let Some(leased) = from.cloned() else { continue };
                    let outcomes: Vec<_> = leased.slots.iter().zip(fail)
                        .map(|(slot, fail)| (*slot, if fail { Outcome::Failed(in_use()) } else { opened() }))
                        .collect();
                    let taken = table.finish(leased.lease, outcomes, now).is_ok();
                    prop_assert_eq!(taken, !stale);
                    if taken {
                        old.extend(held.pop());
                        judge(&mut table, leased.lease.chunk, now);
                    }
                }
                Step::Revoke => if let Some(leased) = held.pop() {
                    prop_assert!(table.revoke(leased.lease, now).is_ok());
                    old.push(leased);
                },
                Step::Lose(endpoint) => {
                    let place = table.place(endpoint.into());
                    if table.listener_lost(place, in_use()).is_ok() {
                        judge(&mut table, place.chunk, now);
                    }
                }
                Step::Wait(ms) => now += Duration::from_millis(ms),
            }
            table.wake(now);
            let mut chunks: Vec<_> = held.iter().map(|leased| leased.lease.chunk).collect();
            chunks.sort();
            chunks.dedup();
            prop_assert_eq!(chunks.len(), held.len());
            check_counts(&table);
        }
        for leased in held {
            table.revoke(leased.lease, now).expect("held leases are present");
        }
        while table.endpoint_counts().listening < 9 {
            now += 60 * SECOND;
            table.wake(now);
            prop_assert!(table.chunk_counts().ready > 0, "{:?} are stuck", table.endpoint_counts());
            open_next(&mut table, &[], now);
        }
        prop_assert_eq!(table.undecided(), 0);
        prop_assert_eq!(table.chunk_counts().completed, 3);
    }
}

fn judge(table: &mut ChunkTable<()>, chunk: ChunkId, now: Instant) {
    let faults: Vec<_> = table.unjudged(chunk).collect();
    for (place, _, attempts) in faults {
        let verdict = match attempts {
            0..=2 => Verdict::RetryAfter(SECOND),
            _ => Verdict::Quarantine { probe: Some(10 * SECOND) },
        };
        table.verdict(place, verdict, now);
    }
}

fn check_counts(table: &ChunkTable<()>) {
    let endpoints = table.endpoint_counts();
    let sum = endpoints.pending + endpoints.listening + endpoints.retrying + endpoints.quarantined;
    assert_eq!(sum, endpoints.total);
    let completed = table.states().filter(|state| *state == ChunkState::Completed).count();
    assert_eq!(table.chunk_counts().completed, completed as u64);
}
