//! Drains, and what clients see of them: a session that is told and says goodbye, one
//! that is quiet and gets FIN, and one that never ends and is cut off at the deadline.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use ipcow::config::load_str;
use ipcow::service::{Outcome, Service, SessionContext, SessionStream};
use ipcow::supervision::EndReason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A session that is quiet for half a second while it drains gets FIN; after three
/// seconds everybody is cut off.
const RULES: &str = "[shutdown]\nquiet_ms = 500\ndrain_timeout_secs = 3";

/// Answers line by line until its peer, or the drain, has enough.
async fn polite(mut stream: SessionStream, session: SessionContext) -> std::io::Result<Outcome> {
    let mut buffer = [0; 64];
    loop {
        tokio::select! {
            read = stream.read(&mut buffer) => match read? {
                0 => return Ok(Outcome::Eof),
                read => stream.write_all(&buffer[..read]).await?,
            },
            () = session.draining() => {
                stream.write_all(b"goodbye").await?;
                return Ok(Outcome::Done);
            }
        }
    }
}

/// Says something for ever: a drain waits for it, and then no longer.
async fn chatty(mut stream: SessionStream, _session: SessionContext) -> std::io::Result<Outcome> {
    loop {
        stream.write_all(b".").await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut config = load_str("the rules", RULES)?.config;
    config.groups.clear();
    let service = Service::builder()
        .config(config)
        .listen_in("polite", "tcp://127.0.0.1:0")?
        .listen_in("chatty", "tcp://127.0.0.1:0")?
        .listen_in("echo", "tcp://127.0.0.1:0")?
        .group_sessions("polite", polite)
        .group_sessions("chatty", chatty)
        .build()?;
    let handle = service.start()?;
    let ready = handle.wait_ready().await?;
    let clients = ["polite", "chatty", "echo"].into_iter().zip(&ready.bound);
    let clients: Vec<_> = clients
        .map(|(name, endpoint)| {
            let at = endpoint.socket_addr();
            std::thread::spawn(move || (name, until_the_end(at)))
        })
        .collect();
    while handle.snapshot().totals.accepted < 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    println!("draining");
    let summary = handle.shutdown().await?;
    for client in clients {
        let Ok((name, said)) = client.join() else { return Err("a client panicked".into()) };
        let said = said.map(|said| said.trim_matches('.').to_owned());
        println!("{name}: {}", said.unwrap_or_else(|error| error.to_string()));
    }
    for reason in [EndReason::Terminated, EndReason::Drain, EndReason::Forced] {
        println!("{} ended as {reason}", summary.totals.ended(reason));
    }
    Ok(())
}

/// Connects, asks once, and gives what came until the connection ended.
fn until_the_end(at: SocketAddr) -> std::io::Result<String> {
    let mut client = TcpStream::connect(at)?;
    client.write_all(b"moo ")?;
    let mut said = String::new();
    client.read_to_string(&mut said)?;
    Ok(said)
}
