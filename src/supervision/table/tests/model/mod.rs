//! A model of the dispatch protocol around the real chunk table: worker
//! threads that hold sockets, a wire that loses, repeats and reorders, and
//! every actor dying at any step.
//!
//! Holds the world and its steps. The rules that actors must keep for a socket
//! to have one owner are switches ([`Rules`]): without any of them the model
//! finds a fault, and a test says so.

mod check;
mod members;
mod run;
mod step;
mod supervisor;
mod thread;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::{ChunkTable, Hold, Outcome, Place, Slot, SubLease};
use crate::supervision::chunk::{ChunkId, Lease, WorkerId};
use crate::supervision::intensity::Restarts;
use step::{Step, any_step};

/// The sockets of an endpoint, as one; copies are one and the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Token(u32);

/// What the actors must keep to. All hold but in tests of a single one.
#[derive(Debug, Clone, Copy)]
struct Rules {
    /// A worker opens no lease older than one that it has seen or was told of.
    fence: bool,
    /// A listener's report names the lease under which it was opened.
    named: bool,
    /// A listener's report is not acknowledged before the lease's own is in.
    patient: bool,
    /// What a new worker finds says up to which lease it knows the thread.
    dated: bool,
    /// A question for a lease is answered with what lives of it.
    whole: bool,
    /// The lease of a crashed worker ends by what its successor finds.
    adopt_first: bool,
    /// A thread obeys no sub-lease that it was told of before.
    told_once: bool,
}

const ALL: Rules = Rules {
    fence: true,
    named: true,
    patient: true,
    dated: true,
    whole: true,
    adopt_first: true,
    told_once: true,
};

/// A thread of one worker slot, by the number of its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Address {
    worker: WorkerId,
    life: u32,
}

/// A listener's actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Live {
    place: Place,
    lease: Lease,
    token: Token,
    /// Which of the endpoint's sockets it serves.
    member: u16,
}

/// What a thread is told of members, in order, by whoever is Supervisor.
#[derive(Debug, Clone, Copy)]
enum Told {
    Serve(SubLease, Token),
    Close(Place, Lease),
}

/// What a worker's report says of one endpoint; copied where a wire repeats.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Opened {
    Listens(Token),
    Fails,
}

/// What to open, and the socket that the table kept for it.
type Orders = Vec<(Slot, Option<Token>)>;
type Outcomes = Vec<(Slot, Opened)>;

/// To the Supervisor, sent again until it is acknowledged.
#[derive(Debug, Clone, PartialEq)]
enum Report {
    Finished {
        lease: Lease,
        outcomes: Outcomes,
    },
    /// `keeps`: the actor crashed and the socket is fine.
    ListenerEnded {
        live: Live,
        keeps: bool,
    },
    /// It was told to close, and is gone.
    ListenerClosed {
        place: Place,
        lease: Lease,
    },
    /// What a new worker found on its thread.
    Adopted {
        lease: Option<Lease>,
        fence: u64,
        found: Vec<Live>,
    },
}

#[derive(Debug, Clone)]
enum Message {
    Assign {
        to: Address,
        lease: Lease,
        orders: Orders,
    },
    Ask {
        to: Address,
        lease: Lease,
    },
    /// To whatever thread the worker has.
    Close {
        worker: WorkerId,
        place: Place,
        lease: Lease,
    },
    Report {
        from: Address,
        report: Report,
    },
    Acknowledge {
        to: Address,
        report: Report,
    },
    Judge {
        chunk: ChunkId,
    },
    Verdict {
        place: Place,
        attempts: u32,
    },
}

const THREADS: usize = 3;
const ENDPOINTS: u64 = 7;
const CHUNK: u32 = 3;

/// A worker thread and everything that lives on it.
struct Thread {
    address: Address,
    alive: bool,
    /// The Supervisor has not noticed that it ended, if it has.
    attached: bool,
    /// The Worker actor lives.
    staffed: bool,
    /// The lease that is being opened, what is left of it, what became of it.
    opening: Option<(Lease, Orders, Outcomes)>,
    fence: u64,
    listeners: Vec<Live>,
    unacknowledged: Vec<Report>,
    told: VecDeque<Told>,
    last_member: u64,
    /// Of members' listeners; it outlives the Worker.
    ended: Vec<Report>,
}

struct World {
    rules: Rules,
    runs: Vec<std::ops::Range<u64>>,
    /// Some endpoints have a socket for each worker.
    shared: bool,
    now: Instant,
    table: ChunkTable<Token>,
    supervisor: bool,
    threads: Vec<Thread>,
    wire: Vec<Message>,
    tokens: u32,
    away: BTreeSet<Place>,
    probe: Option<Duration>,
    restarts: BTreeMap<Place, Restarts>,
    chunk_restarts: BTreeMap<ChunkId, Restarts>,
}

