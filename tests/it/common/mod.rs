//! What every black-box test stands on: the program as a child process, addresses
//! that no other test uses, clients, network namespaces.
//!
//! Holds no claim about IPCow; those live in the modules beside this one. Knows the
//! program only as a stranger does: arguments, environment, pipes, signals, sockets.

mod alone;
mod client;
mod command;
mod dialling;
mod events;
mod http;
mod lab;
mod loopback;
mod namespace;
mod needs;
mod process;
mod served;
mod spoof;

pub(crate) use alone::{alone, count_poisoned, own_descriptors, own_threads, poisoned};
pub(crate) use client::{
    connect, connect_from, echo_all_tcp, echo_tcp, echo_udp, random_bytes, read_to_fin, refused,
    udp_client,
};
pub(crate) use command::{Ipcow, binary};
pub(crate) use dialling::Dialling;
pub(crate) use events::{Ready, counts};
pub(crate) use http::{Answer, Api};
pub(crate) use lab::Lab;
pub(crate) use loopback::{Block, assert_free};
pub(crate) use namespace::Namespace;
pub(crate) use needs::{Need, needs, raise_own_descriptor_limit};
pub(crate) use process::{Finished, Running, resident_kib};
pub(crate) use served::Served;
pub(crate) use spoof::Spoofer;

use std::time::{Duration, Instant};

/// How long a test waits for what must come: long enough for a machine that is
/// busy with other things, short enough that a hang is a failure.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// No SPEC argument: what is served comes from elsewhere.
pub(crate) const NO_SPECS: [&str; 0] = [];

/// Waits until `holds` is true, and says whether that happened in time.
///
/// Only for what announces nothing by itself (the state of another process); where
/// a pipe or a socket can be waited for, tests wait for that.
pub(crate) fn eventually(deadline: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + deadline;
    while !holds() {
        if Instant::now() > end {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    true
}

/// As [`eventually`], for what has to be awaited.
pub(crate) async fn eventually_async<F: Future<Output = bool>>(
    deadline: Duration,
    mut holds: impl FnMut() -> F,
) -> bool {
    let end = Instant::now() + deadline;
    while !holds().await {
        if Instant::now() > end {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    true
}
