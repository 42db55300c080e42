//! What clients saw, as they tell it from their process to the soak's.

/// Counts since their start.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    /// Bytes that came back and were compared, TCP and UDP.
    pub(super) bytes: u64,
    /// Bytes of frames and datagrams that did not come back, or not as they were sent,
    /// though the session did not end.
    pub(super) lost: u64,
    /// Sessions that ended as their clients wanted.
    pub(super) sessions: u64,
    /// Sessions that their clients reset.
    pub(super) resets: u64,
    /// Sessions that ended before their clients wanted.
    pub(super) disturbed: u64,
    /// Sessions and datagrams with wrong bytes.
    pub(super) wrong: u64,
    /// Sessions from which nothing came for 30 s.
    pub(super) stuck: u64,
    /// Connections that were refused.
    pub(super) refused: u64,
    /// Datagrams that were answered.
    pub(super) datagrams: u64,
    /// Datagrams that were not answered for 30 s.
    pub(super) unanswered: u64,
}

impl Seen {
    const fn fields(&mut self) -> [&mut u64; 10] {
        [
            &mut self.bytes,
            &mut self.lost,
            &mut self.sessions,
            &mut self.resets,
            &mut self.disturbed,
            &mut self.wrong,
            &mut self.stuck,
            &mut self.refused,
            &mut self.datagrams,
            &mut self.unanswered,
        ]
    }

    /// As one line.
    pub(super) fn to_line(mut self) -> String {
        self.fields().map(|field| field.to_string()).join(" ")
    }

    /// From one line; `None` where it is not one.
    pub(super) fn from_line(line: &str) -> Option<Self> {
        let mut seen = Self::default();
        let mut words = line.split(' ');
        for field in seen.fields() {
            *field = words.next()?.parse().ok()?;
        }
        Some(seen)
    }

    /// Adds another group's counts.
    pub(super) fn plus(mut self, mut other: Self) -> Self {
        for (field, more) in self.fields().into_iter().zip(other.fields()) {
            *field += *more;
        }
        self
    }
}
