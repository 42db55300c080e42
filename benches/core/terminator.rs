//! The search for the termination sequence, read by read.
//!
//! The files are compiled into this program: no public item leads to it, and none should for
//! a measurement. What a session costs with and without it is `scripts/compare`.

use std::hint::black_box;

use criterion::{Criterion, Throughput};

#[allow(dead_code, unused_imports, reason = "its own tests are not run here")]
#[path = "../../src/net/terminator.rs"]
mod product;
#[allow(dead_code, unused_imports, reason = "its own tests are not run here")]
#[path = "../../src/net/sys/screen.rs"]
mod screen;

/// As in the product, where the file looks for it.
mod sys {
    pub(super) use super::screen;
}

use product::{Feed, Scan, Terminator};

/// `length` bytes of chance: `!` is as frequent in them as any other byte.
fn noise(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}

/// What a session does with a read, but for the sockets: judge it, hand it on.
fn judge(terminator: Option<&Terminator>, scan: &mut Scan, read: &[u8]) -> usize {
    match terminator.map(|terminator| scan.feed(terminator, read)) {
        None | Some(Feed::Pass) => read.len(),
        Some(Feed::Found { echo }) => echo,
    }
}

pub(crate) fn search(criterion: &mut Criterion) {
    let default = Terminator::new(b"!!quit!!").expect("a sequence");
    for length in [64, 16 * 1024] {
        let mut group = criterion.benchmark_group(format!("terminator, reads of {length} bytes"));
        group.throughput(Throughput::Bytes(length as u64));
        let exclamations = vec![b'!'; length];
        for (name, terminator, read) in [
            ("none", None, noise(length)),
            ("default", Some(&default), noise(length)),
            ("default, a read of exclamation marks", Some(&default), exclamations),
        ] {
            let mut scan = Scan::default();
            group.bench_function(name, |bench| {
                bench.iter(|| judge(terminator, &mut scan, black_box(&read)));
            });
        }
        group.finish();
    }
}
