//! Reading the configuration again, for whoever asks: a client or a signal. One at a time.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{Mutex, oneshot, watch};

use crate::config::{ConfigErrors, EffectiveValue, LoadedConfig};
use crate::service::{OperationError, ServiceHandle};
use crate::supervision::PlanDiff;

/// Reads the configuration again. May take its time: it has a thread of its own.
type Source = dyn Fn() -> Result<LoadedConfig, ConfigErrors> + Send + Sync;

/// Why a configuration was not read again. Nothing changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// The service was not started from a configuration that could be read again.
    #[error("this service has no configuration that could be read again")]
    NoSource,
    /// The configuration is at fault.
    #[error("{0}")]
    Config(ConfigErrors),
    /// The service does not take it.
    #[error(transparent)]
    Operation(#[from] OperationError),
    /// The system gave no thread to read on.
    #[error("the configuration cannot be read now: {0}; try again")]
    Thread(io::Error),
}

/// Reads the configuration of a service again, and has the service follow it.
pub struct Reloader {
    handle: Arc<ServiceHandle>,
    source: Option<Arc<Source>>,
    /// What the service was started with, and what it read last.
    loaded: RwLock<Option<(LoadedConfig, LoadedConfig)>>,
    turn: Mutex<()>,
    counts: watch::Sender<Reloads>,
}

/// How many reloads have begun, and how many of them are over, whatever came of them. A
/// dry run is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reloads {
    /// Those that have begun.
    pub begun: u64,
    /// Those that are over.
    pub done: u64,
}

/// A reload under way; over when this is dropped, also where nobody waits for it any more.
struct Underway<'a>(&'a watch::Sender<Reloads>);

impl<'a> Underway<'a> {
    fn begin(counts: &'a watch::Sender<Reloads>) -> Self {
        counts.send_modify(|counts| counts.begun += 1);
        Self(counts)
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|counts| counts.done += 1);
    }
}

impl Reloader {
    /// For a service that has no configuration to read again.
    #[must_use]
    pub fn without_source(handle: Arc<ServiceHandle>) -> Self {
        Self::with(handle, None, None)
    }

    /// For a service that was started with `loaded`, which `source` reads again.
    #[must_use]
    pub fn new(
        handle: Arc<ServiceHandle>,
        loaded: LoadedConfig,
        source: impl Fn() -> Result<LoadedConfig, ConfigErrors> + Send + Sync + 'static,
    ) -> Self {
        Self::with(handle, Some(Arc::new(source)), Some((loaded.clone(), loaded)))
    }

    fn with(
        handle: Arc<ServiceHandle>,
        source: Option<Arc<Source>>,
        loaded: Option<(LoadedConfig, LoadedConfig)>,
    ) -> Self {
        let (counts, _) = watch::channel(Reloads::default());
        Self { handle, source, loaded: RwLock::new(loaded), turn: Mutex::new(()), counts }
    }

    /// Waits until the counts of reloads are others than `seen`, and tells them.
    pub async fn next(&self, seen: Reloads) -> Reloads {
        let mut counts = self.counts.subscribe();
        // The sender lives as long as this waits.
        counts.wait_for(|now| *now != seen).await.map_or(seen, |now| *now)
    }

    /// Reads the configuration again and serves what it says; with `dry_run` the answer
    /// says what would change. Who asks meanwhile waits for their turn.
    ///
    /// # Errors
    /// [`ReloadError`]; then nothing changed.
    pub async fn reload(&self, dry_run: bool) -> Result<PlanDiff, ReloadError> {
        let _turn = self.turn.lock().await;
        let _underway = (!dry_run).then(|| Underway::begin(&self.counts));
        let done = self.follow(dry_run).await;
        match &done {
            Ok(diff) if !dry_run => log(diff),
            Ok(_) => {}
            Err(error) => {
                let why = error.to_string().replace('\n', " · ");
                tracing::error!(why, "the configuration is not taken over; nothing changed");
            }
        }
        done
    }

    async fn follow(&self, dry_run: bool) -> Result<PlanDiff, ReloadError> {
        if self.handle.snapshot().draining {
            return Err(OperationError::Draining.into());
        }
        let source = Arc::clone(self.source.as_ref().ok_or(ReloadError::NoSource)?);
        let loaded = aside(move || source()).await.map_err(ReloadError::Thread)?;
        let loaded = loaded.map_err(ReloadError::Config)?;
        let diff = self.handle.reload(&loaded.config, dry_run).await?;
        if !dry_run
            && let Some((_, last)) =
                &mut *self.loaded.write().unwrap_or_else(PoisonError::into_inner)
        {
            *last = loaded;
        }
        Ok(diff)
    }

    /// What can be set live, as it is.
    pub(super) fn settings(&self) -> Vec<(String, EffectiveValue)> {
        self.handle.settings()
    }

    /// What the service was started with, and what it read last.
    pub(super) fn loaded(&self) -> Option<(LoadedConfig, LoadedConfig)> {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl std::fmt::Debug for Reloader {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Reloader").field("source", &self.source.is_some()).finish_non_exhaustive()
    }
}

/// Says what a reload changed.
fn log(diff: &PlanDiff) {
    let PlanDiff { opened, closed, reopened, untouched, .. } = diff;
    tracing::info!(opened, closed, reopened, untouched, "the configuration was read again");
    if !diff.needs_restart.is_empty() {
        let needs_restart = diff.needs_restart.join(", ");
        tracing::warn!(needs_restart, "these keep their old values until a restart");
    }
}

/// Does on a thread of its own what may take its time.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (tell, told) = oneshot::channel();
    std::thread::Builder::new().name("ipcow-reader".to_owned()).spawn(move || {
        let _nobody_waits = tell.send(work());
    })?;
    told.await.map_err(|_| io::Error::other("reading it panicked"))
}
