//! A service from start to end, for programs that do nothing else.

use super::builder::{Service, StartError};
use super::handle::ServiceGone;
use super::summary::Summary;

/// Why a service did not run to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// It could not be started; nothing was bound.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It ended without a summary.
    #[error(transparent)]
    Gone(#[from] ServiceGone),
    /// The process's signals cannot be had (sigaction(2)).
    #[error("the process's signals cannot be had: {0}")]
    Signals(std::io::Error),
}

impl Service {
    /// Starts, serves until `end` resolves or the service ends by itself, drains, and
    /// says what it did. Where this future is dropped, the service stops at once.
    ///
    /// # Errors
    /// [`RunError::Start`] and [`RunError::Gone`].
    pub async fn run_until(self, end: impl Future<Output = ()>) -> Result<Summary, RunError> {
        let handle = self.start()?;
        tokio::select! {
            () = end => {}
            ended = handle.ended() => return Ok(ended?),
        }
        Ok(handle.shutdown().await?)
    }

    /// Starts, serves until SIGTERM or SIGINT (ctrl-c), drains, and says what it did; the
    /// second signal stops at once. Takes over these signals of the process, SIGHUP and
    /// SIGUSR1, which mean nothing here. Must be called within a tokio runtime. Only with
    /// the feature `signals`.
    ///
    /// # Errors
    /// [`RunError`].
    #[cfg(feature = "signals")]
    pub async fn run(self) -> Result<Summary, RunError> {
        use super::signals::{Signal, Signals};

        let mut signals = Signals::install().map_err(RunError::Signals)?;
        let handle = self.start()?;
        let mut asked = false;
        loop {
            let (summary, ends) = (handle.ended(), signals.next());
            tokio::select! {
                ended = summary => return Ok(ended?),
                signal = ends => match signal {
                    Signal::End if asked => return Ok(handle.stop().await?),
                    Signal::End => {
                        handle.begin_shutdown();
                        asked = true;
                    }
                    _ => {}
                },
            }
        }
    }
}
