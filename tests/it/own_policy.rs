//! A failure policy of an embedder's own, as an actor and as a closure; and actors that
//! hear what happens.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use actix::{Actor, Context, Handler, MessageResult, System};
use ipcow::config::load_str;
use ipcow::service::{
    Decision, EndpointFailed, Event, Happened, Service, ServiceBuilder, ServiceHandle,
};
use ipcow::supervision::FaultKind;
use tokio::sync::mpsc;

use crate::common::{Block, DEADLINE, alone, eventually};

/// A service that cannot open its only endpoint, which somebody else has.
fn builder(keys: &str) -> (ServiceBuilder, TcpListener) {
    let taken = TcpListener::bind((Block::new().ip(0), 0)).expect("a socket");
    let text = format!("[retry]\ninitial_backoff_ms = 10\nmax_backoff_ms = 20\n{keys}");
    let mut config = load_str("test", &text).expect("legal keys").config;
    config.groups.clear();
    let spec = format!("tcp://{}", taken.local_addr().expect("an address"));
    (Service::builder().config(config).listen(&spec).expect("a spec"), taken)
}

fn start(builder: ServiceBuilder) -> ServiceHandle {
    builder.build().expect("a plan").start().expect("threads")
}

fn quarantined(handle: &ServiceHandle) -> bool {
    eventually(DEADLINE, || handle.snapshot().endpoints.quarantined == 1)
}

#[tokio::test]
async fn a_closure_retries_beyond_every_attempt_and_then_gives_up() {
    let asked = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&asked);
    let policy = move |failed: &EndpointFailed| {
        assert_eq!(counted.fetch_add(1, Ordering::Relaxed) + 1, failed.attempts);
        match failed.attempts {
            ..20 => Decision::RetryAfter(Duration::ZERO),
            _ => Decision::GiveUp,
        }
    };
    let (builder, taken) = builder("");
    let handle = start(builder.failure_policy(policy));
    assert!(quarantined(&handle));
    assert_eq!(asked.load(Ordering::Relaxed), 20);
    drop(taken);
    let summary = handle.shutdown().await.expect("it drains");
    assert_eq!(summary.errors.by_kind[&FaultKind::BindInUse], 20);
    assert_eq!(summary.escalated, None);
}

#[tokio::test]
async fn a_policy_that_panics_leaves_it_to_the_built_in_one() {
    let (builder, _taken) = builder("max_attempts = 3");
    let handle = start(builder.failure_policy(|_: &EndpointFailed| panic!("poisoned policy")));
    assert!(quarantined(&handle));
    let summary = handle.shutdown().await.expect("it drains");
    assert_eq!(summary.errors.by_kind[&FaultKind::BindInUse], 3);
    assert_eq!(summary.errors.by_kind.get(&FaultKind::ErrorLogPanic), None);
}

#[tokio::test]
async fn what_is_escalated_ends_the_service() {
    let (builder, _taken) = builder("");
    let handle = start(builder.failure_policy(|failed: &EndpointFailed| match failed.attempts {
        1 => Decision::BuiltIn,
        _ => Decision::Escalate,
    }));
    let summary = handle.ended().await.expect("it ends by itself");
    let escalated = summary.escalated.expect("a reason");
    assert_eq!((escalated.attempts, escalated.fault.kind), (2, FaultKind::BindInUse));
    assert_eq!(summary.drain.endpoints.quarantined, 1);
}

/// Gives up at once, unless it is told never to answer.
struct Stern {
    silent: bool,
}

impl Actor for Stern {
    type Context = Context<Self>;
}

impl Handler<EndpointFailed> for Stern {
    type Result = actix::ResponseFuture<Decision>;

    fn handle(&mut self, _failed: EndpointFailed, _ctx: &mut Self::Context) -> Self::Result {
        let silent = self.silent;
        Box::pin(async move {
            if silent {
                std::future::pending::<()>().await;
            }
            Decision::GiveUp
        })
    }
}

