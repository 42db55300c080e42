//! The watchdog and the status line, against a socket of the test's own.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use ipcow::service::Service;
use ipcow::supervision::WorkerId;

use super::*;

/// A manager with an abstract socket of that name, and what it hears.
fn manager(name: &str, watchdog: Duration) -> (ServiceManager, Receiver<String>) {
    let name = format!("ipcow-test-{name}-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a short name");
    let socket = UnixDatagram::bind_addr(&address).expect("a fresh name");
    let (heard, hears) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length) = socket.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if heard.send(text).is_err() {
                return;
            }
        }
    });
    let socket = NotifySocket::connect(format!("@{name}").as_ref()).expect("it is bound");
    (ServiceManager::new(Some(socket), None, Some(watchdog)), hears)
}

/// Waits for the next message that `wanted` accepts.
async fn hear(hears: &Receiver<String>, wanted: impl Fn(&str) -> bool) -> String {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        match hears.try_recv() {
            Ok(message) if wanted(&message) => return message,
            Ok(_) => {}
            Err(_) => {
                assert!(Instant::now() < end, "the message does not come");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

fn is_beat(message: &str) -> bool {
    message == "WATCHDOG=1"
}

#[tokio::test]
async fn no_sign_of_life_is_given_while_a_worker_hangs() {
    let service = Service::builder().listen("tcp://127.0.0.1:0").expect("legal");
    let handle = Arc::new(service.build().expect("a plan").start().expect("threads"));
    let reloader = Reloader::without_source(Arc::clone(&handle));
    handle.wait_ready().await.expect("it runs");
    let (manager, hears) = manager("hangs", Duration::from_millis(400));
    let story = async {
        hear(&hears, is_beat).await;
        hear(&hears, is_beat).await;
        let hangs = handle.hang(WorkerId(1)).await.expect("it has a thread");
        hear(&hears, |message| message.contains("1 worker hangs")).await;
        // What was sent before the worker was seen to hang is not of interest.
        while hears.try_recv().is_ok() {}
        let quiet = Instant::now() + Duration::from_secs(1);
        while Instant::now() < quiet {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let heard = hears.try_recv();
            assert!(!heard.as_deref().is_ok_and(is_beat), "{heard:?}");
        }
        drop(hangs);
        hear(&hears, is_beat).await;
        assert_eq!(handle.snapshot().hung_workers, 0);
    };
    tokio::select! {
        () = story => {}
        never = manager.follow(&handle, &reloader) => match never {},
    }
    handle.shutdown().await.expect("it drains");
    // Its own thread is gone: that is no sign of life either.
    assert!(!is_well(&handle).await);
}

#[tokio::test]
async fn a_manager_that_does_not_read_is_not_waited_for_and_hears_the_newest() {
    let name = format!("ipcow-test-stalled-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a short name");
    let reader = UnixDatagram::bind_addr(&address).expect("a fresh name");
    let socket = NotifySocket::connect(format!("@{name}").as_ref()).expect("it is bound");
    // More than any queue of the kernel holds.
    for number in 0..5_000 {
        socket.send(format!("STATUS={number}"));
    }
    reader.set_nonblocking(true).expect("a socket");
    let mut last = String::new();
    let mut buffer = [0; 64];
    for _ in 0..10 {
        while let Ok(length) = reader.recv(&mut buffer) {
            last = String::from_utf8_lossy(&buffer[..length]).into_owned();
        }
        socket.flush();
    }
    assert_eq!(last, "STATUS=4999");
}

#[test]
fn what_is_no_unix_socket_is_named() {
    for name in ["", "@", "/", "notify", "vsock:2:1234", "/nowhere/at/all"] {
        let refused = NotifySocket::connect(name.as_ref()).map(drop);
        let said = refused.expect_err(name).to_string();
        assert!(said.contains(&format!("`{name}`")), "{said}");
    }
}
