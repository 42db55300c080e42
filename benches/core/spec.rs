//! From text to a spec: one as a person writes it, and one as long as a spec may be.

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{Criterion, Throughput};
use ipcow::spec::Spec;

const SMALL: &str = "both://127.0.0.0/29,!127.0.0.3:8000-8010,!8005";

/// 10,000 addresses and ranges, each with another number.
fn long(items: usize) -> String {
    let mut text = String::from("tcp://");
    for item in 0..items {
        let (high, low) = (item / 250, item % 250);
        let separator = if item == 0 { "" } else { "," };
        let written = match item % 3 {
            0 => write!(text, "{separator}10.{high}.{low}.1"),
            1 => write!(text, "{separator}10.{high}.{low}.0/30"),
            _ => write!(text, "{separator}10.{high}.{low}.1-10.{high}.{low}.9"),
        };
        written.expect("a string takes all");
    }
    text + ":8000-8010"
}

pub(crate) fn parsing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("spec");
    group.bench_function("parse a small one", |bench| bench.iter(|| Spec::parse(black_box(SMALL))));
    let text = long(10_000);
    assert!(Spec::parse(&text).is_ok(), "the long spec is legal");
    group.throughput(Throughput::Elements(10_000));
    group
        .bench_function("parse 10,000 items", |bench| bench.iter(|| Spec::parse(black_box(&text))));
    group.finish();
}