#[test]
fn an_actor_is_asked_and_one_that_is_late_or_gone_is_not_waited_for() {
    System::new().block_on(async {
        // It answers.
        let (described, _taken) = builder("max_attempts = 3");
        let policy = Stern { silent: false }.start();
        let handle = start(described.failure_policy_actor(policy.recipient()));
        let by_kind = quarantine(handle).await;
        assert_eq!(by_kind, 1);

        // It never answers: each time the built-in policy decides after a second.
        let (described, _taken) = builder("max_attempts = 2");
        let policy = Stern { silent: true }.start();
        let began = Instant::now();
        let handle = start(described.failure_policy_actor(policy.recipient()));
        assert_eq!(quarantine(handle).await, 2);
        assert!(began.elapsed() >= Duration::from_secs(2));

        // It is gone: the built-in policy decides at once.
        let (described, _taken) = builder("max_attempts = 4");
        let gone = {
            let system = std::thread::spawn(|| {
                System::new().block_on(async { Stern { silent: false }.start().recipient() })
            });
            system.join().expect("a thread")
        };
        let handle = start(described.failure_policy_actor(gone));
        assert_eq!(quarantine(handle).await, 4);
    });
}

/// How often the endpoint failed until it was quarantined. Lets other actors of this
/// thread run meanwhile.
async fn quarantine(handle: ServiceHandle) -> u64 {
    let began = Instant::now();
    while handle.snapshot().endpoints.quarantined == 0 {
        assert!(began.elapsed() < DEADLINE, "{:?}", handle.snapshot());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    handle.shutdown().await.expect("it drains").errors.by_kind[&FaultKind::BindInUse]
}

/// Passes on the names of what it hears.
struct Listener {
    names: mpsc::UnboundedSender<(u64, &'static str)>,
}

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<Happened> for Listener {
    type Result = MessageResult<Happened>;

    fn handle(&mut self, happened: Happened, _ctx: &mut Self::Context) -> Self::Result {
        let Happened { occurrence, lost, .. } = happened;
        assert_eq!(lost, 0);
        if let Event::Ready(ready) = &occurrence.event {
            assert!(ready.is_complete());
        }
        let _nobody_waits = self.names.send((occurrence.id, occurrence.event.name()));
        MessageResult(())
    }
}

#[test]
fn an_actor_hears_what_happens_up_to_the_end() {
    System::new().block_on(async {
        let (names, mut heard) = mpsc::unbounded_channel();
        let listener = Listener { names }.start();
        let builder = Service::builder().listen("tcp://127.0.0.1:0").expect("a spec");
        let handle = start(builder);
        handle.subscribe(listener.recipient());
        handle.wait_ready().await.expect("it runs");
        handle.mark();
        handle.shutdown().await.expect("it drains");
        let (mut before, mut story) = (0, Vec::new());
        while let Some((id, name)) = heard.recv().await {
            assert!(id > before, "{id} after {before}");
            before = id;
            story.push(name);
            if name == "stopped" {
                break;
            }
        }
        let place = |wanted: &str| story.iter().position(|name| *name == wanted);
        assert!(place("marked") < place("draining"), "{story:?}");
        assert!(place("draining").is_some() && place("draining") < place("stopped"), "{story:?}");
    });
}

#[tokio::test]
async fn a_service_runs_until_a_future_says_so() {
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let builder = Service::builder().listen("tcp://127.0.0.1:0").expect("a spec");
    let service = builder.build().expect("a plan");
    end.send(()).expect("it waits");
    let summary = service.run_until(async { drop(ended.await) }).await.expect("it runs");
    assert_eq!(summary.totals.accepted, 0);
}

#[test]
fn a_service_that_has_the_signals_drains_at_the_first() {
    alone("own_policy::a_service_that_has_the_signals_drains_at_the_first", || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let builder = Service::builder().listen("tcp://127.0.0.1:0").expect("a spec");
        let service = builder.build().expect("a plan");
        let summary = runtime.expect("a runtime").block_on(async {
            let signal = async {
                // The handlers are there since `run` was polled.
                nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM).expect("a signal");
            };
            tokio::join!(biased; service.run(), signal).0
        });
        assert_eq!(summary.expect("it drains").totals.accepted, 0);
    });
}
