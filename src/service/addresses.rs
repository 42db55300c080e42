//! The watch of the machine's addresses, opened again where it cannot be had.
//!
//! Judges nothing: it only says that something may have changed.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::net::host::address_watch::AddressWatch;

/// Pause before a watch that could not be opened, or broke, is tried again: a
/// shortage of descriptors or memory passes.
const REOPEN: Duration = Duration::from_secs(5);

/// Who hears that addresses came or went; `None` while nobody does.
pub(super) struct Addresses {
    watch: Option<AddressWatch>,
    /// When the next watch is opened, where there is none.
    reopen_at: Instant,
}

impl Addresses {
    /// Begins to watch, if the system lets it.
    pub(super) fn watch() -> Self {
        let watch = AddressWatch::open();
        if let Err(error) = &watch {
            tracing::warn!(%error, "addresses that leave are not noticed for now");
        }
        Self { watch: watch.ok(), reopen_at: Instant::now() + REOPEN }
    }

    /// Waits until addresses may have changed: what happened while nobody
    /// watched counts as a change. May be dropped and called again.
    pub(super) async fn changed(&mut self) {
        if let Some(watch) = &mut self.watch {
            let Err(error) = watch.changed().await else { return };
            tracing::warn!(%error, "addresses that leave are not noticed for now");
            self.watch = None;
            self.reopen_at = Instant::now() + REOPEN;
        }
        loop {
            sleep_until(self.reopen_at).await;
            self.reopen_at = Instant::now() + REOPEN;
            if let Ok(watch) = AddressWatch::open() {
                tracing::info!("addresses that leave are noticed again");
                self.watch = Some(watch);
                return;
            }
        }
    }
}
