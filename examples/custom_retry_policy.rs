//! A failure policy of your own: an actor that is asked about each endpoint that fails,
//! and answers retry after, give up, or escalate.
//!
//! Where it does not answer within a second, or dies, `[retry]` decides, and a line in
//! the log says so. A closure does too (`ServiceBuilder::failure_policy`).

use std::error::Error;
use std::net::TcpListener;
use std::time::Duration;

use actix::{Actor, Context, Handler};
use ipcow::service::{Decision, EndpointFailed, Service};

/// Knows which port the business cannot do without.
struct Policy {
    essential: u16,
    given_up: u16,
}

impl Actor for Policy {
    type Context = Context<Self>;
}

impl Handler<EndpointFailed> for Policy {
    type Result = Decision;

    fn handle(&mut self, failed: EndpointFailed, _ctx: &mut Context<Self>) -> Decision {
        let port = failed.endpoint.socket_addr().port();
        let decision = match failed.attempts {
            _ if port == self.given_up => Decision::GiveUp,
            1 | 2 => Decision::RetryAfter(Duration::from_millis(50)),
            _ if port == self.essential => Decision::Escalate,
            _ => Decision::BuiltIn,
        };
        println!("{} fails, attempt {}: {decision:?}", self.name(port), failed.attempts);
        decision
    }
}

impl Policy {
    fn name(&self, port: u16) -> &'static str {
        if port == self.essential { "the essential port" } else { "the other port" }
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Somebody else has both ports.
    let (taken, other) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    let [essential, given_up] = [taken.local_addr()?.port(), other.local_addr()?.port()];
    let policy = Policy { essential, given_up }.start();

    let service = Service::builder()
        .listen(&format!("tcp://127.0.0.1:{essential},{given_up}"))?
        .listen("tcp://127.0.0.1:0")?
        .failure_policy_actor(policy.recipient())
        .build()?;
    let handle = service.start()?;

    // Nobody asks it to: the escalation ends the service.
    let summary = handle.ended().await?;
    let endpoints = summary.drain.endpoints;
    println!("{} listened, {} were given up", endpoints.listening, endpoints.quarantined);
    if let Some(failed) = summary.escalated {
        println!("escalated: {} after {} attempts", failed.fault.kind.as_str(), failed.attempts);
    }
    Ok(())
}
