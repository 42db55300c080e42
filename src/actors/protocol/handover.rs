//! What is said when another instance takes a service over.

use std::collections::HashSet;
use std::os::fd::RawFd;
use std::sync::Arc;

use actix::Message;

use super::operations::Locked;
use crate::net::bind::Bound;
use crate::spec::Endpoint;
use crate::supervision::Place;

/// Command, service → Supervisor: another instance may take everything over; change
/// nothing until it has, or is told not to ([`WithdrawSockets`]).
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<Vec<Offered>, NotOffered>")]
pub(crate) struct OfferSockets {
    /// Which offer, so that it is the same when it is heard twice.
    pub(crate) offer: u64,
}

/// What another instance may take over: an endpoint with its number.
#[derive(Debug, Clone)]
pub(crate) struct Offered {
    pub(crate) place: Place,
    pub(crate) endpoint: Endpoint,
    /// Where the kernel chose the number.
    pub(crate) ordinal: Option<u32>,
    /// Empty where it has a number of the kernel's choice and no socket now.
    pub(crate) sockets: Vec<Bound>,
}

/// Why nothing is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotOffered {
    /// A chunk is being opened: ask again.
    Opening,
    Locked(Locked),
}

/// Command, service → Supervisor: nobody takes anything over; go on.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct WithdrawSockets;

/// Command, service → desk: another instance serves by now; leave it what it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Retirement {
    /// The sockets that it serves from.
    pub(crate) taken: Arc<HashSet<RawFd>>,
    /// The endpoints that those are of.
    pub(crate) served: Arc<HashSet<Place>>,
}
