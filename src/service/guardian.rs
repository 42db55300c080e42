//! The guardian: keeps what the Supervisor and the ErrorLog know, and gives it
//! to a successor when one of them dies; owns the worker threads.
//!
//! A future on the service's thread, not an actor: nothing that it calls is
//! meant to panic, and nothing is left to restart it.

mod handing_over;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix::{Handler, Message};
use actix_rt::Arbiter;
use tokio::sync::mpsc;

use super::addresses::Addresses;
use super::joins::Joins;
use crate::actors::desk::Desk;
use crate::actors::error_log::{Book, ErrorLog};
use crate::actors::event_hub::EventHub;
use crate::actors::link::{Link, LinkTarget};
use crate::actors::protocol::{
    ActorEnded, AddressesChanged, AttachThread, ErrorLogReturned, ReportErrors,
};
use crate::actors::supervisor::Supervisor;
use crate::actors::watch::{Ended, start_watched};
use crate::supervision::{Charge, DrainReport, ErrorReport, Event, Restarts, WorkerId};

/// Pause before a thread that the system refused is asked for again, and the
/// longest one before a Supervisor or ErrorLog that keeps dying comes back.
const AGAIN: Duration = Duration::from_secs(1);
/// Longest wait for the last word of an ErrorLog that does not answer.
const PATIENCE: Duration = Duration::from_millis(200);
/// Between two log lines about threads that the system refuses.
const QUIET: Duration = Duration::from_millis(900);

/// An actor that the guardian itself brings back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Supervisor,
    ErrorLog,
}

/// Something that the guardian has to do.
#[derive(Debug)]
enum Task {
    Ended(Role, Ended),
    Start(Role),
    StartThread(WorkerId),
}

/// What a guardian is given.
pub(super) struct Charges {
    pub(super) desk: Rc<RefCell<Desk>>,
    pub(super) book: Rc<RefCell<Book>>,
    pub(super) supervisor: (LinkTarget<Supervisor>, Link<Supervisor>),
    pub(super) error_log: (LinkTarget<ErrorLog>, Link<ErrorLog>),
    pub(super) notices: mpsc::Sender<Event>,
    /// What did not fit into a queue to the error log.
    pub(super) dropped: Arc<AtomicU64>,
    pub(super) events: Arc<EventHub>,
    /// Workers and listeners that have ended.
    pub(super) ends: mpsc::UnboundedReceiver<ActorEnded>,
    /// Workers whose threads have ended.
    pub(super) replace: mpsc::UnboundedReceiver<WorkerId>,
    pub(super) workers: usize,
}

/// See the module.
pub(super) struct Guardian {
    charges: Charges,
    tasks: mpsc::UnboundedSender<Task>,
    inbox: mpsc::UnboundedReceiver<Task>,
    threads: Vec<Option<Arbiter>>,
    joins: Joins,
    addresses: Addresses,
    crashes: [Restarts; 2],
    /// When a refused thread was last logged.
    refused_at: Option<Instant>,
}

impl Guardian {
    /// Starts the ErrorLog, the Supervisor and a thread for each worker. One that
    /// the system refuses is asked for again, until it is there.
    pub(super) fn start(charges: Charges) -> Self {
        let (tasks, inbox) = mpsc::unbounded_channel();
        let threads = (0..charges.workers).map(|_| None).collect();
        let crashes = [Restarts::default(), Restarts::default()];
        let mut guardian = Self {
            charges,
            tasks,
            inbox,
            threads,
            joins: Joins::default(),
            addresses: Addresses::watch(),
            crashes,
            refused_at: None,
        };
        guardian.start_role(Role::ErrorLog);
        guardian.start_role(Role::Supervisor);
        for worker in (1..).take(guardian.threads.len()).map(WorkerId) {
            guardian.start_thread(worker);
        }
        guardian
    }

