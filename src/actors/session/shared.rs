//! What a session's actor, its task and its thread know of it.
//!
//! Never leaves the thread, and moves no byte.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Instant;

use crate::actors::admission::Admission;
use crate::actors::local::WorkerLocal;
use crate::actors::protocol::CutSession;
use crate::actors::records::Recording;
use crate::net::source_seats::SourceSeat;
use crate::spec::Endpoint;
use crate::supervision::{Expired, Meter, SessionClock, Stamp};

/// See the module.
///
/// It lies in memory as it is written here: what each message needs is together.
#[repr(C)]
pub(super) struct Shared {
    /// Something was sent that the actor has not seen.
    pub(super) has_mail: Cell<bool>,
    /// What the actor was told and the task has not done.
    pub(super) order: Cell<Option<Order>>,
    /// What its record is made of, where sessions are recorded.
    pub(super) recording: Option<Box<Recording>>,
    unmetered: Cell<Unmetered>,
    pub(super) clock: SessionClock,
    pub(super) meter: Meter,
    /// Its place among the sessions of its source, where those are counted.
    pub(super) source: Cell<Option<SourceSeat>>,
    pub(super) endpoint: Endpoint,
    pub(super) peer: SocketAddr,
}

/// Bytes that the meter does not have yet: it is common to all threads, and too
/// dear for each read.
#[derive(Debug, Clone, Copy, Default)]
struct Unmetered {
    read: u64,
    written: u64,
    /// The run in which they moved.
    run: u64,
}

/// Why a session is to end.
#[derive(Debug, Clone, Copy)]
pub(super) enum Order {
    /// A deadline has passed.
    Deadline(Expired),
    /// An operator says so.
    Cut(CutSession),
}

impl Shared {
    pub(super) fn new(
        (endpoint, peer): (Endpoint, SocketAddr),
        now: Instant,
        meter: Meter,
        recording: Option<Box<Recording>>,
    ) -> Self {
        Self {
            endpoint,
            peer,
            clock: SessionClock::new(now),
            source: Cell::default(),
            // An actor begins when it is polled for the first time.
            has_mail: Cell::new(true),
            order: Cell::new(None),
            meter,
            unmetered: Cell::default(),
            recording,
        }
    }

    /// Counts it among the sessions of its source, where those are counted and it is
    /// not yet.
    pub(super) fn count_source(&self, admission: &Admission) {
        let seat = self.source.take();
        self.source.set(seat.or_else(|| admission.late_seat(self.peer.ip())));
    }

    /// Gives the endpoint's meter what moved since the last time.
    pub(super) fn settle(&self, at: Stamp) {
        let Unmetered { read, written, run } = self.unmetered.take();
        self.meter.session_bytes(read, written, Stamp { run, ..at });
    }

    /// Counts what moved, and keeps it for the meter.
    pub(super) fn count(&self, local: &WorkerLocal, read: u64, written: u64) {
        if read + written > 0 {
            local.share.counters.session_bytes(read, written);
            let Unmetered { read: before, written: sent, .. } = self.unmetered.get();
            if let Some(recording) = &self.recording {
                recording.count(read, written);
            }
            let (read, written, run) = (before + read, sent + written, local.run());
            self.unmetered.set(Unmetered { read, written, run });
        }
    }
}
