//! A plan of a million endpoints, with its findings, as `ipcow plan` makes it; and the walk
//! over its endpoints.
//!
//! What holds the machine's sockets is read each time, so the first figure depends on how
//! many there are.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use ipcow::plan::endpoints::build;
use ipcow::service::Service;
use ipcow::spec::{Address, Protocol, Resolver, Spec};

const MILLION: u64 = 1_000_000;
/// 500 addresses × 1,000 ports × 2 protocols.
const SPEC: &str = "both://127.1.0.0-127.1.1.243:10001-11000";

/// A machine without names, interfaces and sockets.
struct Nothing;

impl Resolver for Nothing {
    fn interface(&self, name: &str) -> Result<Vec<Address>, String> {
        Err(name.to_owned())
    }

    fn host(&self, name: &str) -> Result<Vec<std::net::IpAddr>, String> {
        Err(name.to_owned())
    }

    fn file(&self, path: &str) -> Result<String, String> {
        Err(path.to_owned())
    }

    fn zone(&self, _name: &str) -> Option<u32> {
        None
    }

    fn ports_in_use(&self, _protocol: Protocol) -> Result<Vec<u16>, String> {
        Ok(Vec::new())
    }

    fn ephemeral_ports(&self) -> Result<(u16, u16), String> {
        Ok((32_768, 60_999))
    }
}

fn planned() -> Service {
    Service::builder().listen(SPEC).expect("legal").build().expect("a plan")
}

pub(crate) fn planning(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan 1,000,000 endpoints");
    group.throughput(Throughput::Elements(MILLION));
    assert_eq!(planned().plan().endpoints.len(), MILLION);
    group.bench_function("with this machine's findings", |bench| bench.iter(planned));

    let config = ipcow::config::load_str(
        "million.toml",
        &format!("[[listen]]\nname = \"a\"\nspec = \"{SPEC},!10500\""),
    );
    let groups = config.expect("legal").config.groups;
    let excludes = [Spec::parse("!127.1.0.9:10007").expect("legal")];
    group.bench_function("endpoints alone, with exclusions", |bench| {
        bench.iter(|| build(black_box(&groups), &excludes, MILLION, &Nothing).expect("a set"));
    });
    let endpoints = planned().plan().endpoints.clone();
    group.bench_function("walk over all", |bench| {
        bench.iter(|| black_box(&endpoints).iter().count())
    });
    group.finish();
}
