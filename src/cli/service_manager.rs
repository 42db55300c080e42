//! What the service manager hears of a run: sd_notify(3), for `Type=notify` units.
//!
//! Without NOTIFY_SOCKET everything here does nothing. Nothing waits for the
//! manager: what it does not take now is sent again at the next tick.

mod notify_socket;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use indicatif::HumanCount;
use ipcow::control::{Reloader, Reloads};
use ipcow::service::{ServiceHandle, Snapshot};
use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};

use notify_socket::NotifySocket;

/// How often the status line is looked at.
const STEP: Duration = Duration::from_secs(1);
/// Signs of life are not given more often, whatever WATCHDOG_USEC asks for.
const SHORTEST_BEAT: Duration = Duration::from_millis(10);

/// What a run is doing, as the status line says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Opening,
    Serving,
    Draining,
}

/// The service manager of this process, if it has one that wants to know.
pub(crate) struct ServiceManager {
    socket: Option<NotifySocket>,
    /// Why the manager cannot be told, where it asked to be.
    deaf: Option<String>,
    /// Within this time it wants a sign of life.
    watchdog: Option<Duration>,
    phase: Cell<Phase>,
    /// Another instance speaks now.
    silent: Cell<bool>,
    /// The last status line that was sent.
    said: RefCell<String>,
}

impl ServiceManager {
    /// Connects to the socket that NOTIFY_SOCKET names.
    ///
    /// To be called before the process confines itself: what is connected stays
    /// so, whoever the process is afterwards and whatever is denied to it.
    pub(crate) fn from_environment() -> Self {
        let name = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        let (socket, deaf) = match name.map(|name| NotifySocket::connect(&name)) {
            None => (None, None),
            Some(Ok(socket)) => (Some(socket), None),
            Some(Err(error)) => (None, Some(error.to_string())),
        };
        let watchdog = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero());
        Self::new(socket, deaf, watchdog)
    }

    fn new(socket: Option<NotifySocket>, deaf: Option<String>, watchdog: Option<Duration>) -> Self {
        let (phase, said) = (Cell::new(Phase::Opening), RefCell::new(String::new()));
        Self { socket, deaf, watchdog, phase, silent: Cell::new(false), said }
    }

    /// Says in the log why the manager hears nothing, where it should.
    pub(crate) fn log(&self) {
        if let Some(why) = &self.deaf {
            tracing::warn!(why, "the service manager cannot be told what happens (NOTIFY_SOCKET)");
        }
    }

    /// This is the unit's main process from now on: it took another instance over.
    pub(crate) fn took_over(&self) {
        self.tell(&[NotifyState::MainPid(std::process::id())]);
    }

    /// The service is ready.
    pub(crate) fn ready(&self, snapshot: &Snapshot) {
        self.phase.set(Phase::Serving);
        let status = status(Phase::Serving, snapshot);
        self.tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
        self.said.replace(status);
    }

    /// A new configuration is being loaded; that is over with [`Self::ready`].
    fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            // systemd takes the one without the other for a fault.
            Err(error) => tracing::warn!(%error, "the service manager cannot be told of a reload"),
        }
    }

    /// Another process is the unit's main one: whatever this one does is not the unit's.
    pub(crate) fn handed_over(&self) {
        self.silent.set(true);
    }

    /// The service ends.
    pub(crate) fn stopping(&self) {
        self.phase.set(Phase::Draining);
        self.tell(&[NotifyState::Stopping]);
    }

    /// Keeps the manager informed as long as it is polled.
    pub(crate) async fn follow(&self, handle: &ServiceHandle, reloader: &Reloader) -> Infallible {
        let Some(socket) = &self.socket else { return pending().await };
        tokio::select! {
            never = self.show_status(socket, handle) => never,
            never = self.show_life(handle) => never,
            never = self.show_reloads(handle, reloader) => never,
        }
    }

    async fn show_status(&self, socket: &NotifySocket, handle: &ServiceHandle) -> Infallible {
        let mut ticks = paced(STEP);
        loop {
            ticks.tick().await;
            socket.flush();
            self.say_status(&handle.snapshot());
        }
    }

    async fn show_life(&self, handle: &ServiceHandle) -> Infallible {
        let Some(limit) = self.watchdog else { return pending().await };
        let mut beats = paced((limit / 2).max(SHORTEST_BEAT));
        loop {
            beats.tick().await;
            if is_well(handle).await {
                self.tell(&[NotifyState::Watchdog]);
            }
        }
    }

    /// Whoever asked for them: a signal, or a client of the control API.
    async fn show_reloads(&self, handle: &ServiceHandle, reloader: &Reloader) -> Infallible {
        let mut seen = Reloads::default();
        loop {
            let now = reloader.next(seen).await;
            // Before it was ready the first time it is not ready again.
            if self.phase.get() == Phase::Serving {
                if now.begun > seen.begun {
                    self.reloading();
                }
                if now.done == now.begun {
                    self.ready(&handle.snapshot());
                }
            }
            seen = now;
        }
    }

    fn say_status(&self, snapshot: &Snapshot) {
        let status = status(self.phase.get(), snapshot);
        if *self.said.borrow() != status {
            self.tell(&[NotifyState::Status(&status)]);
            self.said.replace(status);
        }
    }

    fn tell(&self, state: &[NotifyState<'_>]) {
        if let Some(socket) = self.socket.as_ref().filter(|_| !self.silent.get()) {
            let lines: Vec<String> = state.iter().map(ToString::to_string).collect();
            socket.send(lines.join("\n"));
        }
    }
}

/// Whether every worker answers its heartbeat, once the service's own thread has
/// answered. A busy one that answers late is late for one sign of life; one that
/// hangs gives no answer, and so no sign.
async fn is_well(handle: &ServiceHandle) -> bool {
    handle.status().await.is_ok() && handle.snapshot().hung_workers == 0
}

/// Ticks that do not pile up while the thread has other work.
fn paced(step: Duration) -> Interval {
    let mut ticks = interval(step);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// The status line: what `systemctl status` shows.
fn status(phase: Phase, snapshot: &Snapshot) -> String {
    let endpoints = snapshot.endpoints;
    let total = HumanCount(endpoints.total);
    let sessions = match snapshot.totals.active() {
        1 => "1 session".to_owned(),
        count => format!("{} sessions", HumanCount(count)),
    };
    let hung = match snapshot.hung_workers {
        0 => String::new(),
        1 => ", 1 worker hangs".to_owned(),
        count => format!(", {count} workers hang"),
    };
    match phase {
        Phase::Opening => {
            let opened = HumanCount(snapshot.totals.opened.min(endpoints.total));
            format!("opening {opened} of {total}{hung}")
        }
        Phase::Serving => {
            format!("{} of {total} listen, {sessions}{hung}", HumanCount(endpoints.listening))
        }
        Phase::Draining => format!("draining, {sessions}{hung}"),
    }
}
