//! Who gets a session: the group's sources, the global limit, the limit a source.
//!
//! One for the service. Holds no lock: permits are the semaphore's, seats
//! are `net::source_seats`'. Never waits by itself; the listener does. Every limit
//! may change at any time; nobody who has a session loses it for that.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context as Task, Poll, ready};

use tokio::sync::Semaphore;
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
    /// One permit a session: free ones and those of sessions are `limit + owed`.
    permits: Arc<Semaphore>,
    /// `limits.max_sessions`, or what the descriptors leave.
    limit: AtomicUsize,
    /// Permits beyond a limit that was lowered. Who has one to give back, or gets one,
    /// pays with it: until nothing is owed nobody is admitted.
    owed: AtomicUsize,
    /// `limits.on_limit` is "close".
    closes: AtomicBool,
    /// Made when there is a limit a source for the first time.
    seats: OnceLock<Arc<SourceSeats>>,
    /// Reasons that were warned about already, a bit each.
    warned: AtomicU32,
}

/// The right to be one of the sessions; free for another when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Admission>);

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.0.pays() {
            self.0.permits.add_permits(1);
        }
    }
}

/// Leave to accept one more client: with its permit, where clients wait for one.
#[derive(Debug)]
pub(crate) struct Ticket(Option<Permit>);

/// What a session occupies until it is dropped, by whatever end.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) permit: Permit,
    /// Among those of its source; `None` while those are not counted.
    pub(crate) source: Option<SourceSeat>,
}

impl Admission {
    /// At most `sessions` at once, and `per_source` of one source (`None` = any number).
    pub(crate) fn new(sessions: usize, per_source: Option<u32>, on_limit: OnLimit) -> Self {
        let sessions = sessions.min(Semaphore::MAX_PERMITS);
        let admission = Self {
            permits: Arc::new(Semaphore::new(sessions)),
            limit: AtomicUsize::new(sessions),
            owed: AtomicUsize::new(0),
            closes: AtomicBool::new(on_limit == OnLimit::Close),
            seats: OnceLock::new(),
            warned: AtomicU32::new(0),
        };
        admission.limit_sources(per_source);
        admission
    }

    /// Whether as many sessions as may be are open.
    pub(crate) fn is_full(&self) -> bool {
        self.permits.available_permits() == 0
    }

    /// A ticket, if there is one now.
    pub(crate) fn try_ticket(self: &Arc<Self>) -> Option<Ticket> {
        if self.closes() {
            return Some(Ticket(None));
        }
        self.permit().map(|permit| Ticket(Some(permit)))
    }

    /// A seat for a client of that address that was accepted with `ticket`.
    ///
    /// # Errors
    /// Why it gets none; the ticket's permit is free again.
    pub(crate) fn seat(
        self: &Arc<Self>,
        source: IpAddr,
        rules: &SourceRules,
        ticket: Ticket,
    ) -> Result<Seat, Refusal> {
        if rules.standing(source) == Standing::Denied {
            return Err(Refusal::Source);
        }
        let permit = ticket.0.or_else(|| self.permit()).ok_or(Refusal::Limit)?;
        let source = match self.seats.get() {
            None => None,
            Some(seats) => Some(seats.take(source).ok_or(Refusal::SourceLimit)?),
        };
        Ok(Seat { permit, source })
    }

    /// At most so many sessions at once from now on. Those that are open stay: where
    /// they are more, nobody is admitted until they are fewer. Whoever waits for room
    /// that there is now gets it, in order. For one caller at a time.
    pub(crate) fn limit(&self, sessions: usize) {
        let sessions = sessions.min(Semaphore::MAX_PERMITS);
        let before = self.limit.swap(sessions, Ordering::Relaxed);
        if let Some(more) = sessions.checked_sub(before) {
            return self.settle(more);
        }
        let fewer = before - sessions;
        // Owed before any is taken, so that nobody gets one that is given back meanwhile.
        self.owed.fetch_add(fewer, Ordering::SeqCst);
        self.settle(self.permits.forget_permits(fewer));
    }

