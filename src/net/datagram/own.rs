//! Datagrams that an embedder answers: what it sees, what it may send, and its panics.
//!
//! Whoever may not be answered is out of it already: the guards come first. Never more
//! bytes go out than came in, unless the embedder said that this is intended.

use std::fmt;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::UdpTally;
use super::message::Arrival;
use super::{ROOM, replies};
use crate::net::bind::Bound;
use crate::net::sys::batch::{Answer, BATCH, Batch};
use crate::spec::Endpoint;
use crate::supervision::DropReason;

/// Most answers to one datagram, where amplification is intended.
const MOST_ANSWERS: usize = 64;

/// Answers the datagrams of a service or of a group, instead of the echo.
///
/// A closure is one. It runs on a worker's thread for each datagram that may be answered:
/// source ports, rates, the loop breaker and allow lists have let it pass. It must not
/// block. When it panics, that datagram has no (further) answer, and is counted as dropped
/// (`handler`).
///
/// At most one answer is sent, and never more bytes than came in: else anybody could have
/// this machine multiply what it sends to a victim in whose name it asks. [`amplifying`]
/// lifts both.
///
/// ```
/// use ipcow::service::{Answers, Datagram, Service};
///
/// let shout = |datagram: &Datagram<'_>, answers: &mut Answers<'_>| {
///     answers.send(&datagram.payload().to_ascii_uppercase());
/// };
/// let service = Service::builder().listen("udp://127.0.0.1:0")?.datagrams(shout).build()?;
/// # drop(service);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait DatagramHandler: Send + Sync + 'static {
    /// Answers one datagram, or not: then it is neither replied to nor dropped.
    fn answer(&self, datagram: &Datagram<'_>, answers: &mut Answers<'_>);

    /// Whether more bytes, or more datagrams, than one for one are intended. Default no.
    fn amplifies(&self) -> bool {
        false
    }
}

impl<F> DatagramHandler for F
where
    F: Fn(&Datagram<'_>, &mut Answers<'_>) + Send + Sync + 'static,
{
    fn answer(&self, datagram: &Datagram<'_>, answers: &mut Answers<'_>) {
        self(datagram, answers);
    }
}

/// Lets a handler send more than it was sent: up to 64 datagrams for one, each up to
/// 65,507 bytes.
///
/// Say `allow_from` for its group too, or anybody can aim it at somebody else.
pub fn amplifying(handler: impl DatagramHandler) -> impl DatagramHandler {
    Amplifying(handler)
}

struct Amplifying<H>(H);

impl<H: DatagramHandler> DatagramHandler for Amplifying<H> {
    fn answer(&self, datagram: &Datagram<'_>, answers: &mut Answers<'_>) {
        self.0.answer(datagram, answers);
    }

    fn amplifies(&self) -> bool {
        true
    }
}

/// A datagram that may be answered.
#[derive(Debug)]
pub struct Datagram<'a> {
    payload: &'a [u8],
    source: SocketAddr,
    dialled: SocketAddr,
    endpoint: Endpoint,
}

impl Datagram<'_> {
    /// Its bytes: 0 to `udp.max_datagram_bytes`.
    #[must_use]
    pub const fn payload(&self) -> &[u8] {
        self.payload
    }

    /// Who says to have sent it. UDP proves nothing.
    #[must_use]
    pub const fn source(&self) -> SocketAddr {
        self.source
    }

    /// The address that it was sent to, which a wildcard endpoint does not say. Answers
    /// leave from there.
    #[must_use]
    pub const fn dialled(&self) -> SocketAddr {
        self.dialled
    }

    /// The endpoint that it came to, with the port that it has.
    #[must_use]
    pub const fn endpoint(&self) -> Endpoint {
        self.endpoint
    }
}

/// Takes the answers to one datagram. They go to its source.
pub struct Answers<'a> {
    outbox: &'a mut Outbox,
    bound: &'a Bound,
    arrival: &'a Arrival,
    name: &'a [u8],
    tally: &'a mut UdpTally,
    amplifies: bool,
    sent: usize,
}

impl Answers<'_> {
    /// Sends an answer of 0 to 65,507 bytes. False where it is more than may be said: it
    /// is not sent, and counted as dropped (`amplified`).
    ///
    /// What the kernel does not take is dropped and counted like an echo.
    pub fn send(&mut self, payload: &[u8]) -> bool {
        let allowed = match self.amplifies {
            true => self.sent < MOST_ANSWERS,
            false => self.sent == 0 && payload.len() <= self.arrival.length,
        };
        if !allowed {
            self.tally.drop_one(DropReason::Amplified);
            return false;
        }
        self.sent += 1;
        if payload.len() > ROOM {
            self.tally.drop_one(DropReason::Oversize);
        } else {
            self.outbox.push(self.bound, (self.arrival, self.name), payload, self.tally);
        }
        true
    }
}

impl fmt::Debug for Answers<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Answers").field("sent", &self.sent).finish_non_exhaustive()
    }
}

/// The handler of a group.
#[derive(Clone)]
pub(crate) struct OwnDatagrams(Arc<dyn DatagramHandler>);

impl OwnDatagrams {
    pub(crate) fn new(handler: Arc<dyn DatagramHandler>) -> Self {
        Self(handler)
    }

    /// Has one datagram of the batch answered.
    pub(super) fn answer(
        &self,
        bound: &Bound,
        (arrival, batch): (&Arrival, &Batch),
        outbox: &mut Outbox,
        tally: &mut UdpTally,
    ) {
        let datagram = Datagram {
            payload: batch.payload(arrival.place),
            source: arrival.source,
            dialled: arrival.dialled,
            endpoint: bound.endpoint(),
        };
        let (name, amplifies) = (batch.name(arrival.place), self.0.amplifies());
        let mut answers = Answers { outbox, bound, arrival, name, tally, amplifies, sent: 0 };
        // One datagram must not end the listener of all others.
        let answered = catch_unwind(AssertUnwindSafe(|| self.0.answer(&datagram, &mut answers)));
        if answered.is_err() {
            tally.drop_one(DropReason::Handler);
        }
    }
}

impl fmt::Debug for OwnDatagrams {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("OwnDatagrams").finish_non_exhaustive()
    }
}

/// Answers that wait to be sent in one call. One a thread.
pub(super) struct Outbox {
    batch: Batch,
    places: Vec<usize>,
    answers: Vec<Answer>,
}

impl Default for Outbox {
    fn default() -> Self {
        Self { batch: Batch::new(ROOM), places: Vec::new(), answers: Vec::new() }
    }
}

impl Outbox {
    fn push(
        &mut self,
        bound: &Bound,
        (arrival, name): (&Arrival, &[u8]),
        payload: &[u8],
        tally: &mut UdpTally,
    ) {
        if self.places.len() == BATCH {
            self.send(bound, tally);
        }
        let place = self.places.len();
        self.batch.put(place, name, payload);
        self.answers.push(arrival.answer(place));
        self.places.push(place);
    }

    /// Sends them in their order, and counts what became of each.
    pub(super) fn send(&mut self, bound: &Bound, tally: &mut UdpTally) {
        replies::send(bound, &mut self.batch, &self.places, &self.answers, tally, &mut 0);
        self.places.clear();
        self.answers.clear();
    }
}
