//! Who gets a session: the group's sources, the global limit, the limit a source.
//!
//! One for the service. Holds no lock: permits are the semaphore's, seats
//! are `net::source_seats`'. Never waits by itself; the listener does.

use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context as Task, Poll, ready};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::PollSemaphore;

use super::event_hub::EventHub;
use super::share::WorkerShare;
use crate::config::OnLimit;
use crate::net::source_rules::{SourceRules, Standing};
use crate::net::source_seats::{SourceSeat, SourceSeats};
use crate::supervision::{Event, Refusal};

/// The limits of a service's sessions, over all workers.
#[derive(Debug)]
pub(crate) struct Admission {
    /// One permit a session.
    permits: Arc<Semaphore>,
    on_limit: OnLimit,
    /// `None` = no limit a source.
    seats: Option<Arc<SourceSeats>>,
    /// Reasons that were warned about already, a bit each.
    warned: AtomicU32,
}

/// Leave to accept one more client: with its permit, where clients wait for one.
#[derive(Debug)]
pub(crate) struct Ticket(Option<OwnedSemaphorePermit>);

/// What a session occupies until it is dropped, by whatever end.
#[derive(Debug)]
pub(crate) struct Seat {
    _permit: OwnedSemaphorePermit,
    _source: Option<SourceSeat>,
}

impl Admission {
    /// At most `sessions` at once, and `per_source` of one source (`None` = any number).
    pub(crate) fn new(sessions: usize, per_source: Option<u32>, on_limit: OnLimit) -> Self {
        let sessions = sessions.min(Semaphore::MAX_PERMITS);
        Self {
            permits: Arc::new(Semaphore::new(sessions)),
            on_limit,
            seats: per_source.map(|limit| Arc::new(SourceSeats::new(limit, sessions))),
            warned: AtomicU32::new(0),
        }
    }

    /// Whether as many sessions as may be are open.
    pub(crate) fn is_full(&self) -> bool {
        self.permits.available_permits() == 0
    }

    /// A ticket, if there is one now.
    pub(crate) fn try_ticket(&self) -> Option<Ticket> {
        match self.on_limit {
            OnLimit::Close => Some(Ticket(None)),
            OnLimit::Wait => self.permit().map(|permit| Ticket(Some(permit))),
        }
    }

    /// A seat for a client of that address that was accepted with `ticket`.
    ///
    /// # Errors
    /// Why it gets none; the ticket's permit is free again.
    pub(crate) fn seat(
        &self,
        source: IpAddr,
        rules: &SourceRules,
        ticket: Ticket,
    ) -> Result<Seat, Refusal> {
        if rules.standing(source) == Standing::Denied {
            return Err(Refusal::Source);
        }
        let permit = ticket.0.or_else(|| self.permit()).ok_or(Refusal::Limit)?;
        let source = match &self.seats {
            None => None,
            Some(seats) => Some(seats.take(source).ok_or(Refusal::SourceLimit)?),
        };
        Ok(Seat { _permit: permit, _source: source })
    }

    /// So many sessions more or fewer may be open at once. Those that are open
    /// stay: where fewer permits are free, the answer says how many are to be
    /// taken from sessions that end ([`Self::take_back`]).
    pub(crate) fn resize(&self, more: usize, fewer: usize) -> usize {
        let room = Semaphore::MAX_PERMITS.saturating_sub(self.permits.available_permits());
        self.permits.add_permits(more.min(room));
        fewer - self.permits.forget_permits(fewer)
    }

    /// Waits for so many sessions to end, and lets nobody have their permits.
    pub(crate) async fn take_back(self: Arc<Self>, permits: u32) {
        if let Ok(taken) = Arc::clone(&self.permits).acquire_many_owned(permits).await {
            taken.forget();
        }
    }

    fn permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }

    /// Says whom it refuses and which key decides about it, the first time.
    fn warn_once(&self, reason: Refusal, source: IpAddr, events: &EventHub) {
        let bit = 1 << reason.index();
        if self.warned.load(Ordering::Relaxed) & bit == 0
            && self.warned.fetch_or(bit, Ordering::Relaxed) & bit == 0
        {
            events.tell(Event::FirstRefusal { reason, key: reason.key(), source });
        }
    }
}

/// A listener's place in the queue for tickets.
pub(crate) struct TicketQueue {
    /// `None` where nobody waits.
    permits: Option<PollSemaphore>,
}

impl TicketQueue {
    pub(crate) fn new(admission: &Admission) -> Self {
        let waits = admission.on_limit == OnLimit::Wait;
        Self { permits: waits.then(|| PollSemaphore::new(Arc::clone(&admission.permits))) }
    }

    /// The next ticket, first come first served; `None` when the service is gone.
    pub(crate) fn poll_ticket(&mut self, task: &mut Task<'_>) -> Poll<Option<Ticket>> {
        let Some(permits) = &mut self.permits else { return Poll::Ready(Some(Ticket(None))) };
        Poll::Ready(ready!(permits.poll_acquire(task)).map(|permit| Ticket(Some(permit))))
    }
}

/// Closes a connection that gets no session, and counts it.
pub(crate) fn refuse(share: &WorkerShare, stream: &TcpStream, source: IpAddr, refusal: Refusal) {
    share.counters.session_refused(refusal);
    share.admission.warn_once(refusal, source, &share.events);
    // A close with unread input sends RST alone: this says FIN first.
    let _gone = stream.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn seat(admission: &Admission) -> Result<Seat, Refusal> {
        let ticket = admission.try_ticket().expect("a ticket");
        admission.seat(HERE, &SourceRules::new(&[], &[]), ticket)
    }

    #[test]
    fn beyond_the_limit_clients_wait_or_are_refused() {
        let waiting = Admission::new(1, None, OnLimit::Wait);
        let held = seat(&waiting).expect("room for one");
        assert!(waiting.try_ticket().is_none());
        drop(held);
        assert!(waiting.try_ticket().is_some());

        let closing = Admission::new(1, None, OnLimit::Close);
        let held = seat(&closing).expect("room for one");
        assert_eq!(seat(&closing).err(), Some(Refusal::Limit));
        drop(held);
        assert!(seat(&closing).is_ok());
    }

    #[test]
    fn who_is_refused_leaves_its_permit_to_the_next() {
        let admission = Admission::new(2, Some(1), OnLimit::Wait);
        let _one = seat(&admission).expect("the first of its source");
        for _ in 0..3 {
            assert_eq!(seat(&admission).err(), Some(Refusal::SourceLimit));
        }
        let ticket = admission.try_ticket().expect("a ticket");
        let nobody = SourceRules::new(&["192.0.2.0/24".parse().expect("a block")], &[]);
        assert_eq!(admission.seat(HERE, &nobody, ticket).err(), Some(Refusal::Source));
        let ticket = admission.try_ticket().expect("a ticket");
        let other = "192.0.2.1".parse().expect("an address");
        assert!(admission.seat(other, &nobody, ticket).is_ok());
    }
}
