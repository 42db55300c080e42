//! The signals that steer a service. Nothing listens to them unless asked.

use std::io;

use tokio::signal::unix::{self, SignalKind};

/// A signal that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signal {
    /// SIGTERM or SIGINT: drain; the second one stops at once.
    End,
    /// SIGHUP.
    HangUp,
    /// SIGUSR1: write the summary to the log.
    Report,
    /// SIGUSR2: open the access log again.
    Reopen,
}

/// Receives this process's SIGTERM, SIGINT, SIGHUP, SIGUSR1 and SIGUSR2 (signal(7)).
#[derive(Debug)]
pub struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hang_up: unix::Signal,
    report: unix::Signal,
    reopen: unix::Signal,
}

impl Signals {
    /// Takes over the five signals. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When a handler cannot be installed (sigaction(2)).
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            hang_up: unix::signal(SignalKind::hangup())?,
            report: unix::signal(SignalKind::user_defined1())?,
            reopen: unix::signal(SignalKind::user_defined2())?,
        })
    }

    /// Waits for the next of them.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::End,
            _ = self.interrupt.recv() => Signal::End,
            _ = self.hang_up.recv() => Signal::HangUp,
            _ = self.report.recv() => Signal::Report,
            _ = self.reopen.recv() => Signal::Reopen,
        }
    }
}
