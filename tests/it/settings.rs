//! Settings that change while clients are there, by the library (issue "operate it
//! live"; faults 27, 28 and 50 with limits that move).

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ipcow::config::{Config, LogLevel, load_str};
use ipcow::service::{Injection, OperationError, Service, ServiceHandle};
use ipcow::spec::{Address, Endpoint, Port, Protocol, Selector};
use ipcow::supervision::{DropReason, EndReason, Refusal};

use crate::common::{
    Block, DEADLINE, connect, connect_from, echo_tcp, echo_udp, eventually, eventually_async,
    raise_own_descriptor_limit, read_to_fin, udp_client,
};
use crate::limits::{admitted, storm};

fn config(spec: &str, keys: &str) -> Config {
    let text = format!("[[listen]]\nname = \"lab\"\nspec = \"{spec}\"\n{keys}");
    load_str("test", &text).expect("a legal configuration").config
}

async fn start(spec: &str, keys: &str) -> ServiceHandle {
    let service = Service::builder().config(config(spec, keys)).build().expect("a plan");
    let handle = service.start().expect("threads");
    handle.wait_ready().await.expect("it runs");
    handle
}

async fn set(handle: &ServiceHandle, key: &str, value: &str) {
    let changed = handle.set(&[(key, value)]).await.expect("a legal setting");
    assert_eq!(changed.iter().map(|change| change.key.as_str()).collect::<Vec<_>>(), [key]);
}