    /// Brings back whatever dies, for ever. May be dropped and called again.
    pub(super) async fn watch(&mut self) {
        loop {
            tokio::select! {
                Some(task) = self.inbox.recv() => self.perform(task),
                Some(ended) = self.charges.ends.recv() => self.pass_on(ended),
                Some(worker) = self.charges.replace.recv() => self.replace_thread(worker),
                () = self.addresses.changed() => self.tell(AddressesChanged),
            }
        }
    }

    /// Tells the Supervisor. Waits for nobody: where it is dead, it is for the
    /// guardian to bring it back.
    fn tell<M>(&self, message: M)
    where
        M: Message + Clone + Send + 'static,
        M::Result: Send,
        Supervisor: Handler<M>,
    {
        let supervisor = self.charges.supervisor.1.clone();
        actix::spawn(async move {
            let _ending = supervisor.deliver(message).await;
        });
    }

    /// Tells the Supervisor of an end.
    fn pass_on(&self, ended: ActorEnded) {
        match ended {
            ActorEnded::Worker(ended) => self.tell(ended),
            ActorEnded::Listener(crashed) => self.tell(crashed),
        }
    }

    /// Closes every listener and lets sessions end. Waits for no Supervisor; one
    /// that is dead comes back now, to hear which threads are empty.
    pub(super) fn begin_drain(&mut self) {
        self.charges.desk.borrow_mut().begin_drain();
        if !self.plays(Role::Supervisor) {
            self.start_role(Role::Supervisor);
        }
    }

    /// What was there when the drain began.
    pub(super) fn drain_report(&self) -> DrainReport {
        self.charges.desk.borrow().drain_report()
    }

    /// Stops every thread, joins it, and says whether all ended well. What
    /// still ran there is dropped, and `open` counts the sessions of that.
    pub(super) async fn join_threads(&mut self, open: impl Fn() -> u64) -> bool {
        let threads: Vec<_> = self.threads.iter_mut().map(Option::take).collect();
        for (worker, thread) in (1..).map(WorkerId).zip(threads) {
            if let Some(thread) = thread {
                thread.stop();
                self.joins.begin(worker, thread);
            }
        }
        self.joins.finish(open).await
    }

    /// What was logged, at the end of the service. An ErrorLog that is dead or
    /// silent is not waited for: its book tells.
    pub(super) async fn errors(&mut self) -> ErrorReport {
        while let Ok(task) = self.inbox.try_recv() {
            self.perform(task);
        }
        if let Some(log) = self.charges.error_log.1.current() {
            let asked = tokio::time::timeout(PATIENCE, log.send(ReportErrors)).await;
            // It may have died of what came before the question.
            while let Ok(task) = self.inbox.try_recv() {
                self.perform(task);
            }
            drop(asked);
        }
        self.charges.book.borrow_mut().report(Instant::now())
    }

    /// The thread of a worker.
    #[cfg(feature = "fault-injection")]
    pub(super) fn thread(&self, worker: WorkerId) -> Option<actix_rt::ArbiterHandle> {
        self.threads.get(usize::from(worker.0) - 1)?.as_ref().map(Arbiter::handle)
    }

    /// The threads of all workers.
    #[cfg(feature = "fault-injection")]
    pub(super) fn handles(&self) -> Vec<actix_rt::ArbiterHandle> {
        self.threads.iter().flatten().map(Arbiter::handle).collect()
    }

    /// The present Supervisor.
    #[cfg(feature = "fault-injection")]
    pub(super) fn supervisor(&self) -> Option<actix::Addr<Supervisor>> {
        self.charges.supervisor.1.current()
    }

    /// The present ErrorLog.
    #[cfg(feature = "fault-injection")]
    pub(super) fn error_log(&self) -> Option<actix::Addr<ErrorLog>> {
        self.charges.error_log.1.current()
    }

    /// Makes a Worker panic.
    #[cfg(feature = "fault-injection")]
    pub(super) fn poison_worker(&self, worker: WorkerId) {
        self.charges.desk.borrow().poison_worker(worker);
    }

