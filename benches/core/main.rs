//! The core functions one by one: what they cost without a socket and without a thread.
//!
//! One file a subject. What a whole server costs is `scripts/compare`.

mod chunks;
mod config;
mod load;
mod plan;
mod scrape;
mod spec;
mod terminator;

use criterion::{criterion_group, criterion_main};

criterion_group!(
    benches,
    spec::parsing,
    config::loading,
    plan::planning,
    chunks::table,
    load::choosing,
    scrape::scraping,
    terminator::search
);
criterion_main!(benches);
