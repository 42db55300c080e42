//! The newest events of a service, for readers that come late or read slowly.
//!
//! One task takes every event once and keeps its text; each reader goes through them at
//! its own pace, and hears how many it missed. Nobody waits for a reader.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use actix_web::web::Bytes;
use serde::Serialize;
use tokio::sync::{Semaphore, SemaphorePermit, watch};

use super::wire::now;
use crate::service::Events;
use crate::supervision::Occurrence;

/// Events that are kept.
const KEPT: usize = 1_024;
/// Readers that may follow at once.
const READERS: usize = 16;
/// Events that a reader is given in one piece.
const BATCH: usize = 64;

/// See the module.
pub(super) struct Story {
    instance: String,
    kept: Mutex<VecDeque<Told>>,
    /// How many were ever kept; all of them once the service has ended.
    news: watch::Sender<News>,
    seats: Semaphore,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct News {
    told: u64,
    over: bool,
}

/// An event as its readers get it.
#[derive(Debug, Clone)]
struct Told {
    /// Counts what was kept, from 1.
    number: u64,
    /// How many events had been lost on the way here by then.
    lost: u64,
    id: u64,
    text: Bytes,
}

/// An event with the instance that it happened in.
#[derive(Serialize)]
struct Named<'a> {
    #[serde(flatten)]
    occurrence: &'a Occurrence,
    instance: &'a str,
}

/// Where a reader is in the story.
pub(super) struct Reader<'a> {
    story: &'a Story,
    news: watch::Receiver<News>,
    number: u64,
    lost: u64,
    /// What it missed before it came.
    missed: u64,
    _seat: SemaphorePermit<'a>,
}

/// Where a reader begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// With the oldest event that is kept.
    Oldest,
    /// With what comes next.
    Now,
    /// After the event of that id.
    After(u64),
}

impl Story {
    pub(super) fn new(instance: &str) -> Self {
        Self {
            instance: instance.to_owned(),
            kept: Mutex::new(VecDeque::with_capacity(KEPT)),
            news: watch::Sender::new(News::default()),
            seats: Semaphore::new(READERS),
        }
    }

    /// Keeps what happens until the service has ended.
    pub(super) async fn keep(&self, mut events: Events) {
        while let Some(occurrence) = events.next().await {
            self.tell(&occurrence, events.lost());
        }
        self.news.send_modify(|news| news.over = true);
    }

    fn tell(&self, occurrence: &Occurrence, lost: u64) {
        let (id, name) = (occurrence.id, occurrence.event.name());
        // Strings, numbers and maps with string keys: this cannot fail.
        let named = Named { occurrence, instance: &self.instance };
        let data = serde_json::to_string(&named).unwrap_or_default();
        let text = format!("id: {id}\nevent: {name}\ndata: {data}\n\n").into();
        let number = self.news.borrow().told + 1;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(Told { number, lost, id, text });
        drop(kept);
        self.news.send_modify(|news| news.told = number);
    }

    /// A reader that begins there; `None` where too many follow already.
    pub(super) fn read(&self, from: From) -> Option<Reader<'_>> {
        let seat = self.seats.try_acquire().ok()?;
        let news = self.news.subscribe();
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let first = match from {
            From::Now => None,
            From::Oldest => kept.front(),
            From::After(id) => kept.iter().find(|told| told.id > id),
        };
        // The reader is put right behind the event before its first.
        let (number, lost) = match (first, kept.back()) {
            (Some(first), _) => (first.number - 1, first.lost),
            (None, Some(last)) => (last.number, last.lost),
            (None, None) => (0, 0),
        };
        // What it has not heard and is not kept any more.
        let missed = match (from, first) {
            (From::After(id), Some(first)) if kept.front().is_some_and(|it| it.id > id) => {
                first.id - id - 1
            }
            _ => 0,
        };
        drop(kept);
        Some(Reader { story: self, news, number, lost, missed, _seat: seat })
    }
}

