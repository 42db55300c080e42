//! The accept loop on a script, and the acceptor on a real socket.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::rc::Rc;

use tokio::time::{Instant, sleep};

use super::shortage::{Shortage, Turn};
use super::*;
use crate::net::bind::{self, BindOptions};
use crate::spec::{Address, Endpoint, Port, Protocol};

/// A listener that fails with these numbers and succeeds with 0.
struct Fake(VecDeque<i32>);

impl Accept for Fake {
    type Connection = ();

    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0.pop_front() {
            Some(0) => Poll::Ready(Ok(())),
            Some(errno) => Poll::Ready(Err(io::Error::from_raw_os_error(errno))),
            None => Poll::Pending,
        }
    }
}

/// Runs the loop as a listener does, and notes when each connection was taken.
async fn taken_at(script: &[i32]) -> (Vec<u128>, usize) {
    let mut source = Fake(script.iter().copied().collect());
    let shortage = Rc::new(Shortage::default());
    let mut turn = Turn::new(Rc::clone(&shortage));
    let (begin, mut taken, mut lost) = (Instant::now(), Vec::new(), 0);
    while !source.0.is_empty() {
        poll_fn(|cx| turn.poll(cx)).await;
        match poll_fn(|cx| poll_step(&mut source, cx)).await {
            Step::Taken(()) => {
                turn.succeeded();
                taken.push(begin.elapsed().as_millis());
            }
            Step::Lost(_) => lost += 1,
            Step::NoRoom(_) => {
                sleep(turn.refused(0.0).expect("it is the only one")).await;
                shortage.over();
            }
            Step::Broken(error) => panic!("a socket that works was given up: {error}"),
        }
    }
    (taken, lost)
}

#[tokio::test(start_paused = true)]
async fn a_listener_without_descriptors_waits_longer_each_time_and_starts_over_after_success() {
    let none = libc::EMFILE;
    let (taken, _) = taken_at(&[none, none, none, none, none, 0, none, 0]).await;
    assert_eq!(taken, [100 + 200 + 400 + 800 + 1000, 2500 + 100]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_costs_no_wait() {
    let lost = [libc::ECONNABORTED, libc::EPROTO, libc::EPERM, libc::ENETDOWN, libc::EHOSTUNREACH];
    let script: Vec<i32> = lost.iter().cycle().take(20).copied().chain([0]).collect();
    assert_eq!(taken_at(&script).await, (vec![0], 20));
}

#[test]
fn jitter_only_shortens_a_pause_and_by_a_fifth_at_most() {
    for chance in [0.0, 0.5, 1.0, 7.0, f64::NAN, f64::INFINITY, -1.0] {
        let mut pause = AcceptPause::default();
        for full in [100, 200, 400, 800, 1000, 1000, 1000] {
            let wait = pause.next(chance);
            assert!(wait <= Duration::from_millis(full), "{wait:?} at {chance}");
            assert!(wait >= Duration::from_millis(full * 4 / 5), "{wait:?} at {chance}");
        }
    }
}

#[test]
fn every_error_that_the_manual_names_is_classified() {
    for errno in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM] {
        assert_eq!(classify(errno), AcceptClass::Pause, "{errno}");
    }
    for errno in [libc::EBADF, libc::EINVAL, libc::ENOTSOCK] {
        assert_eq!(classify(errno), AcceptClass::Fatal, "{errno}");
    }
    assert_eq!(classify(libc::ENOPROTOOPT), AcceptClass::Retry);
    assert_eq!(classify(9999), AcceptClass::Pause, "neither a spin nor a lost listener");
}

#[test]
fn a_socket_of_no_use_is_said_to_be_broken() {
    let mut source = Fake(VecDeque::from([libc::EBADF]));
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(matches!(poll_step(&mut source, &mut cx), Poll::Ready(Step::Broken(_))));
}

fn listener() -> Bound {
    let options = BindOptions { freebind: false, backlog: 8, receive_buffer: None };
    let address = Address::from(Ipv4Addr::LOCALHOST);
    let endpoint = Endpoint { protocol: Protocol::Tcp, address, port: Port::Ephemeral(0) };
    let bound = bind::bind(&endpoint, &options).expect("a free port");
    bind::listen(&bound, options.backlog).expect("to listen");
    bound
}

#[tokio::test]
async fn a_connection_is_taken_with_its_peer_and_never_blocks() {
    let mut acceptor = Acceptor::new(listener(), StreamOptions::new(None)).expect("a registration");
    let mut client = TcpStream::connect(acceptor.bound().local_addr()).expect("a connection");
    let (mut session, peer) =
        std::future::poll_fn(|cx| acceptor.poll_accept(cx)).await.expect("a session");
    assert_eq!(peer, client.local_addr().expect("its address"));
    assert_eq!(
        session.read(&mut [0; 1]).map_err(|error| error.kind()),
        Err(io::ErrorKind::WouldBlock)
    );
    session.write_all(b"x").expect("a write");
    client.read_exact(&mut [0; 1]).expect("a read");
}

#[tokio::test]
async fn a_listener_that_is_registered_again_serves_what_waited_in_the_backlog() {
    let bound = listener();
    let acceptor = Acceptor::new(bound.clone(), StreamOptions::new(None)).expect("a registration");
    drop(acceptor);
    let client = TcpStream::connect(bound.local_addr()).expect("the backlog");
    let mut acceptor =
        Acceptor::new(bound, StreamOptions::new(None)).expect("a second registration");
    let (_session, peer) =
        std::future::poll_fn(|cx| acceptor.poll_accept(cx)).await.expect("a session");
    assert_eq!(peer, client.local_addr().expect("its address"));
}

#[tokio::test]
async fn the_backlog_is_emptied_without_waiting() {
    let acceptor = Acceptor::new(listener(), StreamOptions::new(None)).expect("a registration");
    assert!(acceptor.try_accept().expect("no failure").is_none());
    let address = acceptor.bound().local_addr();
    let clients: Vec<_> = (0..5).map(|_| TcpStream::connect(address).expect("a client")).collect();
    assert_eq!(acceptor.waiting(), 5);
    let mut taken = Vec::new();
    while let Some(connection) = acceptor.try_accept().expect("no failure") {
        taken.push(connection);
    }
    assert_eq!((taken.len(), acceptor.waiting()), (clients.len(), 0));
}

#[tokio::test]
async fn a_socket_that_does_not_listen_is_classified_as_of_no_use() {
    let address = Address::from(Ipv4Addr::LOCALHOST);
    let endpoint = Endpoint { protocol: Protocol::Tcp, address, port: Port::Ephemeral(0) };
    let options = BindOptions { freebind: false, backlog: 8, receive_buffer: None };
    let acceptor = Acceptor::new(
        bind::bind(&endpoint, &options).expect("a free port"),
        StreamOptions::new(None),
    );
    let error = acceptor.expect("a registration").try_accept().expect_err("it does not listen");
    assert_eq!(error.raw_os_error().map(classify), Some(AcceptClass::Fatal));
}
