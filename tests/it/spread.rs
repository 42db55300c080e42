//! Sessions of a hot endpoint go to every worker, and none is lost on its way.
//!
//! In process, through the library, with faults on demand.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ipcow::config::load_str;
use ipcow::service::{Injection, ListOptions, Service, ServiceHandle, Summary};
use ipcow::spec::Selector;
use ipcow::supervision::WorkerId;

use crate::common::{Block, DEADLINE, connect, echo_tcp, eventually};

/// Nothing is ever quarantined, and what crashes returns soon.
const PATIENT: &str = "[supervision]\nmax_restarts = 1000\n[retry]\nmax_backoff_ms = 100\n";

fn start(workers: usize, keys: &str, spec: &str) -> ServiceHandle {
    let text = format!("{keys}[threads]\nworkers = {workers}");
    let mut config = load_str("test", &text).expect("legal keys").config;
    config.groups.clear();
    let builder = Service::builder().config(config).listen(spec).expect("a legal spec");
    builder.build().expect("a plan").start().expect("threads")
}

/// A service with one endpoint.
async fn hot(workers: usize, keys: &str) -> (ServiceHandle, SocketAddr) {
    let handle = start(workers, keys, &format!("tcp://{}:0", Block::new().ip(0)));
    let ready = handle.wait_ready().await.expect("it runs");
    (handle, ready.bound[0].socket_addr())
}

/// Open sessions, each of which has echoed.
fn sessions(addr: SocketAddr, count: usize) -> Vec<TcpStream> {
    let open = |_| {
        let mut client = connect(addr);
        echo_tcp(&mut client, b"hello");
        client
    };
    (0..count).map(open).collect()
}

fn open(handle: &ServiceHandle) -> Vec<u64> {
    handle.loads().iter().map(|load| load.sessions).collect()
}

/// How many of its own sessions each worker gave to others.
fn given(handle: &ServiceHandle) -> Vec<u64> {
    handle.loads().iter().map(|load| load.given).collect()
}

/// The worker that accepts what comes to the one endpoint.
async fn accepting(handle: &ServiceHandle) -> WorkerId {
    let listing = handle.list(&Selector::all(), ListOptions::default()).await;
    listing.expect("it runs").endpoints[0].workers[0]
}

async fn assert_closed_books(handle: ServiceHandle) -> Summary {
    let summary = handle.shutdown().await.expect("it drains");
    let totals = &summary.totals;
    let ended = totals.closed + totals.failed + totals.forced;
    assert_eq!((totals.accepted, totals.active()), (ended, 0), "{summary:?}");
    assert_eq!(open(&handle).iter().sum::<u64>(), 0, "{:?}", handle.loads());
    summary
}

#[tokio::test]
async fn the_sessions_of_one_endpoint_are_spread_over_all_workers() {
    for workers in [2, 3] {
        let (handle, addr) = hot(workers, "").await;
        // A crowd that waits in the backlog together, then one after another.
        let mut clients: Vec<_> = (0..60).map(|_| connect(addr)).collect();
        clients.iter_mut().for_each(|client| echo_tcp(client, b"hello"));
        clients.extend(sessions(addr, 60));
        let open = open(&handle);
        let (least, most) = (open.iter().min(), open.iter().max());
        // A busy worker gets fewer; how even it is otherwise, `supervision::load` tests.
        assert!(least.zip(most).is_some_and(|(least, most)| least * 3 >= *most), "{open:?}");
        assert_eq!(open.iter().sum::<u64>(), 120);
        clients.iter_mut().for_each(|client| echo_tcp(client, b"still there"));
        drop(clients);
        let summary = assert_closed_books(handle).await;
        assert_eq!((summary.totals.accepted, summary.totals.closed), (120, 120));
        assert_eq!((summary.totals.tcp_in, summary.peak_sessions), (120 * 16, 120));
    }
}

