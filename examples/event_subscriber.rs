//! What happens in a service, told to an actor of your own: an endpoint that another
//! process holds fails, recovers when it is let go, and the service ends.
//!
//! Nobody waits for the actor: one that is late loses the newest events, and is told how
//! many. `ServiceHandle::events` gives the same as a stream.

use std::error::Error;
use std::net::TcpListener;

use actix::{Actor, Context, Handler};
use ipcow::config::load_str;
use ipcow::service::{Event, Happened, Service};
use tokio::sync::mpsc;

/// An endpoint that failed twice is quarantined, and tried again each second.
const RULES: &str = "[retry]\nmax_attempts = 2\nquarantine_probe_secs = 1";

/// Keeps a diary, and lets the owner of the service know of what it waits for.
struct Diary {
    failures: u32,
    recovered: mpsc::UnboundedSender<()>,
}

impl Actor for Diary {
    type Context = Context<Self>;
}

impl Handler<Happened> for Diary {
    type Result = ();

    fn handle(&mut self, Happened { occurrence, lost, .. }: Happened, _ctx: &mut Context<Self>) {
        let name = occurrence.event.name();
        match &occurrence.event {
            Event::EndpointsFailed(_) => {
                self.failures += 1;
                if self.failures == 1 {
                    println!("{name}: somebody else has it");
                }
            }
            Event::Recovered { .. } => {
                println!("{name}, after more than one failure: {}", self.failures > 1);
                let _nobody_waits = self.recovered.send(());
            }
            Event::Draining { endpoints, .. } => println!("{name}: {} listen", endpoints.listening),
            Event::Stopped { accepted, .. } => {
                println!("{name}: {accepted} sessions, {lost} events lost");
                let _nobody_waits = self.recovered.send(());
            }
            // There are many more, and their number may grow.
            _ => {}
        }
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let holder = TcpListener::bind("127.0.0.1:0")?;
    let mut config = load_str("the rules", RULES)?.config;
    config.groups.clear();
    let spec = format!("tcp://{}", holder.local_addr()?);
    let handle = Service::builder().config(config).listen(&spec)?.build()?.start()?;

    let (recovered, mut news) = mpsc::unbounded_channel();
    let diary = Diary { failures: 0, recovered }.start();
    handle.subscribe(diary.recipient());

    // Once everything is decided, the other process lets go, and the next probe succeeds.
    let ready = handle.wait_ready().await?;
    println!("ready: {} quarantined", ready.endpoints.quarantined);
    drop(holder);
    news.recv().await.ok_or("the diary is gone")?;

    handle.shutdown().await?;
    news.recv().await.ok_or("the diary is gone")?;
    Ok(())
}
