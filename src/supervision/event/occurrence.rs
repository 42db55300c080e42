//! An event as a reader gets it: numbered, and with its time.

use std::time::SystemTime;

use serde::ser::{Serialize, Serializer};

use super::Event;

/// An event, with its number and its time.
///
/// Serialises as one flat object: `event` (its name), `ts` (RFC 3339), `id`, and the
/// fields of the event.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Occurrence {
    /// Counts the events of the service that anybody heard, from 1. Each reader sees
    /// them in order; a gap is what it lost, or did not want.
    pub id: u64,
    /// When it was told.
    pub at: SystemTime,
    /// What happened.
    pub event: Event,
}

#[derive(serde::Serialize)]
struct Flat<'a> {
    event: &'static str,
    ts: String,
    id: u64,
    #[serde(flatten)]
    fields: &'a Event,
}

impl Occurrence {
    /// What happened then.
    #[must_use]
    pub const fn new(id: u64, at: SystemTime, event: Event) -> Self {
        Self { id, at, event }
    }
}

impl Serialize for Occurrence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ts = humantime::format_rfc3339_millis(self.at).to_string();
        Flat { event: self.event.name(), ts, id: self.id, fields: &self.event }
            .serialize(serializer)
    }
}
