//! `serve --take-over`: gets what the running instance serves, and says when it is ready.
//!
//! Begins on the main thread, while the process may still be root; ends with the run's
//! first moment of service. What is said on the way is `ipcow::handover`'s.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ipcow::config::{Config, ControlPath};
use ipcow::handover::{ConversationError, Own, Taker};
use ipcow::service::{ServiceBuilder, ServiceHandle};
use tokio::sync::oneshot;

use super::client::{Invitation, invitation};

/// What getting ready may take beyond `coverage.wait_secs`.
const SLACK: Duration = Duration::from_secs(60);
/// The same where there is no such limit.
const LONG: Duration = Duration::from_secs(600);

/// A running instance that is being taken over.
pub(super) struct TakeOver {
    taker: Taker,
    /// Which of its own sockets this one goes on with.
    own: Vec<Own>,
    /// Which of its serving sockets the service serves from.
    taken: Vec<bool>,
}

/// Why nothing is taken over. The running instance goes on.
#[derive(Debug, thiserror::Error)]
pub(super) enum TakeOverError {
    #[error(
        "--take-over asks the running instance over its control socket, and control.path is \
         \"none\"; name the socket with --control"
    )]
    NoControl,
    #[error("--take-over: {0}; the running instance goes on")]
    Refused(String),
    #[error("--take-over: {0}; the running instance goes on")]
    Conversation(#[from] ConversationError),
    #[error("--take-over: the process that looks for the running instance cannot run: {0}")]
    Io(#[from] std::io::Error),
}

impl TakeOver {
    /// Gets everything from the running instance; `None` where there is none.
    pub(super) fn begin(config: &Config, name: &str) -> Result<Option<Self>, TakeOverError> {
        let path = match &config.control.path {
            ControlPath::Off => return Err(TakeOverError::NoControl),
            ControlPath::At(path) => {
                Some(std::path::absolute(path).unwrap_or_else(|_| path.clone()))
            }
            ControlPath::Auto => None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let socket = match runtime.block_on(invitation(name, path)) {
            Invitation::To(socket) => socket,
            Invitation::Nobody => return Ok(None),
            Invitation::Refused(why) => return Err(TakeOverError::Refused(why)),
        };
        let patience = config.coverage.wait.map_or(LONG, |wait| wait + SLACK);
        let taker = Taker::receive(&socket, patience)?;
        Ok(Some(Self { taker, own: Vec::new(), taken: Vec::new() }))
    }

    /// The control socket of the running instance, if it is the one at this path.
    pub(super) fn control(&mut self, path: &Path) -> Option<UnixListener> {
        let (_, listener) = self.taker.take_control().filter(|(theirs, _)| theirs == path)?;
        self.own.push(Own::Control);
        Some(listener)
    }

    /// The listener of its admin address, if that is what `wanted` means.
    pub(super) fn admin(&mut self, wanted: SocketAddr) -> Option<TcpListener> {
        let meant = |listener: &TcpListener| {
            listener.local_addr().is_ok_and(|theirs| {
                theirs.ip() == wanted.ip() && [0, theirs.port()].contains(&wanted.port())
            })
        };
        let listener = self.taker.take_admin().filter(meant)?;
        self.own.push(Own::Admin);
        Some(listener)
    }

    /// This one goes without the control socket after all.
    pub(super) fn forget_control(&mut self) {
        self.own.retain(|own| *own != Own::Control);
    }

    /// Gives what serves to a service that is not planned yet.
    pub(super) fn hand_to(&mut self, builder: ServiceBuilder) -> ServiceBuilder {
        self.taker.hand_to(builder)
    }

    /// What became of it: whether the service serves from each of them.
    pub(super) fn planned(&mut self, taken: &[bool]) {
        self.taken = taken.to_vec();
    }

    /// The service is ready: serves instead of the running instance. Says whether that
    /// one has left everything; else it is dead.
    pub(super) async fn commit(self, handle: &Arc<ServiceHandle>) -> Result<bool, TakeOverError> {
        let Self { mut taker, own, taken } = self;
        let (pid, instance) = (taker.pid(), taker.instance().to_owned());
        let gate = Arc::clone(handle);
        let (tell, told) = oneshot::channel();
        std::thread::Builder::new().name("ipcow-take-over".to_owned()).spawn(move || {
            let _nobody_waits = tell.send(serve_instead(&mut taker, &taken, &own, &gate));
        })?;
        let gone = |_| TakeOverError::Conversation(ConversationError::Gone);
        let left = told.await.map_err(gone)??;
        match left {
            true => tracing::info!(pid, instance, "took over what the running instance served"),
            false => tracing::warn!(pid, instance, "the running instance died; serving instead"),
        }
        Ok(left)
    }

    /// Says that nothing comes of it, and why.
    pub(super) fn give_up(self, reason: &str) {
        self.taker.give_up(reason);
    }
}

fn serve_instead(
    taker: &mut Taker,
    taken: &[bool],
    own: &[Own],
    handle: &ServiceHandle,
) -> Result<bool, ConversationError> {
    match taker.ready(taken, own) {
        Ok(()) | Err(ConversationError::Gone) => handle.open_gate(),
        Err(error) => return Err(error),
    }
    match taker.serving() {
        Ok(()) => Ok(true),
        Err(error @ ConversationError::Aborted(_)) => Err(error),
        Err(_) => Ok(false),
    }
}
