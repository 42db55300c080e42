//! The chunk table while 15,000 endpoints open: leases, reports, verdicts, retries.

use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput};
use ipcow::supervision::{ChunkTable, Fault, Leased, Outcome, Slot, Verdict, WorkerId};

const ENDPOINTS: u64 = 15_000;
/// As 2 workers on a machine of two cores divide them.
const CHUNK: u32 = 7_500;
const EADDRINUSE: i32 = 98;

fn stacked() -> ChunkTable<()> {
    let mut table = ChunkTable::new(ENDPOINTS, CHUNK, Vec::new());
    table.stack_all();
    table
}

/// What a worker reports of a lease in which every endpoint that `fails` names failed.
fn report(leased: &Leased, fails: impl Fn(Slot) -> bool) -> Vec<(Slot, Outcome<()>)> {
    let outcome = |slot| match fails(slot) {
        true => Outcome::Failed(Fault::from_bind_errno(EADDRINUSE)),
        false => Outcome::Opened { port: 80, socket: (), sockets: 1 },
    };
    leased.slots.iter().map(|slot| (*slot, outcome(*slot))).collect()
}

/// Leases and reports every ready chunk; the leases.
fn open_all(
    table: &mut ChunkTable<()>,
    fails: impl Fn(Slot) -> bool + Copy,
    now: Instant,
) -> Vec<Leased> {
    let mut leases = Vec::new();
    while let Some(leased) = table.lease_next(WorkerId(1), now) {
        let outcomes = report(&leased, fails);
        table.finish(leased.lease, outcomes, now).expect("the present lease");
        leases.push(leased);
    }
    leases
}

/// Every tenth endpoint fails, is judged, and opens when it is tried again.
fn open_with_failures(mut table: ChunkTable<()>) -> ChunkTable<()> {
    let now = Instant::now();
    let pause = Duration::from_millis(100);
    for leased in open_all(&mut table, |slot| slot % 10 == 0, now) {
        let failed: Vec<_> = table.unjudged(leased.lease.chunk).map(|(place, ..)| place).collect();
        for place in failed {
            table.verdict(place, Verdict::RetryAfter(pause), now);
        }
    }
    table.wake(now + pause);
    open_all(&mut table, |_| false, now + pause);
    table
}

pub(crate) fn table(criterion: &mut Criterion) {
    let now = Instant::now();
    let mut group = criterion.benchmark_group("chunk table, 15,000 endpoints");
    group.throughput(Throughput::Elements(ENDPOINTS));
    group.bench_function("lease and report", |bench| {
        bench.iter_batched(
            stacked,
            |mut table| {
                open_all(&mut table, |_| false, now);
                table
            },
            BatchSize::LargeInput,
        );
    });
    assert_eq!(open_with_failures(stacked()).endpoint_counts().listening, ENDPOINTS);
    group.bench_function("every tenth fails once", |bench| {
        bench.iter_batched(stacked, open_with_failures, BatchSize::LargeInput);
    });
    group.finish();
}
