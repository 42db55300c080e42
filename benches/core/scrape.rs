//! What one scrape by Prometheus costs, of a service with 100,000 endpoints.

use criterion::Criterion;
use ipcow::control::metrics::{Format, render};
use ipcow::service::Service;

/// Most of them find no descriptor, which costs a scrape the same.
const KEYS: &str = "[coverage]\nmin_bound = 0\n[limits]\nfd_reserve = 1000000";
const SPEC: &str = "tcp://127.1.0.0-127.1.0.99:20001-21000";

pub(crate) fn scraping(criterion: &mut Criterion) {
    let mut config = ipcow::config::load_str("scrape.toml", KEYS).expect("legal").config;
    config.groups.clear();
    let service = Service::builder().config(config).listen(SPEC).expect("legal");
    let handle = service.build().expect("a plan").start().expect("threads");
    assert_eq!(handle.plan().endpoints.len(), 100_000);
    let mut group = criterion.benchmark_group("scrape 100,000 endpoints");
    for (name, format) in [("text", Format::Text), ("OpenMetrics", Format::OpenMetrics)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| render(handle.snapshot(), format));
        });
    }
    group.finish();
}