#[tokio::test]
async fn sessions_stay_where_they_were_accepted_while_load_is_even() {
    let block = Block::new();
    let handle = start(2, "", &format!("tcp://{}:18000-18003", block.ip(0)));
    handle.wait_ready().await.expect("it runs");
    // The first two are one worker's, the last two the other's.
    let ports = [18_000, 18_003, 18_001, 18_002].repeat(20);
    let clients: Vec<_> = ports.into_iter().flat_map(|port| sessions(block.at(port), 1)).collect();
    assert!(given(&handle).iter().sum::<u64>() <= 4, "{:?}", handle.loads());
    drop(clients);
    assert_closed_books(handle).await;
}

#[tokio::test]
async fn no_session_waits_for_a_worker_that_hangs() {
    let (handle, addr) = hot(2, "").await;
    // Whichever worker hangs, it hangs with its own sessions: the one that does not accept.
    let other = match accepting(&handle).await {
        WorkerId(1) => WorkerId(2),
        _ => WorkerId(1),
    };
    let hangs = handle.hang(other).await.expect("it has a thread");
    // Some of them go to it, until it is seen to hang; then they are taken back.
    let mut early: Vec<_> = (0..20).map(|_| connect(addr)).collect();
    early.iter_mut().for_each(|client| echo_tcp(client, b"hello"));
    let seen = || !handle.loads()[usize::from(other.0) - 1].open;
    assert!(eventually(DEADLINE, seen), "{:?}", handle.loads());
    let before = given(&handle);
    drop(sessions(addr, 20));
    assert_eq!(given(&handle), before);
    drop((hangs, early));
    let summary = assert_closed_books(handle).await;
    assert_eq!((summary.totals.failed, summary.totals.forced), (0, 0));
}

#[tokio::test]
async fn no_client_is_lost_while_workers_die_and_threads_end() {
    let (handle, addr) = hot(3, PATIENT).await;
    let (stop, served) = (AtomicBool::new(false), AtomicU64::new(0));
    let lost = std::thread::scope(|scope| {
        let client = || {
            let mut lost = 0;
            while !stop.load(Ordering::Relaxed) {
                let mut client = connect(addr);
                let asked = client.write_all(b"hello");
                let mut answer = [0; 5];
                if asked.and_then(|()| client.read_exact(&mut answer)).is_ok() {
                    assert_eq!(answer, *b"hello");
                    served.fetch_add(1, Ordering::Relaxed);
                } else {
                    lost += 1;
                }
            }
            lost
        };
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(client)).collect();
        for turn in 0..9 {
            let before = served.load(Ordering::Relaxed);
            let worker = WorkerId(turn % 3 + 1);
            handle.inject(Injection::PanicWorker(worker));
            if turn >= 6 {
                handle.inject(Injection::EndThread(worker));
            }
            assert!(eventually(DEADLINE, || served.load(Ordering::Relaxed) >= before + 50));
        }
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().expect("no panic")).sum::<u64>()
    });
    let served = served.load(Ordering::Relaxed);
    let totals = assert_closed_books(handle).await.totals;
    // Only sessions that lived on a thread which ended are lost: of four at most each
    // time, some of which had answered already. Each is booked.
    assert!(lost <= totals.failed && totals.failed <= 3 * 4, "{lost} {totals:?}");
    assert_eq!(totals.accepted, served + lost, "{totals:?}");
}

#[tokio::test]
async fn a_drain_ends_every_session_that_was_accepted_also_on_its_way() {
    for round in 0..10 {
        let (handle, addr) = hot(2, "").await;
        let mut clients: Vec<_> = (0..40).map(|_| connect(addr)).collect();
        for client in &mut clients {
            client.write_all(b"hello").expect("a socket buffer");
        }
        // Somewhere between none and all of them are accepted.
        let some = round * 4;
        assert!(eventually(DEADLINE, || handle.snapshot().totals.accepted >= some));
        let summary = assert_closed_books(handle).await;
        let mut echoed = 0;
        for mut client in clients {
            let mut answer = Vec::new();
            let _reset = client.read_to_end(&mut answer);
            assert!(answer.is_empty() || answer == b"hello");
            echoed += u64::from(!answer.is_empty());
        }
        assert_eq!((summary.totals.accepted, summary.totals.forced), (echoed, 0), "{summary:?}");
    }
}
