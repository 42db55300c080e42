//! The course of a soak: warm up, take the baseline, soak, compare.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ipcow::config::load_str;
use ipcow::service::{Injection, Service, ServiceHandle};
use ipcow::spec::Endpoint;
use tokio::time::{Instant as Clock, interval_at, sleep, sleep_until};

use super::Failure;
use super::faults::{Faults, contest};
use super::process::{Clients, Panics, Resources, restore_limit};
use super::seen::Seen;
use super::verdict::Verdict;

pub(super) const WORKERS: u16 = 2;
pub(super) const CHUNKS: u32 = 4;
/// The soaked service: no part of it is ever quarantined, and each returns soon.
const SOAKED: &str = "[threads]\nworkers = 2\n[chunks]\nsize = 4\n\
                      [supervision]\nmax_restarts = 1000\nwindow_secs = 1\n\
                      [retry]\nmax_attempts = 1000\nmax_backoff_ms = 100";
/// The contested one: quarantined at its first crash, probed every second.
const CONTESTED: &str = "[threads]\nworkers = 1\n[supervision]\nmax_restarts = 0\n\
                         [retry]\nmax_attempts = 1\nquarantine_probe_secs = 1";
/// Faults and clients before the baseline is taken.
const WARM_UP: Duration = Duration::from_secs(10);
const REPORT: Duration = Duration::from_secs(10);
/// For everything to be as before once nothing happens: a thread that joined others
/// stays for ten seconds (tokio), and one that hangs for four.
const SETTLING: Duration = Duration::from_secs(30);

/// Soaks for this long, after the warm-up.
pub(super) async fn soak(time: Duration) -> Result<Verdict, Failure> {
    let panics = Panics::count();
    let handle = start(SOAKED, "both://127.0.0.1:0x8")?;
    // No other soak has the address, and no client gets the port by chance.
    let octet = std::process::id() % 200 + 20;
    let spec = format!("tcp://127.{octet}.0.9:18009");
    let mut contested = start(CONTESTED, &spec)?;
    let endpoints = handle.wait_ready().await?.bound;
    if !contested.wait_ready().await?.is_complete() {
        return Err(format!("{spec} is not free").into());
    }
    let (_, contest) = contested.plan().endpoints.get(0).ok_or("an endpoint")?;
    let inflicted = Rc::default();
    let mut course = Course { handle, endpoints, contest, panics, inflicted, survivors: 0 };
    let warm_up = course.run(&mut contested, WARM_UP, None).await?;
    let baseline = course.settle(&contested, None).await?;
    println!("after a warm-up of {} s, this is the baseline", WARM_UP.as_secs());
    let begun = Instant::now();
    let soaked = course.run(&mut contested, time, Some((begun, baseline))).await?;
    let took = begun.elapsed();
    let settled = course.settle(&contested, Some(baseline)).await?;
    let listening = course.handle.snapshot().endpoints;
    Ok(Verdict {
        took,
        inflicted: course.inflicted.take(),
        seen: warm_up.plus(soaked),
        survivors: course.survivors,
        missing: listening.total - listening.listening,
        drift: settled.since(baseline),
        contested: contested.shutdown().await?,
        summary: course.handle.shutdown().await?,
        panics: course.panics.counts(),
    })
}

fn start(keys: &str, spec: &str) -> Result<ServiceHandle, Failure> {
    let mut config = load_str("soak", keys)?.config;
    config.groups.clear();
    Ok(Service::builder().config(config).listen(spec)?.build()?.start()?)
}

/// A soak under way.
struct Course {
    handle: ServiceHandle,
    endpoints: Vec<Endpoint>,
    contest: Endpoint,
    panics: Panics,
    inflicted: Rc<RefCell<BTreeMap<&'static str, u64>>>,
    survivors: u64,
}

impl Course {
    /// Clients speak and faults happen for this long; what the clients saw.
    async fn run(
        &mut self,
        contested: &mut ServiceHandle,
        time: Duration,
        report: Option<(Instant, Resources)>,
    ) -> Result<Seen, Failure> {
        let words: Vec<_> = self.endpoints.iter().map(ToString::to_string).collect();
        let clients = Clients::start(&words)?;
        let mut faults = Faults {
            handle: &self.handle,
            endpoints: self.endpoints.clone(),
            inflicted: Rc::clone(&self.inflicted),
            survivors: 0,
        };
        let begun = Clock::now();
        tokio::select! {
            () = sleep_until(begun + time) => {}
            failed = faults.inflict() => failed?,
            failed = contest(contested, self.contest, Rc::clone(&self.inflicted)) => failed?,
            () = self.tell(&clients, report) => {}
        }
        self.survivors += faults.survivors;
        // What was cut short is made good.
        restore_limit()?;
        self.handle.inject(Injection::PoisonChunk(0));
        // The last faults have happened when their second is over.
        sleep(Duration::from_secs(1)).await;
        let ended = tokio::task::spawn_blocking(move || clients.end().map_err(|it| it.to_string()));
        Ok(ended.await??)
    }

    /// Says every ten seconds how it goes.
    async fn tell(&self, clients: &Clients, report: Option<(Instant, Resources)>) {
        let Some((begun, baseline)) = report else { return std::future::pending().await };
        let mut reports = interval_at(Clock::now() + REPORT, REPORT);
        loop {
            reports.tick().await;
            let faults: u64 = self.inflicted.borrow().values().sum();
            let panics: u64 = self.panics.counts().values().sum();
            let seen = clients.seen();
            let open = self.handle.snapshot().totals.active();
            // While files cannot be opened, nothing can be counted.
            let Ok(mut now) = Resources::now() else { continue };
            now.descriptors -= i64::try_from(open).unwrap_or(i64::MAX);
            println!(
                "[{:>4} s] faults {faults} (panics {panics}), bytes verified {}, lost {}, \
                 sessions {} ({open} open), datagrams {}, {}",
                begun.elapsed().as_secs(),
                seen.bytes,
                seen.lost,
                seen.sessions + seen.resets + seen.disturbed,
                seen.datagrams,
                now.since(baseline),
            );
        }
    }

    /// Waits until nothing happens any more; what the process holds then.
    async fn settle(
        &self,
        contested: &ServiceHandle,
        baseline: Option<Resources>,
    ) -> io::Result<Resources> {
        let until = Clock::now() + SETTLING;
        loop {
            let now = Resources::now()?;
            let (whole, other) = (self.handle.snapshot(), contested.snapshot());
            let quiet = whole.totals.active() == 0
                && whole.endpoints.listening == whole.endpoints.total
                && other.endpoints.listening == 1;
            let enough = match baseline {
                Some(baseline) => {
                    quiet
                        && now.descriptors <= baseline.descriptors
                        && now.threads <= baseline.threads
                }
                // Long enough for helper threads to end.
                None => quiet && Clock::now() + Duration::from_secs(15) > until,
            };
            if enough || Clock::now() > until {
                return Ok(now);
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}
