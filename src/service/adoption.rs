//! Sockets that a service is given: which endpoint of its plan each is for.
//!
//! What fits is served from instead of being bound; what does not is closed, and
//! named. Never opens a socket itself.

use std::collections::BTreeMap;

use super::planning::Plan;
use crate::config::Config;
use crate::net::bind::{self, BindOptions, Bound};
use crate::net::given::GivenSocket;
use crate::plan::endpoints::homes::{Arrival, homes};
use crate::spec::Endpoint;

/// What is given to a service before it is planned.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) sockets: Vec<GivenSocket>,
    /// Numbers that the kernel chose for endpoints that have no socket now.
    pub(super) numbers: Vec<Arrival>,
    /// Nobody is served before [`ServiceHandle::open_gate`] is called.
    ///
    /// [`ServiceHandle::open_gate`]: super::ServiceHandle::open_gate
    pub(super) gated: bool,
}

impl Given {
    /// What is bound already.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = Endpoint> + '_ {
        self.sockets.iter().map(GivenSocket::endpoint)
    }
}

/// What of it fits the plan.
#[derive(Debug, Default)]
pub(super) struct Adoption {
    /// By index of the plan; of one endpoint there may be several (`reuse_port`).
    pub(super) sockets: BTreeMap<u64, Vec<Bound>>,
    pub(super) numbers: Vec<(u64, u16)>,
    pub(super) gated: bool,
    /// By the number of the socket that was given: whether it is served from.
    pub(super) taken: Vec<bool>,
    /// What no endpoint of the plan is for. Closed.
    pub(super) left: Vec<Endpoint>,
}

impl Adoption {
    /// Matches what is given with the plan, and closes the rest.
    pub(super) fn new(given: Given, config: &Config, plan: &Plan) -> Self {
        let arrival = |socket: &GivenSocket| Arrival {
            endpoint: socket.endpoint(),
            ordinal: socket.ordinal(),
        };
        let arrivals: Vec<_> =
            given.sockets.iter().map(arrival).chain(given.numbers.iter().copied()).collect();
        let mut homes = homes(&plan.endpoints, &arrivals).into_iter();
        let mut adoption = Self { gated: given.gated, ..Self::default() };
        for (socket, home) in given.sockets.into_iter().zip(homes.by_ref()) {
            let endpoint = socket.endpoint();
            let bound = home.and_then(|index| Some((index, adopt(socket, index, config, plan)?)));
            adoption.taken.push(bound.is_some());
            match bound {
                Some((index, bound)) => adoption.sockets.entry(index).or_default().push(bound),
                None => adoption.left.push(endpoint),
            }
        }
        let numbers = given.numbers.iter().zip(homes);
        let numbers = numbers.filter_map(|(it, home)| Some((home?, it.endpoint.port.number())));
        adoption.numbers = numbers.collect();
        adoption
    }
}

/// Takes on a socket for the endpoint at this index; `None` where the kernel
/// refuses its options. The endpoint is bound anew then.
fn adopt(socket: GivenSocket, index: u64, config: &Config, plan: &Plan) -> Option<Bound> {
    let (group, endpoint) = plan.endpoints.get(index)?;
    let settings = &plan.endpoints.groups().get(group)?.settings;
    let options = BindOptions {
        freebind: settings.freebind,
        backlog: settings.backlog.unwrap_or(u16::MAX),
        receive_buffer: config.udp.receive_buffer_bytes,
    };
    match bind::adopt(socket, &options) {
        Ok(bound) => Some(bound),
        Err(error) => {
            tracing::warn!(%endpoint, %error, "a socket that was given is of no use");
            None
        }
    }
}
