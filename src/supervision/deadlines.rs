//! When a session's time is up: idle, lifetime, write, linger and quiet.
//!
//! Pure: the worker's coarse clock is an argument. No timer a session: the
//! worker asks each clock a few times a second.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Longest wait for the peer's FIN after the termination sequence (interface §7).
pub const LINGER: Duration = Duration::from_secs(5);

/// `[session]`'s time-outs; `None` = off.
#[derive(Debug, Clone, Copy, Default)]
pub struct SessionLimits {
    /// Longest time without a byte either way.
    pub idle: Option<Duration>,
    /// Longest life.
    pub lifetime: Option<Duration>,
    /// Longest time in which the peer takes nothing of what waits for it.
    pub write: Option<Duration>,
}

/// Which deadline of a session has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expired {
    /// Nothing moved for `idle`.
    Idle,
    /// It is older than `lifetime`.
    Lifetime,
    /// The peer took nothing for `write`.
    Write,
    /// It lingered for [`LINGER`].
    Linger,
    /// The service drains and nothing moved for `shutdown.quiet_ms`.
    Quiet,
}

/// What a session's deadlines are measured from.
#[derive(Debug)]
pub struct SessionClock {
    born: Instant,
    moved: Cell<Instant>,
    stalled: Cell<Option<Instant>>,
    lingering: Cell<Option<Instant>>,
}

impl SessionClock {
    /// A session that begins `now`.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self {
            born: now,
            moved: Cell::new(now),
            stalled: Cell::new(None),
            lingering: Cell::new(None),
        }
    }

    /// Notes how the session stands after it was polled: whether bytes `moved`
    /// since the last time (and out of them any to the peer), whether some
    /// still wait for the peer, and whether it lingers.
    pub fn observe(&self, now: Instant, moved: bool, wrote: bool, unsent: bool, lingers: bool) {
        if moved {
            self.moved.set(now);
        }
        if !unsent {
            self.stalled.set(None);
        } else if wrote || self.stalled.get().is_none() {
            self.stalled.set(Some(now));
        }
        if lingers && self.lingering.get().is_none() {
            self.lingering.set(Some(now));
        }
    }

    /// The deadline that has passed, if any; `quiet` is set while draining.
    #[must_use]
    pub fn expired(
        &self,
        now: Instant,
        limits: &SessionLimits,
        quiet: Option<Duration>,
    ) -> Option<Expired> {
        let over = |since: Instant, limit: Option<Duration>| {
            limit.is_some_and(|limit| now.saturating_duration_since(since) >= limit)
        };
        let stalled = self.stalled.get();
        if self.lingering.get().is_some_and(|since| over(since, Some(LINGER))) {
            Some(Expired::Linger)
        } else if over(self.born, limits.lifetime) {
            Some(Expired::Lifetime)
        } else if stalled.is_some_and(|since| over(since, limits.write)) {
            Some(Expired::Write)
        } else if over(self.moved.get(), limits.idle) {
            Some(Expired::Idle)
        } else if stalled.is_none() && over(self.moved.get(), quiet) {
            Some(Expired::Quiet)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits() -> SessionLimits {
        SessionLimits {
            idle: Some(10 * SECOND),
            lifetime: Some(100 * SECOND),
            write: Some(5 * SECOND),
        }
    }

    #[test]
    fn a_byte_puts_the_idle_deadline_off() {
        let start = Instant::now();
        let clock = SessionClock::new(start);
        clock.observe(start + 9 * SECOND, true, true, false, false);
        assert_eq!(clock.expired(start + 18 * SECOND, &limits(), None), None);
        let late = clock.expired(start + 19 * SECOND, &limits(), None);
        assert_eq!(late, Some(Expired::Idle));
    }

    #[test]
    fn no_byte_puts_the_lifetime_off() {
        let start = Instant::now();
        let clock = SessionClock::new(start);
        clock.observe(start + 99 * SECOND, true, true, false, false);
        let late = clock.expired(start + 100 * SECOND, &limits(), None);
        assert_eq!(late, Some(Expired::Lifetime));
    }

    #[test]
    fn a_peer_that_takes_nothing_is_late_however_much_it_sends() {
        let start = Instant::now();
        let clock = SessionClock::new(start);
        clock.observe(start, true, true, true, false);
        clock.observe(start + 4 * SECOND, true, false, true, false);
        let late = clock.expired(start + 5 * SECOND, &limits(), None);
        assert_eq!(late, Some(Expired::Write));
    }

    #[test]
    fn only_a_draining_session_is_ended_for_being_quiet_and_never_a_stalled_one() {
        let start = Instant::now();
        let clock = SessionClock::new(start);
        let quiet = Some(SECOND);
        assert_eq!(clock.expired(start + SECOND, &limits(), None), None);
        assert_eq!(clock.expired(start + SECOND, &limits(), quiet), Some(Expired::Quiet));
        clock.observe(start, true, true, true, false);
        assert_eq!(clock.expired(start + SECOND, &limits(), quiet), None);
    }

    #[test]
    fn lingering_ends_after_five_seconds() {
        let start = Instant::now();
        let clock = SessionClock::new(start);
        clock.observe(start, true, true, false, true);
        clock.observe(start + 4 * SECOND, true, false, false, true);
        let late = clock.expired(start + LINGER, &limits(), None);
        assert_eq!(late, Some(Expired::Linger));
    }
}
