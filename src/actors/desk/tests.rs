//! The desk, told by hand what no actor tells at a chosen moment.

use std::sync::atomic::AtomicBool;

use super::*;
use crate::actors::admission::Admission;
use crate::actors::link::link;
use crate::actors::protocol::{HeartBeaten, WorkerEnded};
use crate::actors::roster::Roster;
use crate::actors::share::SessionSettings;
use crate::config::{Config, OnLimit};
use crate::net::host::SystemResolver;
use crate::plan::endpoints::build;
use crate::supervision::{Fault, Hold, Outcome};

fn share() -> WorkerShare {
    WorkerShare {
        counters: Arc::default(),
        gauge: Arc::default(),
        roster: Arc::new(Roster::new(1, Instant::now())),
        admission: Arc::new(Admission::new(1, None, OnLimit::Wait)),
        first_drops: Arc::default(),
        settings: Arc::new(SessionSettings::new(&Config::default(), [false; 2])),
        events: Arc::default(),
        records: None,
        started: Instant::now(),
        run: Arc::default(),
        unlogged: Arc::default(),
        supervisor: link().1,
        ended: mpsc::unbounded_channel().0,
        failures: mpsc::channel(1).0,
        ending: Arc::new(AtomicBool::new(false)),
        gate: Arc::new(crate::actors::local::Gate::new(true)),
        #[cfg(feature = "fault-injection")]
        poisoned: Arc::default(),
    }
}

/// A desk of the built-in plan, with one worker, that nobody listens to.
fn desk(now: Instant) -> Desk {
    let config = Config::default();
    let endpoints = build(&config.groups, &[], 1_000, &SystemResolver).expect("a plan");
    let total = endpoints.len();
    let setup = Setup {
        endpoints: endpoints.clone(),
        groups: Vec::new(),
        table: ChunkTable::new(total, 10, Vec::new()),
        meters: HashMap::new(),
        settings: watch::channel(LiveConfig::new(config.clone(), false)).0,
        udp: Arc::new(DatagramLimits::new(&config.udp, now)),
        layout: watch::channel(endpoints.clone()).0,
        budget: Box::new(|demand, _limits| FdBudget {
            needed: 0,
            have: 0,
            listeners: demand.endpoints(),
            sessions: 1,
            reserve: 0,
        }),
        runtime: Box::new(|_group| unreachable!("the plan stays as it is")),
        handlers: Arc::default(),
        receive_buffer: None,
        wait: None,
        started: now,
        board: Arc::default(),
        restarts: Arc::default(),
        routes: watch::channel(None).0,
        ready: watch::channel(None).0,
        drained: watch::channel(false).0,
        events: Arc::default(),
        error_log: link().1,
        notices: mpsc::channel(1).0,
        dropped: Arc::default(),
        replace: mpsc::unbounded_channel().0,
        shares: vec![share()],
    };
    Desk::new(setup, now)
}

#[test]
fn a_lost_thread_hangs_no_longer_and_its_late_reports_change_nothing() {
    let now = Instant::now();
    let (mut desk, worker) = (desk(now), WorkerId(1));
    let epoch = desk.slots[0].epoch;
    desk.slots[0].hung = true;
    desk.publish_hung();
    assert_eq!(desk.setup.board.hung(), 1);
    desk.thread_lost(0, now);
    assert_eq!(desk.setup.board.hung(), 0, "it is gone");
    let restart_at = desk.slots[0].restart_at;
    desk.slots[0].silent_since = Some(now);
    desk.heart_beaten(HeartBeaten { worker, epoch }, now);
    assert_eq!(desk.slots[0].silent_since, Some(now), "another's heart beat");
    desk.worker_ended(WorkerEnded { worker, epoch, panic: None }, now);
    assert_eq!((desk.setup.table.refused(), desk.slots[0].restart_at), (1, restart_at));
}

#[test]
fn a_worker_that_answers_with_its_death_hangs_no_longer_and_a_drain_waits_for_its_thread() {
    let now = Instant::now();
    for drains in [false, true] {
        let (mut desk, worker) = (desk(now), WorkerId(1));
        let epoch = desk.slots[0].epoch;
        desk.slots[0].hung = true;
        desk.slots[0].drained = false;
        desk.publish_hung();
        desk.drain = drains.then(DrainReport::default);
        desk.worker_ended(WorkerEnded { worker, epoch, panic: None }, now);
        assert_eq!(desk.setup.board.hung(), 0, "its thread has said so");
        desk.check_drained();
        assert!(!*desk.setup.drained.borrow(), "its sessions may still end");
    }
}

#[test]
fn a_chunk_that_crashed_its_worker_once_too_often_rests_also_when_the_thread_ends_next() {
    let now = Instant::now();
    let mut desk = desk(now);
    let leased = desk.setup.table.lease_next(WorkerId(1), now).expect("it is stacked");
    desk.slots[0].poisoned = Some((leased.lease.chunk, None));
    desk.thread_lost(0, now);
    assert_eq!(desk.setup.table.endpoint_counts().quarantined, 10);
    assert_eq!(desk.setup.table.lease_of(WorkerId(1)), None);
}

#[test]
fn a_drain_ends_without_a_worker_that_hangs_and_with_no_other() {
    let now = Instant::now();
    let mut desk = desk(now);
    desk.drain = Some(DrainReport::default());
    desk.slots[0].drained = false;
    desk.check_drained();
    assert!(!*desk.setup.drained.borrow(), "its sessions may still end");
    desk.slots[0].hung = true;
    desk.check_drained();
    assert!(*desk.setup.drained.borrow());
}

#[test]
fn a_shortage_that_nobody_will_judge_holds_up_the_others_for_a_moment_only() {
    let now = Instant::now();
    let mut desk = desk(now);
    let leased = desk.setup.table.lease_next(WorkerId(1), now).expect("it is stacked");
    let places = leased.slots.iter().map(|slot| Place { chunk: leased.lease.chunk, slot: *slot });
    for place in places.collect::<Vec<_>>() {
        // What an operator holds is put to no verdict.
        desk.setup.table.hold(place, Hold::Suspended(None)).expect("it is there");
    }
    let short = Fault::from_bind_errno(nix::errno::Errno::EMFILE as i32);
    let outcomes = leased.slots.iter().map(|slot| (*slot, Outcome::Failed(short)));
    desk.take_report(leased.lease, outcomes.collect(), now);
    let wake = desk.next_wake();
    assert!(now < wake && wake < now + Duration::from_secs(1), "{:?}", wake - now);
    desk.advance(wake);
    assert_eq!(desk.paused_until, None, "the next may be leased");
}
