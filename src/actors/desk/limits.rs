//! Limits that clients meet: said when one is reached, and when that is over.
//!
//! Looked at twice a second, so that a limit which is met a thousand times a
//! second is one event. Refuses nobody: `admission` does.

use std::time::{Duration, Instant};

use super::Desk;
use crate::supervision::{Event, Limit, Refusal, Totals};

/// A limit is left when nobody has met it for this long.
const QUIET: Duration = Duration::from_secs(10);

/// What is known of each limit, in the order of [`Limit::ALL`].
#[derive(Debug, Default)]
pub(super) struct LimitWatch([Met; Limit::ALL.len()]);

#[derive(Debug, Default)]
struct Met {
    /// When somebody met it last; `None` = it was not reached, or was left.
    last: Option<Instant>,
    /// How many clients were refused for it so far.
    refused: u64,
}

impl Met {
    /// Whether it is reached or left just now; `None` = neither.
    fn look(&mut self, full: bool, refused: u64, now: Instant) -> Option<bool> {
        let met = full || refused > std::mem::replace(&mut self.refused, refused);
        match self.last {
            None if met => {
                self.last = Some(now);
                Some(true)
            }
            Some(_) if met => {
                self.last = Some(now);
                None
            }
            Some(last) if now.saturating_duration_since(last) >= QUIET => {
                self.last = None;
                Some(false)
            }
            _ => None,
        }
    }
}

impl Desk {
    /// Tells which limits are reached since the last look, and which are left.
    pub(super) fn look_at_limits(&mut self, now: Instant) {
        let Some(share) = self.setup.shares.first() else { return };
        let full = share.admission.is_full();
        let totals = Totals::sum(self.setup.shares.iter().map(|share| share.counters.as_ref()));
        for (limit, met) in Limit::ALL.into_iter().zip(&mut self.limits.0) {
            let (full, refusal) = match limit {
                Limit::Sessions => (full, Refusal::Limit),
                _ => (false, Refusal::SourceLimit),
            };
            match met.look(full, totals.refused[refusal.index()], now) {
                Some(true) => self.setup.events.tell(Event::LimitReached { limit }),
                Some(false) => self.setup.events.tell(Event::LimitLeft { limit }),
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_told_once_however_often_it_is_met_and_left_after_a_quiet_time() {
        let (mut met, start) = (Met::default(), Instant::now());
        let at = |secs| start + Duration::from_secs(secs);
        assert_eq!(met.look(false, 0, at(0)), None);
        assert_eq!(met.look(true, 0, at(1)), Some(true));
        assert_eq!(met.look(false, 5, at(2)), None, "refused meanwhile");
        assert_eq!(met.look(false, 5, at(11)), None);
        assert_eq!(met.look(false, 5, at(12)), Some(false));
        assert_eq!(met.look(false, 6, at(13)), Some(true));
    }
}