impl Reader<'_> {
    /// What it has not been given yet, and first how much of it is gone; empty where there
    /// is nothing new.
    pub(super) fn take(&mut self) -> Bytes {
        let next: Vec<Told> = {
            let kept = self.story.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.iter().filter(|told| told.number > self.number).take(BATCH).cloned().collect()
        };
        let mut text = Vec::new();
        for told in next {
            let gone = std::mem::take(&mut self.missed)
                + (told.number - self.number - 1)
                + told.lost.saturating_sub(self.lost);
            if gone > 0 {
                text.extend(lost(&self.story.instance, gone).into_bytes());
            }
            (self.number, self.lost) = (told.number, told.lost);
            text.extend_from_slice(&told.text);
        }
        text.into()
    }

    /// Waits until there is more; false once there will be none.
    pub(super) async fn wait(&mut self) -> bool {
        let number = self.number;
        match self.news.wait_for(|news| news.told > number || news.over).await {
            Ok(news) => news.told > number,
            Err(_) => false,
        }
    }
}

fn lost(instance: &str, count: u64) -> String {
    let data = serde_json::json!({
        "event": "lost", "ts": now(), "instance": instance, "count": count,
    });
    format!("event: lost\ndata: {data}\n\n")
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::supervision::{Event, WorkerId};

    fn tell(story: &Story, ids: impl IntoIterator<Item = u64>) {
        for id in ids {
            let event = Event::WorkerHung { worker: WorkerId(1) };
            story.tell(&Occurrence::new(id, SystemTime::UNIX_EPOCH, event), 0);
        }
    }

    /// The ids and counts of losses that the reader is given, to the end.
    fn taken(reader: &mut Reader<'_>) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let piece = reader.take();
            if piece.is_empty() {
                return lines;
            }
            let text = String::from_utf8(piece.to_vec()).expect("text");
            let told = text.lines().filter_map(|line| {
                let count = line.split_once("\"count\":").map(|(_, rest)| {
                    format!("lost {}", rest.split([',', '}']).next().unwrap_or_default())
                });
                count.or_else(|| line.strip_prefix("id: ").map(str::to_owned))
            });
            lines.extend(told);
        }
    }

    #[test]
    fn a_reader_begins_where_it_says() {
        let story = Story::new("lab");
        tell(&story, 1..=5);
        let from = |from| taken(&mut story.read(from).expect("a seat"));
        assert_eq!(from(From::Oldest), ["1", "2", "3", "4", "5"]);
        assert_eq!(from(From::After(3)), ["4", "5"]);
        assert_eq!(from(From::After(0)), ["1", "2", "3", "4", "5"]);
        assert_eq!(from(From::After(99)), [""; 0]);
        assert_eq!(from(From::Now), [""; 0]);
    }

    #[test]
    fn what_a_late_reader_missed_is_counted_exactly() {
        let story = Story::new("lab");
        tell(&story, 1..=2);
        let mut late = story.read(From::Oldest).expect("a seat");
        tell(&story, 3..=KEPT as u64 + 12);
        let told = taken(&mut late);
        assert_eq!(told.first().map(String::as_str), Some("lost 12"));
        assert_eq!((told.len(), told[1].as_str()), (KEPT + 1, "13"));
        let told = taken(&mut story.read(From::After(5)).expect("a seat"));
        assert_eq!((told[0].as_str(), told[1].as_str()), ("lost 7", "13"));
    }

    #[test]
    fn what_never_arrived_is_counted_too() {
        let story = Story::new("lab");
        tell(&story, 1..=1);
        let mut reader = story.read(From::Now).expect("a seat");
        let event = Event::WorkerHung { worker: WorkerId(1) };
        story.tell(&Occurrence::new(9, SystemTime::UNIX_EPOCH, event), 7);
        assert_eq!(taken(&mut reader), ["lost 7", "9"]);
    }

    #[tokio::test]
    async fn readers_are_bounded_and_hear_the_end() {
        let story = Story::new("lab");
        let mut readers: Vec<_> = std::iter::from_fn(|| story.read(From::Now)).take(99).collect();
        assert_eq!(readers.len(), READERS);
        story.news.send_modify(|news| news.over = true);
        assert!(!readers[0].wait().await);
        drop(readers);
        assert!(story.read(From::Now).is_some());
    }
}