    fn perform(&mut self, task: Task) {
        match task {
            // One that came back sooner needs no other beside it.
            Task::Start(role) if self.plays(role) => {}
            Task::Start(role) => {
                self.start_role(role);
                if role == Role::ErrorLog {
                    self.tell(ErrorLogReturned);
                }
            }
            Task::StartThread(worker) => self.start_thread(worker),
            Task::Ended(role, ended) => self.role_ended(role, ended),
        }
    }

    /// Whether somebody lives who plays this role.
    fn plays(&self, role: Role) -> bool {
        match role {
            Role::Supervisor => self.charges.supervisor.1.current().is_some(),
            Role::ErrorLog => self.charges.error_log.1.current().is_some(),
        }
    }

    fn start_role(&self, role: Role) {
        let tasks = self.tasks.clone();
        let tell = move |ended| {
            let _ending = tasks.send(Task::Ended(role, ended));
        };
        let Charges { desk, book, supervisor, error_log, .. } = &self.charges;
        match role {
            Role::Supervisor => {
                supervisor.0.lead_to(start_watched(Supervisor::new(Rc::clone(desk)), tell));
            }
            Role::ErrorLog => {
                let log = ErrorLog::new(Rc::clone(book), supervisor.1.clone());
                error_log.0.lead_to(start_watched(log, tell));
            }
        }
    }

    /// It comes back, however often it dies: without it nothing is supervised.
    fn role_ended(&mut self, role: Role, ended: Ended) {
        let policy = self.charges.desk.borrow().restart_policy();
        let crashes = &mut self.crashes[role as usize];
        let charge = crashes.charge(&policy, Instant::now(), fastrand::f64());
        let after = match charge {
            Charge::Restart { after } => after.min(AGAIN),
            Charge::Exhausted { .. } => {
                crashes.release();
                AGAIN
            }
        };
        let panic = match ended {
            Ended::Stopped => "it stopped".to_owned(),
            Ended::Panicked(message) => message,
        };
        self.later(after, Task::Start(role));
        let event = match role {
            Role::Supervisor => Event::SupervisorCrashed { panic },
            Role::ErrorLog => Event::ErrorLogCrashed { panic },
        };
        if self.charges.notices.try_send(event.clone()).is_err() {
            self.charges.dropped.fetch_add(1, Ordering::Relaxed);
        }
        self.charges.events.tell(event);
    }

    fn later(&self, after: Duration, task: Task) {
        let tasks = self.tasks.clone();
        actix::spawn(async move {
            tokio::time::sleep(after).await;
            let _ending = tasks.send(task);
        });
    }

    /// Starts a thread for the worker; where the system refuses, asks again
    /// after a while.
    fn start_thread(&mut self, worker: WorkerId) {
        let arbiter = match Arbiter::try_new() {
            Ok(arbiter) => arbiter,
            Err(error) => return self.refused(worker, &error),
        };
        let thread = arbiter.handle();
        if let Some(slot) = self.threads.get_mut(usize::from(worker.0) - 1) {
            *slot = Some(arbiter);
        }
        self.tell(AttachThread { worker, thread });
    }

    /// A thousand workers may wait for their threads: one of them is named.
    fn refused(&mut self, worker: WorkerId, error: &io::Error) {
        let now = Instant::now();
        if self.refused_at.is_none_or(|said| now.duration_since(said) >= QUIET) {
            self.refused_at = Some(now);
            tracing::warn!(%worker, %error, "no thread for a worker; asking again each second");
        }
        self.later(AGAIN, Task::StartThread(worker));
    }

    fn replace_thread(&mut self, worker: WorkerId) {
        let ended = self.threads.get_mut(usize::from(worker.0) - 1).and_then(Option::take);
        if let Some(ended) = ended {
            self.joins.begin(worker, ended);
        }
        self.start_thread(worker);
    }
}
