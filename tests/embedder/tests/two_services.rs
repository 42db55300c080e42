//! Two services in one process, one with actors of its own: one of them panics, one
//! service drains while the other serves, and a dropped handle leaves its ports free.
//! Under two runtimes, neither of which a service needs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use embedder::Greeter;
use ipcow::service::{Service, ServiceHandle, session_actors};
use ipcow::supervision::FaultKind;

/// Long enough for a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

fn connect(to: SocketAddr) -> TcpStream {
    let client = TcpStream::connect_timeout(&to, DEADLINE).expect("a connection");
    client.set_read_timeout(Some(DEADLINE)).expect("an option");
    client
}

/// Says a line and gives the answer, without its end; empty where there is none.
fn say(client: &mut TcpStream, line: &str) -> String {
    client.write_all(format!("{line}\n").as_bytes()).expect("a line");
    let mut answer = String::new();
    BufReader::new(client).read_line(&mut answer).expect("an answer");
    answer.trim_end().to_owned()
}

async fn start(service: Service) -> (ServiceHandle, Vec<SocketAddr>) {
    let handle = service.start().expect("threads");
    let ready = handle.wait_ready().await.expect("it runs");
    assert!(ready.is_complete(), "{:?}", ready.failures);
    let bound = ready.bound.iter().map(|endpoint| endpoint.socket_addr()).collect();
    (handle, bound)
}

async fn story() {
    let own = Service::builder()
        .listen("tcp://127.0.0.1:0")
        .expect("a spec")
        .sessions(session_actors(Greeter::new))
        .build()
        .expect("a plan");
    let echo = Service::builder()
        .listen("both://127.0.0.1:0x2")
        .expect("a spec")
        .build()
        .expect("a plan");
    let (own, greeters) = start(own).await;
    let (echo, echoes) = start(echo).await;

    let (mut one, mut other) = (connect(greeters[0]), connect(greeters[0]));
    let mut echoed = connect(echoes[0]);
    assert_eq!(say(&mut one, "Io"), "hello Io, you are number 1");
    assert_eq!(say(&mut other, "Ada"), "hello Ada, you are number 1");
    assert_eq!(say(&mut echoed, "as it is"), "as it is");

    // One actor of its own panics: its connection ends, and nobody else's.
    assert_eq!(say(&mut one, "poison"), "");
    assert_eq!(say(&mut other, "Ada"), "hello Ada, you are number 2");
    assert_eq!(say(&mut connect(greeters[0]), "Eve"), "hello Eve, you are number 1");

    // One drains while the other serves.
    let mut drained = Box::pin(own.shutdown());
    let waiting = std::future::poll_fn(|task| std::task::Poll::Ready(drained.as_mut().poll(task)));
    assert!(waiting.await.is_pending());
    assert_eq!(say(&mut echoed, "still"), "still");
    let summary = drained.await.expect("it drains");
    let totals = &summary.totals;
    assert_eq!((totals.accepted, totals.failed, totals.forced), (3, 1, 0), "{summary:?}");
    assert_eq!(totals.accepted, totals.closed + totals.failed);
    assert_eq!(summary.errors.by_kind[&FaultKind::SessionPanic], 1);
    assert_eq!(other.read(&mut [0]).expect("an end, not a reset"), 0);
    assert_eq!(say(&mut echoed, "and still"), "and still");
    assert_eq!(say(&mut connect(echoes[0]), "and new"), "and new");

    // Dropping the handle gives the ports back at once. A second is the promise; the
    // rest is for a machine that is busy.
    let began = Instant::now();
    drop(echo);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // Each number was a TCP and a UDP port.
    for at in echoes {
        TcpListener::bind(at).expect("the TCP port is free");
        UdpSocket::bind(at).expect("the UDP port is free");
    }
    drop(own);
    TcpListener::bind(greeters[0]).expect("the port is free");
}

#[test]
fn under_a_tokio_multi_thread_runtime() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let story = runtime.spawn(story());
    runtime.block_on(story).expect("no panic");
}

#[test]
fn under_actix() {
    actix::System::new().block_on(story());
}
