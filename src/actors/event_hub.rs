//! Who hears what happens: one bounded queue for each subscriber.
//!
//! Whoever publishes never waits. A subscriber that is late loses the newest
//! events, and each knows how many; one that is gone is forgotten at the next
//! event. Never decides what an event is worth.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwapOption;
use tokio::sync::mpsc;

use super::desk::Event;

/// What every publisher of a service shares.
#[derive(Debug)]
pub(crate) struct EventHub {
    /// `None` once the service has ended.
    readers: ArcSwapOption<Vec<Reader>>,
    /// Events that wait for one reader, at most.
    capacity: usize,
}

/// One subscriber's end in the hub.
#[derive(Debug, Clone)]
struct Reader {
    queue: mpsc::Sender<Event>,
    lost: Arc<AtomicU64>,
}

/// What happens in a service, from the moment of the subscription on.
#[derive(Debug)]
pub struct Events {
    queue: mpsc::Receiver<Event>,
    lost: Arc<AtomicU64>,
}

/// Closes a hub when it is dropped.
pub(crate) struct CloseOnDrop(Arc<EventHub>);

impl EventHub {
    /// A hub whose readers may be late by this many events.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { readers: ArcSwapOption::new(Some(Arc::default())), capacity }
    }

    pub(crate) fn subscribe(&self) -> Events {
        let (sender, queue) = mpsc::channel(self.capacity);
        let reader = Reader { queue: sender, lost: Arc::default() };
        let lost = Arc::clone(&reader.lost);
        self.readers.rcu(|readers| {
            // After the end nobody publishes: the sender is dropped, and the
            // subscriber hears that.
            let readers = readers.as_ref()?;
            let live = readers.iter().filter(|reader| !reader.queue.is_closed());
            Some(Arc::new(live.cloned().chain([reader.clone()]).collect::<Vec<_>>()))
        });
        Events { queue, lost }
    }

    /// Tells everybody who listens.
    pub(crate) fn publish(&self, event: Event) {
        let readers = self.readers.load();
        for reader in readers.iter().flat_map(|readers| readers.iter()) {
            if let Err(mpsc::error::TrySendError::Full(_)) = reader.queue.try_send(event.clone()) {
                reader.lost.fetch_add(1, Relaxed);
            }
        }
    }

    /// Ends every subscription when the guard is dropped: those who wait hear
    /// what was said before, then the end.
    pub(crate) fn close_on_drop(self: &Arc<Self>) -> CloseOnDrop {
        CloseOnDrop(Arc::clone(self))
    }
}

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.readers.store(None);
    }
}

#[cfg(test)]
impl Default for EventHub {
    fn default() -> Self {
        Self::new(1)
    }
}

impl Events {
    /// The next event; `None` once the service has stopped.
    pub async fn next(&mut self) -> Option<Event> {
        self.queue.recv().await
    }

    /// The next event if there is one now.
    pub fn try_next(&mut self) -> Option<Event> {
        self.queue.try_recv().ok()
    }

    /// How many events this reader has lost because it was late.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervision::WorkerId;

    const ONE: Event = Event::WorkerLost(WorkerId(1));
    const TWO: Event = Event::WorkerHung(WorkerId(1));

    #[test]
    fn a_late_reader_loses_the_newest_with_a_count_and_the_others_nothing() {
        let hub = EventHub::new(1);
        let (mut late, mut prompt) = (hub.subscribe(), hub.subscribe());
        hub.publish(ONE);
        assert_eq!(prompt.try_next(), Some(ONE));
        hub.publish(TWO);
        assert_eq!(prompt.try_next(), Some(TWO));
        assert_eq!((late.lost(), prompt.lost()), (1, 0));
        assert_eq!((late.try_next(), late.try_next()), (Some(ONE), None));
    }

    #[tokio::test]
    async fn the_end_is_heard_after_what_was_said_before_it() {
        let hub = Arc::new(EventHub::new(8));
        let closing = hub.close_on_drop();
        let mut reader = hub.subscribe();
        hub.publish(ONE);
        drop(closing);
        assert_eq!((reader.next().await, reader.next().await), (Some(ONE), None));
        assert_eq!(hub.subscribe().next().await, None);
    }

    #[test]
    fn who_is_gone_is_forgotten() {
        let hub = EventHub::new(1);
        for _ in 0..100 {
            drop(hub.subscribe());
        }
        let _kept = hub.subscribe();
        assert_eq!(hub.readers.load().as_ref().expect("it is open").len(), 1);
    }
}
