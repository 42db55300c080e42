//! A running service is handed over: offered to another instance, and given or kept.
//!
//! How the sockets travel is not known here. Until [`Offer::give`] the service serves as
//! before, and it goes on where the offer is dropped.

use std::collections::HashSet;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::handle::ServiceHandle;
use super::operations::OperationError;
use super::system::Command;
use crate::actors::protocol::{NotOffered, OfferSockets, Offered, Retirement};
use crate::net::bind::Bound;
use crate::spec::Endpoint;
use crate::supervision::Place;

/// Why a service is not offered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OfferError {
    /// It is opening endpoints: ask again in a moment.
    #[error("it is still opening endpoints")]
    Opening,
    /// It drains, is offered already, or has ended.
    #[error(transparent)]
    Operation(#[from] OperationError),
}

/// A socket of a service that is offered; an endpoint with `reuse_port` has several.
#[derive(Debug)]
pub struct OfferedSocket {
    place: Place,
    /// With its number.
    pub endpoint: Endpoint,
    /// Where the kernel chose the number: the ordinal of the endpoint.
    pub ordinal: Option<u32>,
    /// Datagrams that the kernel dropped and that are counted here (modulo 2³²).
    pub losses: u32,
    socket: Option<Bound>,
}

impl OfferedSocket {
    /// The bound socket; `None` where the endpoint has a number and no socket now.
    #[must_use]
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }
}

/// A service that another instance may take over. While this lives, no endpoint is
/// opened and no order is taken; clients are served. Dropping it withdraws the offer.
#[derive(Debug)]
pub struct Offer {
    sockets: Vec<OfferedSocket>,
    commands: mpsc::UnboundedSender<Command>,
    handed_over: Arc<tokio::sync::watch::Sender<bool>>,
    given: bool,
}

impl ServiceHandle {
    /// Offers everything that is served to another instance.
    ///
    /// # Errors
    /// [`OfferError`]; nothing changed.
    pub async fn offer(&self) -> Result<Offer, OfferError> {
        let offered = self
            .supervisor
            .deliver(OfferSockets { offer: fastrand::u64(..) })
            .await
            .ok_or(OperationError::Ended)?;
        let offered = offered.map_err(|refused| match refused {
            NotOffered::Opening => OfferError::Opening,
            NotOffered::Locked(locked) => OfferError::Operation(locked.into()),
        })?;
        Ok(Offer {
            sockets: offered.into_iter().flat_map(one_by_one).collect(),
            commands: self.commands.clone(),
            handed_over: Arc::clone(&self.shared.handed_over),
            given: false,
        })
    }

    /// Lets a service serve that was built with
    /// [`gated`](super::ServiceBuilder::gated). Changes nothing for others.
    pub fn open_gate(&self) {
        let _ended_already = self.commands.send(Command::OpenGate);
    }

    /// Waits until another instance has taken over what is served here. From then on
    /// only sessions are left, and the service ends with the last of them.
    pub async fn handed_over(&self) {
        let mut handed_over = self.shared.handed_over.subscribe();
        // The sender lives as long as the handle.
        let _handed_over = handed_over.wait_for(|over| *over).await;
    }
}

/// The sockets of an endpoint, or its number alone.
fn one_by_one(offered: Offered) -> Vec<OfferedSocket> {
    let Offered { place, endpoint, ordinal, sockets } = offered;
    let one = |socket: Option<Bound>| {
        let losses = socket.as_ref().map_or(0, Bound::offer);
        OfferedSocket { place, endpoint, ordinal, losses, socket }
    };
    match sockets.is_empty() {
        true => vec![one(None)],
        false => sockets.into_iter().map(|socket| one(Some(socket))).collect(),
    }
}

impl Offer {
    /// What is offered.
    #[must_use]
    pub fn sockets(&self) -> &[OfferedSocket] {
        &self.sockets
    }

    /// Gives the sockets for which `taken` is true to the other instance, which serves
    /// them by now: here they are closed as they are. Other endpoints are drained as by
    /// [`ServiceHandle::remove`]. Sessions go on, at most for `timeout`; then they have
    /// `shutdown.drain_timeout_secs` to end. The service ends with the last of them.
    pub fn give(mut self, taken: impl Fn(usize) -> bool, timeout: Option<Duration>) {
        let taken = self.sockets.iter().enumerate().filter(|(at, _)| taken(*at));
        let taken = taken.filter_map(|(_, it)| Some((it.socket.as_ref()?.as_raw_fd(), it.place)));
        let (taken, served): (HashSet<RawFd>, HashSet<Place>) = taken.unzip();
        self.given = true;
        let retirement = Retirement { taken: Arc::new(taken), served: Arc::new(served) };
        // Whoever waits for the end shall know why before it comes.
        self.handed_over.send_replace(true);
        let _ended_already = self.commands.send(Command::Retire(retirement, timeout));
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        if self.given {
            return;
        }
        for socket in self.sockets.iter().filter_map(|offered| offered.socket.as_ref()) {
            socket.withdraw();
        }
        let _ended_already = self.commands.send(Command::Withdraw);
    }
}
