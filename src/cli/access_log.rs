//! The access log of a run of `serve`: opened while the process has every right.

use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::sync::Arc;

use ipcow::config::Config;
use ipcow::process;
use ipcow::service::{AccessLog, OpenError, ServiceBuilder};

/// The access log, if there is one.
#[derive(Debug, Clone, Default)]
pub(super) struct Access(Option<Arc<AccessLog>>);

impl Access {
    /// Opens what the configuration names, for the user that the process will be.
    pub(super) fn open(config: &Config) -> Result<Self, OpenError> {
        let log = AccessLog::open(&config.access_log)?.map(Arc::new);
        if let Some(path) = log.as_ref().and_then(|log| log.path())
            && let Ok((uid, gid)) = process::identity(&config.process)
            && (uid.is_some() || gid.is_some())
        {
            // Where that is refused, opening it again is too, and the log will say so.
            let _kept = chown(path, uid, gid);
        }
        Ok(Self(log))
    }

    /// The folder in which the file is made again once it was moved away.
    pub(super) fn folders(&self) -> Vec<PathBuf> {
        let path = self.0.as_ref().and_then(|log| log.path());
        path.and_then(|path| path.parent()).map(Into::into).into_iter().collect()
    }

    /// Starts writing, for a service that is built with this.
    pub(super) fn start(&self, builder: ServiceBuilder) -> std::io::Result<ServiceBuilder> {
        let Some(log) = &self.0 else { return Ok(builder) };
        log.start()?;
        Ok(builder.access_log(Arc::clone(log) as _))
    }

    /// Says where SIGUSR2 will not work.
    pub(super) fn log(&self) {
        let Some(log) = &self.0 else { return };
        if let (Some(error), Some(path)) = (log.why_not_reopened(), log.path()) {
            tracing::warn!(
                path = %path.display(),
                %error,
                "SIGUSR2 will not open the access log again: its folder must be writable for the \
                 user that the process is"
            );
        }
    }

    /// Opens the file again.
    pub(super) fn reopen(&self) {
        match self.0.as_ref().filter(|log| log.path().is_some()) {
            Some(log) => log.reopen(),
            None => tracing::info!("SIGUSR2: there is no access log that is a file"),
        }
    }
}
