//! A running service and whoever steers it: signals, time, clients of the control API.
//!
//! Follows it from its first endpoint to its summary. Never plans, never loads.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ipcow::config;
use ipcow::control::{Options, Reloader, Server};
use ipcow::service::signals::Signals;
use ipcow::service::{Event, Events, Occurrence, ServiceGone, ServiceHandle, Summary};
use ipcow::spec::Selector;
use ipcow::supervision::Ready;
use tokio::sync::Notify;
use tokio::time::{interval, sleep};

use super::args::ServeArgs;
use super::doors::Doors;
use super::exit;
use super::json::Reachable;
use super::progress::Display;
use super::screen::{Asked, Screen};
use super::serve::Start;
use super::take_over::{TakeOver, TakeOverError};

/// Most events that are printed in one piece as JSON.
const BATCH: usize = 64;
/// How long a person waits for what recovered, to read it in one line.
const GATHER: Duration = Duration::from_millis(200);

/// What signals asked for before there was anything to ask.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Early {
    pub(super) reload: bool,
    pub(super) end: bool,
}

/// Why a service shall end.
enum Course {
    /// A signal, a client, `--for` or `--once`.
    Ended,
    /// Too few endpoints listen.
    BelowCoverage(Box<Ready>),
    /// Another instance serves now; sessions are left.
    HandedOver,
    /// The instance that was to be taken over goes on.
    NotTakenOver(TakeOverError),
}

/// One run of `serve`, from the first endpoint on.
pub(super) struct Run<'a> {
    args: &'a ServeArgs,
    screen: &'a Screen,
    handle: Arc<ServiceHandle>,
    reloader: Arc<Reloader>,
    /// Told when a client ends the service.
    ended: Arc<Notify>,
    /// Not open yet while another instance is being taken over.
    doors: Cell<Option<Doors>>,
    take_over: Cell<Option<TakeOver>>,
    server: RefCell<Option<Server>>,
}

impl<'a> Run<'a> {
    /// A run of this service, which is spoken to through these doors.
    pub(super) fn new(
        start: Start<'a>,
        handle: ServiceHandle,
        (doors, take_over): (Doors, Option<TakeOver>),
        screen: &'a Screen,
    ) -> Self {
        let Start { args, inputs, loaded, .. } = start;
        let handle = Arc::new(handle);
        let again = inputs.clone();
        let reloader =
            Reloader::new(Arc::clone(&handle), loaded.clone(), move || config::load(&again));
        let (reloader, ended) = (Arc::new(reloader), Arc::new(Notify::new()));
        let waits = take_over.is_some();
        let (doors, take_over) = (Cell::new(Some(doors)), Cell::new(take_over));
        let server = RefCell::default();
        let run = Self { args, screen, handle, reloader, ended, doors, take_over, server };
        if !waits {
            run.open_doors();
        }
        run
    }

    /// Serves the control API, where it is not served yet.
    fn open_doors(&self) {
        if let Some(doors) = self.doors.take() {
            let server = open_server(self.args, &self.handle, doors, &self.reloader, &self.ended);
            self.server.replace(server);
        }
    }

    fn reachable(&self) -> Reachable {
        let server = self.server.borrow();
        let path = server.as_ref().and_then(Server::path);
        Reachable {
            control: path.map(|path| path.display().to_string()),
            admin: server.as_ref().and_then(Server::admin).map(|it| it.to_string()),
        }
    }

    /// Serves until something asks for the end; returns the exit code.
    pub(super) async fn serve(self, signals: &mut Signals, early: Early) -> u8 {
        let manager = &self.screen.manager;
        let code = tokio::select! {
            code = self.course(signals, early) => code,
            never = manager.follow(&self.handle, &self.reloader) => match never {},
        };
        // Whoever asks during the drain is answered.
        drop(self.server);
        code
    }

    async fn course(&self, signals: &mut Signals, early: Early) -> u8 {
        if early.reload {
            self.reload();
        }
        let course = match early.end {
            true => Ok(Course::Ended),
            false => self.watch(signals).await,
        };
        match course {
            Ok(course) => self.finish(course, signals).await,
            Err(gone) => self.screen.refuse(&gone),
        }
    }

    /// Follows the service until it shall end by itself.
    async fn watch(&self, signals: &mut Signals) -> Result<Course, ServiceGone> {
        let mut events = self.handle.events_where(|event| matches!(event, Event::Recovered { .. }));
        let limit = self.args.duration;
        let ending = async move {
            match limit {
                Some(limit) => sleep(limit).await,
                None => pending().await,
            }
        };
        let mut ending = pin!(ending);
        let ready = tokio::select! {
            ready = self.open() => ready?,
            () = &mut ending => return Ok(Course::Ended),
            () = self.until_ended(signals) => return Ok(Course::Ended),
        };
        if ready.endpoints.listening < ready.required {
            return Ok(Course::BelowCoverage(Box::new(ready)));
        }
        if self.args.once {
            return Ok(Course::Ended);
        }
        if let Some(take_over) = self.take_over.take() {
            if let Err(error) = take_over.commit(&self.handle).await {
                return Ok(Course::NotTakenOver(error));
            }
            self.open_doors();
            self.screen.manager.took_over();
            if !ready.failures.is_empty() {
                // What the other held under another address is free by now.
                let _drains_already = self.handle.retry(&Selector::all()).await;
            }
        }
        self.screen.ready(&ready, &self.reachable());
        self.screen.manager.ready(&self.handle.snapshot());
        loop {
            let first = tokio::select! {
                // First: a service without sessions has ended, and its events with it, by
                // the time that this is looked at.
                biased;
                () = self.handle.handed_over() => return Ok(Course::HandedOver),
                next = events.next() => next.ok_or(ServiceGone)?,
                () = &mut ending => return Ok(Course::Ended),
                () = self.until_ended(signals) => return Ok(Course::Ended),
            };
            self.screen.events(&gather(first, &mut events, self.screen.json).await);
        }
    }

