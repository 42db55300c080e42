//! Where an accepted connection goes: asked once for each, whatever the workers' number.

use std::hint::black_box;

use criterion::Criterion;
use ipcow::supervision::{Load, least_loaded};

pub(crate) fn choosing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("least loaded");
    for workers in [2_u64, 16, 256] {
        let load =
            |n| Load { sessions: 100 + n % 3, settled: 100, busy: 500, given: 0, open: true };
        let loads: Vec<_> = (0..workers).map(load).collect();
        group.bench_function(format!("{workers} workers"), |bencher| {
            bencher.iter(|| least_loaded(black_box(&loads), 0));
        });
    }
    group.finish();
}