    /// Takes so many permits off what is owed; the rest of them are free.
    fn settle(&self, permits: usize) {
        let less = |owed: usize| Some(owed.saturating_sub(permits));
        let owed = self.owed.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
        self.permits.add_permits(permits.saturating_sub(owed.unwrap_or_default()));
    }

    /// Takes one permit off what is owed; false where nothing is.
    fn pays(&self) -> bool {
        let less = |owed: usize| owed.checked_sub(1);
        self.owed.load(Ordering::Acquire) > 0
            && self.owed.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok()
    }

    /// What clients beyond the limit meet from now on. Listeners that wait for a ticket
    /// hear of it when they are polled.
    pub(crate) fn on_limit(&self, on_limit: OnLimit) {
        self.closes.store(on_limit == OnLimit::Close, Ordering::SeqCst);
    }

    fn closes(&self) -> bool {
        self.closes.load(Ordering::Acquire)
    }

    /// At most so many sessions of one source from now on; `None` = any number. Those
    /// that are open stay.
    pub(crate) fn limit_sources(&self, per_source: Option<u32>) {
        match per_source {
            Some(limit) => self.seats().limit(limit),
            // Who was counted goes on to be: then a later limit is exact at once.
            None => drop(self.seats.get().map(|seats| seats.limit(u32::MAX))),
        }
    }

    /// Whether the sessions of each source are counted.
    pub(crate) fn counts_sources(&self) -> bool {
        self.seats.get().is_some()
    }

    /// Counts the sessions of each source from now on. Those that are open are to be
    /// counted by their threads ([`Self::late_seat`]).
    pub(crate) fn count_sources(&self) {
        self.seats();
    }

    /// The seat among those of its source of a session that got none when it was
    /// admitted; `None` while they are not counted.
    pub(crate) fn late_seat(&self, source: IpAddr) -> Option<SourceSeat> {
        self.seats.get()?.enter(source)
    }

    fn seats(&self) -> &SourceSeats {
        let sessions = self.limit.load(Ordering::Relaxed);
        self.seats.get_or_init(|| Arc::new(SourceSeats::new(u32::MAX, sessions)))
    }

    fn permit(self: &Arc<Self>) -> Option<Permit> {
        self.permits.try_acquire().ok()?.forget();
        // One that was given back before it was known to be owed.
        if self.pays() { None } else { Some(Permit(Arc::clone(self))) }
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
    permits: PollSemaphore,
    /// It stands in the queue.
    waits: bool,
}

impl TicketQueue {
    pub(crate) fn new(admission: &Admission) -> Self {
        Self { permits: PollSemaphore::new(Arc::clone(&admission.permits)), waits: false }
    }

    /// The next ticket, first come first served; `None` when the service is gone.
    pub(crate) fn poll_ticket(
        &mut self,
        admission: &Arc<Admission>,
        task: &mut Task<'_>,
    ) -> Poll<Option<Ticket>> {
        loop {
            if admission.closes() {
                if std::mem::take(&mut self.waits) {
                    // Or it would be given a permit that it does not ask for any more.
                    *self = Self::new(admission);
                }
                return Poll::Ready(Some(Ticket(None)));
            }
            self.waits = true;
            let permit = ready!(self.permits.poll_acquire(task));
            self.waits = false;
            let Some(permit) = permit else { return Poll::Ready(None) };
            permit.forget();
            if !admission.pays() {
                return Poll::Ready(Some(Ticket(Some(Permit(Arc::clone(admission))))));
            }
        }
    }
}

/// Closes a connection that gets no session, and counts it.
pub(crate) fn refuse(share: &WorkerShare, stream: &TcpStream, source: IpAddr, refusal: Refusal) {
    share.counters.session_refused(refusal);
    share.admission.warn_once(refusal, source, &share.events);
    // A close with unread input sends RST alone: this says FIN first.
    let _gone = stream.shutdown(Shutdown::Write);
}
