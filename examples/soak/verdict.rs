//! What a soak came to: the figures, and whether they are good.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipcow::service::Summary;
use ipcow::supervision::FaultKind;

use super::MOST_DRIFT;
use super::process::Resources;
use super::seen::Seen;

/// The fault that has a session of its own.
pub(super) const VICTIMS: &str = "a session panics";

/// Everything that was counted.
pub(super) struct Verdict {
    pub(super) took: Duration,
    /// Faults by kind.
    pub(super) inflicted: BTreeMap<&'static str, u64>,
    /// Panics by message, of both services.
    pub(super) panics: BTreeMap<String, u64>,
    pub(super) seen: Seen,
    /// Sessions that echoed on after they were poisoned.
    pub(super) survivors: u64,
    /// Endpoints that did not listen at the end.
    pub(super) missing: u64,
    pub(super) drift: Resources,
    pub(super) summary: Summary,
    pub(super) contested: Summary,
}

impl Verdict {
    /// Prints it; true when nothing was lost, leaked or forgotten.
    pub(super) fn print(&self) -> bool {
        println!("\nfaults survived in {} s, and the warm-up before:", self.took.as_secs());
        for (kind, count) in &self.inflicted {
            println!("{count:>10}  {kind}");
        }
        println!("panics by actor, and what the error log has of them:");
        for (actor, count) in &self.panics {
            println!("{count:>10}  {actor}");
        }
        let both = [&self.summary, &self.contested];
        let kinds = both.into_iter().flat_map(|summary| summary.errors.by_kind.keys());
        let kinds: BTreeSet<FaultKind> = kinds.copied().collect();
        for kind in kinds {
            println!("{:>10}  {} (logged)", self.logged(kind), kind.as_str());
        }
        let Seen { bytes, lost, sessions, resets, disturbed, datagrams, .. } = self.seen;
        println!("bytes verified: {bytes}, bytes lost: {lost}");
        println!(
            "sessions: {sessions} ended by the client, {resets} reset by it, {disturbed} disturbed"
        );
        println!(
            "datagrams answered: {datagrams}, not answered: {}, lost by the kernel: {}",
            self.seen.unanswered - self.swallowed(),
            self.swallowed()
        );
        println!("drift: {}", self.drift);
        let faults = self.faults();
        for fault in &faults {
            println!("FAILED: {fault}");
        }
        if faults.is_empty() {
            println!("soak: passed");
        }
        faults.is_empty()
    }

    /// Datagrams without an answer that the service never received: a busy kernel
    /// drops some on loopback, too (softnet_stat, proc(5)).
    fn swallowed(&self) -> u64 {
        let Seen { datagrams, unanswered, wrong, .. } = self.seen;
        let sent = datagrams + unanswered + wrong;
        sent.saturating_sub(self.summary.totals.received).min(unanswered)
    }

    /// Everything that may not be.
    fn faults(&self) -> Vec<String> {
        let Seen { lost, wrong, stuck, refused, unanswered, disturbed, .. } = self.seen;
        let (totals, drain) = (&self.summary.totals, &self.summary.errors);
        let ended = totals.closed + totals.failed;
        let killed = totals.failed - self.logged(FaultKind::SessionReset);
        let victims = self.inflicted.get(VICTIMS).copied().unwrap_or(0);
        let claims = [
            (lost == 0, format!("{lost} bytes lost")),
            (wrong == 0, format!("{wrong} sessions or datagrams with wrong bytes")),
            (stuck == 0, format!("{stuck} sessions from which nothing came")),
            (refused == 0, format!("{refused} connections refused")),
            (
                unanswered == self.swallowed(),
                format!("{} datagrams not answered", unanswered - self.swallowed()),
            ),
            (self.survivors == 0, format!("{} sessions survived their poison", self.survivors)),
            (
                disturbed + victims <= killed,
                format!("{disturbed} + {victims} sessions ended, and only {killed} were killed"),
            ),
            (self.missing == 0, format!("{} endpoints do not listen", self.missing)),
            (totals.accepted == ended, format!("the books do not close: {totals:?}")),
            (drain.dropped == 0, format!("{} failures were dropped", drain.dropped)),
            (self.drift.within(MOST_DRIFT), format!("more than {MOST_DRIFT} of drift")),
        ];
        let broken = claims.into_iter().filter_map(|(holds, claim)| (!holds).then_some(claim));
        broken.chain(self.unlogged()).collect()
    }

    /// Actors whose panics are not in the log, each once.
    fn unlogged(&self) -> impl Iterator<Item = String> {
        use FaultKind as K;
        let pairs: [(&[&str], &[FaultKind]); 5] = [
            (&["poisoned EchoSession"], &[K::SessionPanic]),
            (&["poisoned Listener", "poisoned UdpListener"], &[K::ListenerPanic]),
            (&["poisoned Worker", "poisoned chunk"], &[K::WorkerPanic, K::ChunkPanic]),
            (&["poisoned Supervisor"], &[K::SupervisorPanic]),
            (&["poisoned ErrorLog"], &[K::ErrorLogPanic]),
        ];
        pairs.into_iter().filter_map(|(actors, kinds)| {
            let happened: u64 = actors.iter().filter_map(|actor| self.panics.get(*actor)).sum();
            let logged: u64 = kinds.iter().map(|kind| self.logged(*kind)).sum();
            (happened != logged).then(|| format!("{actors:?}: {happened} panics, {logged} logged"))
        })
    }

    /// Of both services.
    fn logged(&self, kind: FaultKind) -> u64 {
        let both = [&self.summary, &self.contested];
        both.iter().filter_map(|summary| summary.errors.by_kind.get(&kind)).sum()
    }
}
