//! A soak: faults of every kind into a running service, while clients in another
//! process compare each byte.
//!
//! ```text
//! cargo run --release --example soak --features fault-injection -- MINUTES
//! ```
//!
//! Says every ten seconds, and at the end, what was survived. Ends with failure if a
//! byte is lost, duplicated or wrong, if a session ends that nothing killed, if a
//! failure is not in the books, or if descriptors, threads or memory drift beyond
//! [`MOST_DRIFT`]. Everything is loopback.

mod clients;
mod course;
mod faults;
mod process;
mod seen;
mod verdict;

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use process::Resources;

/// Drift from the baseline that is no leak.
const MOST_DRIFT: Resources = Resources { descriptors: 0, threads: 0, resident_kib: 16 * 1024 };

type Failure = Box<dyn Error>;

fn main() -> Result<ExitCode, Failure> {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next().ok_or("usage: soak MINUTES")?;
    if first == process::CLIENTS {
        let endpoints: Result<Vec<_>, _> = arguments.map(|word| parse(&word)).collect();
        clients::run(&endpoints?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let minutes: f64 = first.parse().map_err(|_| "usage: soak MINUTES")?;
    let time = Duration::try_from_secs_f64(minutes * 60.0)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let verdict = tokio::task::LocalSet::new().block_on(&runtime, course::soak(time))?;
    Ok(if verdict.print() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether it is TCP, and where, of an endpoint as it prints itself.
fn parse(word: &str) -> Result<(bool, SocketAddr), Failure> {
    let (protocol, address) = word.split_once("://").ok_or("an endpoint has a protocol")?;
    Ok((protocol == "tcp", address.parse()?))
}
