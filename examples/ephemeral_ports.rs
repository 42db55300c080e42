//! Port 0 read back: fixtures for tests that run in parallel, none of which may name a
//! port that another one has.
//!
//! `both://…:0` is one number for TCP and UDP; `0x3` is three numbers. The numbers stay
//! the same while the service runs, also when an endpoint is suspended, as in an outage.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use ipcow::service::{Service, ServiceHandle, SuspendOptions};
use ipcow::spec::Selector;

/// A server under test, which frees its ports when it is dropped.
struct Fixture {
    handle: ServiceHandle,
    addresses: Vec<SocketAddr>,
}

impl Fixture {
    async fn new(spec: &str) -> Result<Self, Box<dyn Error>> {
        let handle = Service::builder().listen(spec)?.build()?.start()?;
        let ready = handle.wait_ready().await?;
        if !ready.is_complete() {
            return Err(format!("not everything listens: {:?}", ready.failures).into());
        }
        let addresses = ready.bound.iter().map(|endpoint| endpoint.socket_addr()).collect();
        Ok(Self { handle, addresses })
    }
}

fn answers(at: SocketAddr) -> bool {
    let asked = TcpStream::connect(at).and_then(|mut client| {
        client.write_all(b"moo")?;
        client.read_exact(&mut [0; 3])
    });
    asked.is_ok()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let pair = Fixture::new("both://127.0.0.1:0").await?;
    let same = pair.addresses[0].port() == pair.addresses[1].port();
    println!("TCP and UDP share a number: {same}");

    let three = Fixture::new("tcp://127.0.0.1:0x3").await?;
    let mut ports: Vec<u16> = three.addresses.iter().map(SocketAddr::port).collect();
    ports.sort_unstable();
    ports.dedup();
    println!("three ports of the kernel's choice: {}", ports.len());

    // An outage of one of them, seen by what is tested, and its end.
    let at = three.addresses[0];
    println!("answers: {}", answers(at));
    let one = Selector::parse(&format!("tcp://{at}"))?;
    three.handle.suspend(&one, SuspendOptions::default()).await?;
    println!("suspended, answers: {}", answers(at));
    three.handle.resume(&one).await?;
    while three.handle.snapshot().endpoints.listening < 3 {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    println!("resumed on the same number, answers: {}", answers(at));

    drop(three);
    println!("dropped, the port is free: {}", std::net::TcpListener::bind(at).is_ok());
    Ok(())
}