impl World {
    fn new(rules: Rules, probe: Option<Duration>, rollback: bool, shared: bool) -> Self {
        let runs = if rollback { vec![std::ops::Range { start: 1, end: 5 }] } else { Vec::new() };
        let mut table = ChunkTable::new(ENDPOINTS, CHUNK, runs.clone());
        table.stack_all();
        let threads = (1..).take(THREADS).map(|number| Thread::new(WorkerId(number), 0, 0));
        Self {
            rules,
            runs,
            shared,
            now: Instant::now(),
            table,
            supervisor: true,
            threads: threads.collect(),
            wire: Vec::new(),
            tokens: 0,
            away: BTreeSet::new(),
            probe,
            restarts: BTreeMap::new(),
            chunk_restarts: BTreeMap::new(),
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Dispatch(thread) => self.dispatch(thread),
            Step::DispatchAndDie(thread) => {
                let sent = self.wire.len();
                let told = self.threads.iter().map(|thread| thread.told.len()).collect::<Vec<_>>();
                self.dispatch(thread);
                self.wire.truncate(sent);
                for (thread, told) in self.threads.iter_mut().zip(told) {
                    thread.told.truncate(told);
                }
                self.supervisor = false;
            }
            Step::Deliver(pick) => {
                if let Some(at) = self.on_wire(pick) {
                    let message = self.wire.remove(at);
                    self.deliver(message);
                }
            }
            Step::Repeat(pick) => {
                if let Some(at) = self.on_wire(pick) {
                    self.wire.push(self.wire[at].clone());
                }
            }
            Step::Lose(pick) => {
                if let Some(at) = self.on_wire(pick) {
                    self.wire.remove(at);
                }
            }
            Step::Work { thread, steps, fails } => {
                (0..steps).for_each(|_| self.work(thread, fails));
            }
            Step::Resend(thread) => self.resend(thread),
            Step::Obey(thread) => self.obey(thread),
            Step::Ask => self.ask(),
            Step::PanicWorker(thread) => self.threads[thread].panic_worker(),
            Step::EndThread(thread) => self.threads[thread].end(),
            Step::Replace(thread) => self.replace(thread),
            Step::EndSupervisor => self.supervisor = false,
            Step::StartSupervisor => self.start_supervisor(),
            Step::EndListener { pick, keeps } => self.end_listener(pick, keeps),
            Step::TakeAddress(endpoint) => self.take_address(self.table.place(endpoint)),
            Step::ReturnAddress(endpoint) => self.return_address(self.table.place(endpoint)),
            Step::Release(endpoint) => {
                let place = self.table.place(endpoint);
                self.restarts.entry(place).or_default().release();
                self.table.release(place, self.now);
            }
            Step::Suspend { endpoint, millis } => {
                let until = millis.map(|millis| self.now + Duration::from_millis(millis));
                self.hold(endpoint, Hold::Suspended(until));
            }
            Step::Drain(endpoint) => self.hold(endpoint, Hold::Draining),
            Step::Remove(endpoint) => self.hold(endpoint, Hold::Closed),
            Step::Add(endpoint) => self.add(endpoint),
            Step::Reopen { endpoint, binds } => self.reopen(endpoint, binds),
            Step::Drained(endpoint) => {
                self.table.drained(self.table.place(endpoint));
            }
            Step::Resume(endpoint) => {
                self.table.resume(self.table.place(endpoint), self.now);
            }
            Step::Judge => self.judge(),
            Step::Wait(millis) => self.now += Duration::from_millis(millis),
        }
        self.table.retire();
    }

    fn on_wire(&self, pick: usize) -> Option<usize> {
        pick.checked_rem(self.wire.len())
    }

    fn deliver(&mut self, message: Message) {
        match message {
            Message::Assign { to, lease, orders } => self.take_order(to, lease, orders),
            Message::Ask { to, lease } => self.take_question(to, lease),
            Message::Close { worker, place, lease } => self.close_listener(worker, place, lease),
            Message::Acknowledge { to, report } => {
                if let Some(thread) = self.threads.iter_mut().find(|it| it.address == to) {
                    thread.unacknowledged.retain(|other| *other != report);
                    thread.ended.retain(|other| *other != report);
                }
            }
            Message::Judge { chunk } => self.pass_verdicts(chunk),
            Message::Report { from, report } if self.supervisor => self.take_report(from, report),
            Message::Verdict { place, attempts } if self.supervisor => {
                self.take_verdict(place, attempts);
            }
            // Nobody is there to read it.
            Message::Report { .. } | Message::Verdict { .. } => {}
        }
    }

    /// Faults stop: everything is delivered and repaired, for so many rounds.
    /// Returns whether all is decided then.
    fn settle(&mut self, rounds: usize) -> bool {
        for _ in 0..rounds {
            self.start_supervisor();
            for thread in 0..THREADS {
                self.replace(thread);
                while self.threads[thread].opening.is_some() {
                    self.work(thread, false);
                }
                self.resend(thread);
                self.dispatch(thread);
                while !self.threads[thread].told.is_empty() {
                    self.obey(thread);
                    self.check();
                }
            }
            for endpoint in 0..ENDPOINTS {
                self.return_address(self.table.place(endpoint));
                self.table.drained(self.table.place(endpoint));
            }
            self.ask();
            self.judge();
            while !self.wire.is_empty() {
                let message = self.wire.remove(0);
                self.deliver(message);
                self.check();
            }
            if self.is_decided() {
                return true;
            }
            self.now += Duration::from_secs(20);
        }
        false
    }
}