    /// Shows progress until the service is ready.
    async fn open(&self) -> Result<Ready, ServiceGone> {
        let screen = self.screen;
        let mut display = Display::new(self.args.progress, &screen.bars, &screen.stderr);
        let mut ticks = interval(display.step());
        ticks.tick().await;
        let mut ready = pin!(self.handle.wait_ready());
        let result = loop {
            tokio::select! {
                ready = &mut ready => break ready,
                _ = ticks.tick() => display.show(&self.handle.snapshot()),
            }
        };
        display.finish();
        result
    }

    /// Waits for a signal or a client that ends the service; does what others ask for. May
    /// be dropped and called again: no signal is lost.
    async fn until_ended(&self, signals: &mut Signals) {
        loop {
            let signal = tokio::select! {
                () = self.ended.notified() => return,
                signal = signals.next() => signal,
            };
            match self.screen.asks(signal, Some(&self.handle.snapshot())) {
                Asked::Nothing => {}
                Asked::Reload => self.reload(),
                Asked::End => return,
            }
        }
    }

    /// Reads the configuration again, beside all else; what came of it is logged there.
    fn reload(&self) {
        let reloader = Arc::clone(&self.reloader);
        tokio::spawn(async move {
            let _logged = reloader.reload(false).await;
        });
    }

    /// Drains, unless a second signal stops at once, and says what was done.
    async fn finish(&self, course: Course, signals: &mut Signals) -> u8 {
        let (handle, screen) = (&self.handle, self.screen);
        if let Some(take_over) = self.take_over.take() {
            take_over.give_up("it ends before it was ready");
        }
        let mut summary = None;
        if let Course::HandedOver = course {
            screen.manager.handed_over();
            tracing::info!(
                sessions = handle.snapshot().totals.active(),
                "another instance serves now; this one ends with its last session"
            );
            tokio::select! {
                over = handle.ended() => summary = Some(over),
                () = self.until_hurried(signals) => {}
            }
        } else {
            screen.manager.stopping();
        }
        let summary = match (summary, &course) {
            (Some(summary), _) => summary,
            (None, Course::BelowCoverage(_)) => handle.stop().await,
            (None, Course::Ended | Course::HandedOver | Course::NotTakenOver(_)) => {
                self.drain(signals).await
            }
        };
        let summary = match summary {
            Ok(summary) => summary,
            Err(gone) => return screen.refuse(&gone),
        };
        screen.summary(&summary);
        match course {
            Course::BelowCoverage(ready) => screen.below_coverage(&ready),
            Course::NotTakenOver(error) => screen.refuse(&error),
            _ if summary.totals.forced > 0 => exit::FORCED,
            Course::Ended | Course::HandedOver => exit::DONE,
        }
    }

    /// Lets sessions end, unless a signal stops at once.
    async fn drain(&self, signals: &mut Signals) -> Result<Summary, ServiceGone> {
        tracing::info!("draining");
        tokio::select! {
            summary = self.handle.shutdown() => summary,
            () = self.until_hurried(signals) => {
                self.screen.hurry();
                self.handle.stop().await
            }
        }
    }

    /// Waits for a signal to end while the service drains: the second one, or the first
    /// after a client's order.
    async fn until_hurried(&self, signals: &mut Signals) {
        loop {
            let signal = signals.next().await;
            match self.screen.asks(signal, Some(&self.handle.snapshot())) {
                Asked::Nothing => {}
                Asked::Reload => tracing::warn!("SIGHUP: the service drains and reads nothing"),
                Asked::End => return,
            }
        }
    }
}

/// Serves the control API where a door is open; where it cannot run, the service does
/// without, and says so.
fn open_server(
    args: &ServeArgs,
    handle: &Arc<ServiceHandle>,
    doors: Doors,
    reloader: &Arc<Reloader>,
    ended: &Arc<Notify>,
) -> Option<Server> {
    let Doors { socket, admin, .. } = doors;
    if socket.is_none() && admin.is_none() {
        return None;
    }
    let ended = Arc::clone(ended);
    let mut options = Options::new(&args.name)
        .reloader(Arc::clone(reloader))
        .hand_over(args.handover_timeout)
        .on_shutdown(move || ended.notify_one());
    options.socket = socket;
    options.admin = admin;
    match Server::start(Arc::clone(handle), options) {
        Ok(server) => Some(server),
        Err(error) => {
            tracing::error!(%error, "the control API cannot run: nobody can ask or tell anything");
            None
        }
    }
}

/// The event and those that follow it at once: many endpoints may recover
/// together, and each piece of text has its place in a bounded queue.
async fn gather(first: Occurrence, following: &mut Events, json: bool) -> Vec<Occurrence> {
    // A program wants each event now; a person wants one line of them.
    let (most, wait) = if json { (BATCH, Duration::ZERO) } else { (usize::MAX, GATHER) };
    let mut events = vec![first];
    let mut over = pin!(sleep(wait));
    while events.len() < most {
        tokio::select! {
            biased;
            next = following.next() => match next {
                Some(next) => events.push(next),
                None => break,
            },
            () = &mut over => break,
        }
    }
    events
}
