//! Who hears what happens: one bounded queue for each subscriber, and the log.
//!
//! Whoever publishes never waits. A subscriber that is late loses the newest
//! events, and each knows how many; one that is gone is forgotten at the next
//! event. Never decides what an event is worth.

pub(crate) mod lines;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context as Task, Poll};
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use futures_core::Stream;
use tokio::sync::mpsc;

use crate::supervision::{Event, Occurrence};

/// Events that wait for one reader, at most; more are lost to it.
const QUEUE: usize = 1_024;

/// What every publisher of a service shares.
#[derive(Debug)]
pub(crate) struct EventHub {
    /// `None` once the service has ended.
    readers: ArcSwapOption<Vec<Reader>>,
    /// Events that wait for one reader, at most.
    capacity: usize,
    /// Events that somebody heard.
    told: AtomicU64,
    /// Events that readers have lost, all together.
    lost: AtomicU64,
}

/// What a subscriber wants to hear.
pub(crate) type Filter = fn(&Event) -> bool;

/// One subscriber's end in the hub.
#[derive(Clone)]
struct Reader {
    queue: mpsc::Sender<Occurrence>,
    lost: Arc<AtomicU64>,
    wants: Filter,
}

/// What happens in a service, from the moment of the subscription on.
///
/// Whoever reads slowly loses the newest events and is told how many
/// ([`Self::lost`]); nobody waits for it. Ends after the service has
/// ([`Event::Stopped`]).
#[derive(Debug)]
pub struct Events {
    queue: mpsc::Receiver<Occurrence>,
    lost: Arc<AtomicU64>,
}

/// Closes a hub when it is dropped.
pub(crate) struct CloseOnDrop(Arc<EventHub>);

impl Default for EventHub {
    fn default() -> Self {
        Self::new(QUEUE)
    }
}

impl EventHub {
    /// A hub whose readers may be late by this many events.
    fn new(capacity: usize) -> Self {
        let readers = ArcSwapOption::new(Some(Arc::default()));
        Self { readers, capacity, told: AtomicU64::new(0), lost: AtomicU64::new(0) }
    }

    /// A reader of the events that `wants` is true of.
    pub(crate) fn subscribe(&self, wants: Filter) -> Events {
        let (sender, queue) = mpsc::channel(self.capacity);
        let reader = Reader { queue: sender, lost: Arc::default(), wants };
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

    /// Whether anybody would hear an event: a subscriber, or a log that wants all.
    pub(crate) fn is_heard(&self) -> bool {
        let subscribed = self.readers.load().as_ref().is_some_and(|readers| !readers.is_empty());
        subscribed || lines::wants_changes()
    }

    /// Writes the event's line, if it has one of its own, and tells everybody who
    /// listens.
    pub(crate) fn tell(&self, event: Event) {
        if !lines::is_budgeted(&event) {
            lines::write(&event);
        }
        self.publish(event);
    }

    /// Tells everybody who listens. For events whose lines the error log writes.
    pub(crate) fn publish(&self, event: Event) {
        let readers = self.readers.load();
        let Some(readers) = readers.as_ref().filter(|readers| !readers.is_empty()) else { return };
        for part in event.parts() {
            self.give(readers, part);
        }
    }

    fn give(&self, readers: &[Reader], event: Event) {
        let id = self.told.fetch_add(1, Relaxed) + 1;
        let occurrence = Occurrence::new(id, SystemTime::now(), event);
        for reader in readers.iter().filter(|reader| (reader.wants)(&occurrence.event)) {
            let sent = reader.queue.try_send(occurrence.clone());
            if let Err(mpsc::error::TrySendError::Full(_)) = sent {
                reader.lost.fetch_add(1, Relaxed);
                self.lost.fetch_add(1, Relaxed);
            }
        }
    }

    /// Ends every subscription: those who wait hear what was said before, then the end.
    pub(crate) fn close(&self) {
        self.readers.store(None);
    }

    /// How many events readers have lost, all together.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// Ends every subscription when the guard is dropped: those who wait hear
    /// what was said before, then the end.
    pub(crate) fn close_on_drop(self: &Arc<Self>) -> CloseOnDrop {
        CloseOnDrop(Arc::clone(self))
    }
}

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Reader").field("lost", &self.lost).finish_non_exhaustive()
    }
}

impl Stream for Events {
    type Item = Occurrence;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Option<Occurrence>> {
        self.queue.poll_recv(task)
    }
}

impl Events {
    /// The next event; `None` once the service has stopped.
    pub async fn next(&mut self) -> Option<Occurrence> {
        self.queue.recv().await
    }

    /// The next event if there is one now.
    pub fn try_next(&mut self) -> Option<Occurrence> {
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

    const ONE: Event = Event::WorkerRestarted { worker: WorkerId(1) };
    const TWO: Event = Event::WorkerHung { worker: WorkerId(1) };

    fn all(_event: &Event) -> bool {
        true
    }

    fn heard(reader: &mut Events) -> Option<Event> {
        reader.try_next().map(|occurrence| occurrence.event)
    }

    #[test]
    fn a_late_reader_loses_the_newest_with_a_count_and_the_others_nothing() {
        let hub = EventHub::new(1);
        let (mut late, mut prompt) = (hub.subscribe(all), hub.subscribe(all));
        hub.publish(ONE);
        assert_eq!(heard(&mut prompt), Some(ONE));
        hub.publish(TWO);
        assert_eq!(heard(&mut prompt), Some(TWO));
        assert_eq!((late.lost(), prompt.lost(), hub.lost()), (1, 0, 1));
        assert_eq!((heard(&mut late), heard(&mut late)), (Some(ONE), None));
    }

    #[test]
    fn a_reader_hears_what_it_wants_alone_and_the_numbers_show_what_is_missing() {
        let hub = EventHub::new(1);
        let mut reader = hub.subscribe(|event| *event == TWO);
        hub.publish(ONE);
        hub.publish(TWO);
        assert_eq!(reader.try_next().map(|next| (next.id, next.event)), Some((2, TWO)));
        assert_eq!((reader.lost(), reader.try_next()), (0, None));
    }

    #[tokio::test]
    async fn the_end_is_heard_after_what_was_said_before_it() {
        let hub = Arc::new(EventHub::new(8));
        let closing = hub.close_on_drop();
        let mut reader = hub.subscribe(all);
        hub.publish(ONE);
        drop(closing);
        let first = reader.next().await.map(|occurrence| occurrence.event);
        assert_eq!((first, reader.next().await), (Some(ONE), None));
        assert_eq!(hub.subscribe(all).next().await, None);
    }

    #[test]
    fn who_is_gone_is_forgotten() {
        let hub = EventHub::new(1);
        for _ in 0..100 {
            drop(hub.subscribe(all));
        }
        let _kept = hub.subscribe(all);
        assert_eq!(hub.readers.load().as_ref().expect("it is open").len(), 1);
    }
}
