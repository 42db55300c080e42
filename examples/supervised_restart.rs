//! What a supervisor is for: a session, a listener and a worker panic on demand, and
//! their neighbours go on answering. The service's own events tell the story.
//!
//! Faults on demand need a feature that no release build has:
//!
//! ```text
//! cargo run --example supervised_restart --features fault-injection
//! ```

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;

use ipcow::config::load_str;
use ipcow::service::{Event, Events, Injection, Service};
use ipcow::spec::Endpoint;
use ipcow::supervision::WorkerId;

/// Two crashes are forgiven, the third in a minute is one too many.
const RULES: &str = "[supervision]\nmax_restarts = 2\nwindow_secs = 60\n\
                     [retry]\ninitial_backoff_ms = 200\nquarantine_probe_secs = 1";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // The panics below are wanted: the events say enough of them.
    std::panic::set_hook(Box::new(|_wanted| ()));
    let mut config = load_str("the rules", RULES)?.config;
    config.groups.clear();
    let service = Service::builder().config(config).listen("tcp://127.0.0.1:0x3")?.build()?;
    let handle = service.start()?;
    let mut events = handle.events();
    let ready = handle.wait_ready().await?;
    let [first, second, third] = ready.bound[..] else { return Err("three endpoints".into()) };
    println!("{} endpoints listen", ready.endpoints.listening);

    println!("\n1. One session of two panics: it ends, and its neighbour notices nothing");
    let (mut doomed, mut neighbour) = (connect(first)?, connect(first)?);
    handle.inject(Injection::PanicSession(doomed.local_addr()?));
    let left = doomed.read(&mut [0])?;
    println!("    its client reads the end ({left} bytes)");
    ask(&mut neighbour)?;

    println!("\n2. A worker panics: its successor adopts listeners and sessions");
    handle.inject(Injection::PanicWorker(WorkerId(1)));
    story(&mut events, |event| matches!(event, Event::WorkerCrashed { .. })).await?;
    ask(&mut neighbour)?;

    println!("\n3. A listener panics: the same socket is served again");
    for _forgiven in 0..2 {
        handle.inject(Injection::PanicListener(second));
        story(&mut events, |event| event.recovers(&second)).await?;
    }

    println!("\n4. It panics once too often: its endpoint is quarantined, the others stay");
    let mut survivor = connect(second)?;
    handle.inject(Injection::PanicListener(second));
    story(&mut events, |event| matches!(event, Event::Quarantined { .. })).await?;
    for mut client in [survivor.try_clone()?, connect(third)?, connect(first)?] {
        ask(&mut client)?;
    }

    println!("\n5. A second later it is probed, and listens");
    story(&mut events, |event| event.recovers(&second)).await?;
    ask(&mut connect(second)?)?;
    ask(&mut survivor)?;

    drop((doomed, neighbour, survivor));
    let summary = handle.shutdown().await?;
    println!("\nsessions: {} accepted, {} failed", summary.totals.accepted, summary.totals.failed);
    println!("restarts: {:?}", summary.restarts);
    for (kind, count) in &summary.errors.by_kind {
        println!("errors: {count} × {}", kind.as_str());
    }
    Ok(())
}

/// A client of this endpoint that was answered once.
fn connect(endpoint: Endpoint) -> Result<TcpStream, Box<dyn Error>> {
    let mut client = TcpStream::connect(endpoint.socket_addr())?;
    client.write_all(b"hello")?;
    client.read_exact(&mut [0; 5])?;
    Ok(client)
}

/// Asks on an open session, and says that it was answered.
fn ask(client: &mut TcpStream) -> Result<(), Box<dyn Error>> {
    let mut answer = [0; 5];
    client.write_all(b"still")?;
    client.read_exact(&mut answer)?;
    println!("    {} answers: {}", client.peer_addr()?, String::from_utf8_lossy(&answer));
    Ok(())
}

/// Prints what the service tells, until the event that is wanted.
async fn story(events: &mut Events, wanted: impl Fn(&Event) -> bool) -> Result<(), Box<dyn Error>> {
    loop {
        let event = events.next().await.ok_or("the service ended")?.event;
        match &event {
            Event::ListenerCrashed { endpoint, panic, .. } => {
                println!("    event: the listener of {endpoint} crashed ({panic})");
            }
            Event::WorkerCrashed { worker, panic, .. } => {
                println!("    event: worker {worker} crashed ({panic})");
            }
            Event::Recovered { endpoints } => {
                println!("    event: {} recovered", endpoints.text(80))
            }
            Event::Quarantined { name, .. } => println!("    event: {name} is quarantined"),
            other => println!("    event: {}", other.name()),
        }
        if wanted(&event) {
            return Ok(());
        }
    }
}