fn refused_for(handle: &ServiceHandle, refusal: Refusal) -> u64 {
    handle.snapshot().totals.refused[refusal.index()]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn under_1500_clients_a_limit_moves_and_is_never_exceeded() {
    raise_own_descriptor_limit();
    let block = Block::new();
    let keys = "[limits]\nmax_sessions = 1000\non_limit = \"close\"\n[threads]\nworkers = 4";
    let handle = start(&format!("tcp://{}:18000-18003", block.ip(0)), keys).await;
    let at = |number: usize| block.at(18_000 + u16::try_from(number % 4).expect("below 4"));
    let mut served = storm(1_500, at);
    assert_eq!((served.len(), refused_for(&handle, Refusal::Limit)), (1_000, 500));
    set(&handle, "limits.max_sessions", "600").await;
    assert_eq!(storm(100, at).len(), 0, "nobody is admitted");
    served.iter_mut().for_each(|client| echo_tcp(client, b"nobody is cut"));
    served.truncate(600);
    assert!(eventually(DEADLINE, || handle.snapshot().totals.active() == 600));
    assert_eq!(storm(50, at).len(), 0, "as many as there may be");
    served.truncate(580);
    assert!(eventually(DEADLINE, || handle.snapshot().totals.active() == 580));
    served.extend(storm(100, at));
    assert_eq!((served.len(), refused_for(&handle, Refusal::Limit)), (600, 730));
    set(&handle, "limits.max_sessions", "1200").await;
    served.extend(storm(900, at));
    assert_eq!((served.len(), refused_for(&handle, Refusal::Limit)), (1_200, 1_030));
    drop(served);
    let summary = handle.shutdown().await.expect("it drains");
    assert_eq!((summary.peak_sessions, summary.totals.accepted), (1_200, 1_620));
    assert_eq!(summary.totals.refusals(), 1_030, "{summary:?}");
}

/// True where nothing has come back to that client.
fn waits(client: &TcpStream) -> bool {
    client.set_nonblocking(true).expect("legal");
    let peeked = client.peek(&mut [0]);
    client.set_nonblocking(false).expect("legal");
    peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_waits_is_served_in_order_when_there_is_room_and_let_go_when_nobody_shall_wait() {
    let block = Block::new();
    let handle = start(&format!("tcp://{}:18000", block.ip(0)), "[limits]\nmax_sessions = 5").await;
    let dial = |_| {
        let mut client = connect(block.at(18_000));
        client.write_all(b"?").expect("the kernel has accepted");
        client
    };
    let mut clients: Vec<_> = (0..25).map(dial).collect();
    clients[..5].iter_mut().for_each(|client| client.read_exact(&mut [0]).expect("an echo"));
    set(&handle, "limits.max_sessions", "15").await;
    clients[5..15].iter_mut().for_each(|client| client.read_exact(&mut [0]).expect("an echo"));
    assert!(clients[15..].iter().all(waits), "more than 15 are served");
    // Fewer than there are: who leaves makes room for nobody.
    set(&handle, "limits.max_sessions", "12").await;
    drop(clients.drain(..3));
    assert!(eventually(DEADLINE, || handle.snapshot().totals.active() == 12));
    assert!(clients[12..].iter().all(waits), "more than 12 are served");
    set(&handle, "limits.on_limit", "close").await;
    clients[12..].iter_mut().for_each(|client| assert_eq!(read_to_fin(client), b""));
    assert_eq!(refused_for(&handle, Refusal::Limit), 10);
    set(&handle, "limits.on_limit", "wait").await;
    let mut last = dial(0);
    clients.truncate(11);
    last.read_exact(&mut [0]).expect("it waited for its place");
    clients.push(last);
    clients.iter_mut().for_each(|client| echo_tcp(client, b"one of twelve"));
    drop(clients);
    let summary = handle.shutdown().await.expect("it drains");
    assert_eq!((summary.peak_sessions, summary.totals.accepted), (15, 16));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_limit_a_source_counts_the_sessions_that_were_there_before_it() {
    let block = Block::new();
    let keys = "[threads]\nworkers = 4\n[chunks]\nsize = 1";
    let handle = start(&format!("tcp://{}:18000-18003", block.ip(0)), keys).await;
    let at = |number: usize| block.at(18_000 + u16::try_from(number % 4).expect("below 4"));
    let mut served = storm(30, at);
    assert_eq!(served.len(), 30);
    set(&handle, "limits.max_sessions_per_source", "10").await;
    assert_eq!(storm(20, at).len(), 0);
    assert!(admitted(connect_from(block.ip(1), at(0))).is_some(), "another source");
    served.iter_mut().for_each(|client| echo_tcp(client, b"nobody is cut"));
    served.truncate(6);
    assert!(eventually(DEADLINE, || handle.snapshot().totals.active() == 6));
    served.extend(storm(20, at));
    assert_eq!((served.len(), refused_for(&handle, Refusal::SourceLimit)), (10, 36));
    set(&handle, "limits.max_sessions_per_source", "12").await;
    served.extend(storm(20, at));
    assert_eq!(served.len(), 12);
    set(&handle, "limits.max_sessions_per_source", "0").await;
    assert_eq!(storm(20, at).len(), 20);
    assert_eq!(refused_for(&handle, Refusal::SourceLimit), 36 + 18);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn open_sessions_follow_new_time_outs() {
    let block = Block::new();
    let handle = start(&format!("tcp://{}:18000", block.ip(0)), "").await;
    let mut idle = connect(block.at(18_000));
    echo_tcp(&mut idle, b"and now nothing");
    let began = Instant::now();
    set(&handle, "session.idle_timeout_secs", "1").await;
    assert_eq!(read_to_fin(&mut idle), b"");
    assert!(began.elapsed() < DEADLINE / 2, "{:?}", began.elapsed());
    set(&handle, "session.idle_timeout_secs", "0").await;
    let mut old = connect(block.at(18_000));
    echo_tcp(&mut old, b"young");
    set(&handle, "session.max_lifetime_secs", "1").await;
    let ended = || old.write_all(b"x").is_err() || old.read(&mut [0; 8]).is_ok_and(|n| n == 0);
    assert!(eventually(DEADLINE, ended), "activity puts no lifetime off");
    set(&handle, "session.max_lifetime_secs", "0").await;
    set(&handle, "session.write_timeout_secs", "1").await;
    let mut glutton = connect(block.at(18_000));
    glutton.set_write_timeout(Some(Duration::from_millis(100))).expect("legal");
    // It never reads: when both buffers are full, nothing moves any more.
    while glutton.write(&[7; 65_536]).is_ok() {}
    let cut = || handle.snapshot().totals.ended(EndReason::WriteTimeout) == 1;
    assert!(eventually(DEADLINE, cut));
    let totals = handle.shutdown().await.expect("it drains").totals;
    let reasons = [EndReason::Idle, EndReason::Lifetime].map(|reason| totals.ended(reason));
    assert_eq!(reasons, [1, 1], "{totals:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_drain_follows_the_deadline_of_its_beginning() {
    let block = Block::new();
    let keys = "[shutdown]\ndrain_timeout_secs = 0\nquiet_ms = 0";
    let handle = start(&format!("tcp://{}:18000-18001", block.ip(0)), keys).await;
    let mut quiet = connect(block.at(18_000));
    echo_tcp(&mut quiet, b"and now nothing");
    let mut other = connect(block.at(18_001));
    echo_tcp(&mut other, b"and now nothing");
    set(&handle, "shutdown.quiet_ms", "50").await;
    handle.drain(&Selector::parse("*:18001").expect("legal")).await.expect("it is there");
    assert_eq!(read_to_fin(&mut other), b"", "it is quiet for long enough now");
    set(&handle, "shutdown.quiet_ms", "0").await;
    set(&handle, "shutdown.drain_timeout_secs", "1").await;
    let totals = handle.shutdown().await.expect("it drains").totals;
    assert_eq!((totals.closed, totals.forced), (1, 1), "{totals:?}");
}

/// How many of these datagrams, sent at once, come back.
fn answers(client: &UdpSocket, sent: usize) -> usize {
    client.set_read_timeout(Some(Duration::from_millis(300))).expect("legal");
    (0..sent).for_each(|_| assert_eq!(client.send(b"one of many").expect("it leaves"), 11));
    std::iter::from_fn(|| client.recv(&mut [0; 64]).ok()).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn datagrams_are_judged_by_the_limits_of_their_moment() {
    let block = Block::new();
    let handle = start(&format!("udp://{}:18000", block.ip(0)), "").await;
    let client = udp_client(block.at(18_000));
    assert_eq!(answers(&client, 50), 50);
    set(&handle, "udp.rate_total", "5").await;
    let began = Instant::now();
    let answered = answers(&client, 50);
    let most = 5 + 5 * usize::try_from(began.elapsed().as_secs() + 1).expect("seconds");
    assert!((1..=most).contains(&answered), "{answered} of a rate of 5 a second");
    set(&handle, "udp.rate_total", "0").await;
    assert_eq!(answers(&client, 50), 50);
    set(&handle, "udp.max_datagram_bytes", "10").await;
    assert_eq!(answers(&client, 5), 0, "eleven bytes are one too many");
    set(&handle, "udp.max_datagram_bytes", "11").await;
    let port = client.local_addr().expect("it is bound").port().to_string();
    set(&handle, "udp.refuse_source_ports", &port).await;
    assert_eq!(answers(&client, 5), 0, "its port is refused");
    set(&handle, "udp.refuse_source_ports", "[]").await;
    client.set_read_timeout(Some(DEADLINE)).expect("legal");
    echo_udp(&client, b"and back");
    let totals = handle.shutdown().await.expect("it drains").totals;
    let dropped = |reason: DropReason| totals.dropped[reason.index()];
    assert_eq!(dropped(DropReason::TotalRate), 50 - answered as u64, "{totals:?}");
    assert_eq!([dropped(DropReason::Oversize), dropped(DropReason::SourcePort)], [5, 5]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_next_verdict_is_by_the_new_rules() {
    let block = Block::new();
    let _holder = std::net::TcpListener::bind(block.at(18_000)).expect("a free port");
    let keys = "[retry]\nmax_attempts = 1000\ninitial_backoff_ms = 20\nmax_backoff_ms = 20\n\
                [coverage]\nmin_bound = 0\nwait_secs = 1";
    let handle = start(&format!("tcp://{}:18000-18001", block.ip(0)), keys).await;
    assert_eq!(handle.snapshot().endpoints.retrying, 1);
    set(&handle, "retry.max_attempts", "2").await;
    assert!(eventually(DEADLINE, || handle.snapshot().endpoints.quarantined == 1));
    set(&handle, "supervision.max_restarts", "0").await;
    let listener = Endpoint {
        protocol: Protocol::Tcp,
        address: Address::new(block.ip(0).into()),
        port: Port::Number(18_001),
    };
    handle.inject(Injection::PanicListener(listener));
    assert!(eventually(DEADLINE, || handle.snapshot().endpoints.quarantined == 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_counts_as_enough_changes_at_once() {
    let block = Block::new();
    let handle = start(&format!("tcp://{}:18000-18003", block.ip(0)), "").await;
    let status = || async { handle.status().await.expect("it runs") };
    assert_eq!((status().await.ready, status().await.required), (true, 1));
    set(&handle, "coverage.min_bound", "5").await;
    assert_eq!((status().await.ready, status().await.required), (false, 5));
    set(&handle, "coverage.min_bound", "75%").await;
    assert_eq!((status().await.ready, status().await.required), (true, 3));
    handle.remove(&Selector::parse("*:18000-18001").expect("legal")).await.expect("they are there");
    let fewer = || async { status().await.endpoints.total == 2 };
    assert!(eventually_async(DEADLINE, fewer).await);
    assert_eq!((status().await.ready, status().await.required), (true, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_fault_changes_nothing_and_names_key_value_and_bounds() {
    let block = Block::new();
    let handle = start(&format!("tcp://{}:18000", block.ip(0)), "").await;
    let before = handle.settings();
    let both = [("limits.max_sessions", "7"), ("session.idle_timeout_secs", "-1")];
    let Err(OperationError::BadSetting(errors)) = handle.set(&both).await else { panic!("set") };
    let message = errors.to_string();
    for word in ["`session.idle_timeout_secs`", "found -1", "0 to 31536000"] {
        assert!(message.contains(word), "{message}");
    }
    let restart = handle.set(&[("threads.workers", "2")]).await;
    assert!(matches!(restart, Err(OperationError::NeedsRestart(_))), "{restart:?}");
    let level = handle.set(&[("log.level", "debug")]).await;
    assert!(matches!(level, Err(OperationError::NeedsRestart(_))), "nobody follows it: {level:?}");
    assert_eq!(handle.settings(), before);
    assert_eq!(handle.set(&[]).await.expect("nothing").len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_was_set_survives_a_reload_and_all_else_follows_it() {
    let block = Block::new();
    let at = format!("tcp://{}:18000", block.ip(0));
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hook = Arc::clone(&heard);
    let builder = Service::builder().config(config(&at, ""));
    let builder = builder.on_log_level(move |level| hook.lock().expect("no panic").push(level));
    let handle = builder.build().expect("a plan").start().expect("threads");
    handle.wait_ready().await.expect("it runs");
    set(&handle, "limits.max_sessions", "2").await;
    let keys = "[limits]\nmax_sessions = 1\n[session]\nidle_timeout_secs = 9\n\
                [log]\nlevel = \"warn\"\n[threads]\nworkers = 7";
    let next = config(&at, keys);
    let dry = handle.reload(&next, true).await.expect("a plan");
    let names = |changes: &[ipcow::config::SettingChange]| {
        changes.iter().map(|change| format!("{}={}", change.key, change.to)).collect::<Vec<_>>()
    };
    assert_eq!(names(&dry.settings), ["session.idle_timeout_secs=9", "log.level=\"warn\""]);
    let kept: Vec<_> = dry.kept.iter().map(|kept| (&*kept.key, kept.value.to_string())).collect();
    assert_eq!(kept, [("limits.max_sessions", "2".to_owned())]);
    assert_eq!((dry.needs_restart.as_slice(), dry.untouched), (&["threads"][..], 1));
    assert_eq!(handle.config().session, config(&at, "").session, "nothing happened");
    assert_eq!(handle.reload(&next, false).await.expect("a plan"), dry);
    assert_eq!(handle.config().session.idle_timeout, Some(Duration::from_secs(9)));
    assert_eq!(heard.lock().expect("no panic").as_slice(), [LogLevel::Warn]);
    let dial = || connect(block.at(18_000));
    let _held: Vec<_> = (0..2).map(|_| admitted(dial()).expect("two may be there")).collect();
    let mut third: TcpStream = dial();
    third.write_all(b"?").expect("the kernel has accepted");
    assert!(waits(&third));
    let again = handle.reload(&config(&at, "[limits]\nmax_sessions = 2"), false).await;
    assert!(again.expect("a plan").kept.is_empty(), "they agree");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_service_that_drains_is_set_no_more_and_a_supervisor_that_died_forgot_nothing() {
    let block = Block::new();
    let keys = "[shutdown]\nquiet_ms = 0\ndrain_timeout_secs = 0";
    let handle = start(&format!("tcp://{}:18000", block.ip(0)), keys).await;
    set(&handle, "session.idle_timeout_secs", "8").await;
    handle.inject(Injection::PanicSupervisor);
    set(&handle, "session.idle_timeout_secs", "9").await;
    let at: SocketAddr = block.at(18_000);
    let client = admitted(connect(at)).expect("room");
    let ending = async {
        let drains = || async { handle.status().await.is_ok_and(|status| status.draining) };
        assert!(eventually_async(DEADLINE, drains).await);
        let refused = handle.set(&[("session.idle_timeout_secs", "1")]).await;
        assert!(matches!(refused, Err(OperationError::Draining)), "{refused:?}");
        drop(client);
    };
    let (summary, ()) = tokio::join!(handle.shutdown(), ending);
    assert_eq!(summary.expect("it drains").totals.closed, 1);
}
