//! The running instance's side: invites one taker, offers everything, gives or goes on.
//!
//! Each conversation has a thread of its own and ends in its time. Never starts or ends
//! a service.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::geteuid;
use socket2::SockRef;

use super::Own;
use super::channel::{Channel, ConversationError};
use super::wire::{Entry, Message, Named, VERSION};
use crate::net::sys::rights::MOST;
use crate::service::{Offer, OfferError, ServiceHandle};

/// How long a taker may take to come, or to answer what needs no thought.
const PROMPT: Duration = Duration::from_secs(10);
/// Longest time that a taker may ask for to get ready.
const PATIENCE: Duration = Duration::from_secs(600);
/// Between two looks at a service that is opening endpoints.
const LOOK: Duration = Duration::from_millis(20);

/// Why nobody is invited.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotInvited {
    /// Another instance is taking this one over.
    #[error("another instance is taking this one over already")]
    Busy,
    /// The system gave no socket or no thread.
    #[error("no hand-over can be begun: {0}")]
    Io(#[from] io::Error),
}

/// Told which of its own sockets the giver is rid of.
type OnGiven = Box<dyn Fn(&[Own]) + Send + Sync>;

/// Hands a running service over to whoever was invited.
pub struct Giver {
    handle: Arc<ServiceHandle>,
    instance: String,
    timeout: Option<Duration>,
    control: Option<(PathBuf, OwnedFd)>,
    admin: Option<OwnedFd>,
    on_given: OnGiven,
    busy: AtomicBool,
}

impl std::fmt::Debug for Giver {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Giver").field("instance", &self.instance).finish_non_exhaustive()
    }
}

impl Giver {
    /// Hands over what `handle` serves, under this name. After that, sessions have
    /// `timeout` (`None` = until they end).
    #[must_use]
    pub fn new(
        handle: Arc<ServiceHandle>,
        instance: impl Into<String>,
        timeout: Option<Duration>,
    ) -> Self {
        let on_given = Box::new(|_: &[Own]| ());
        let (instance, busy) = (instance.into(), AtomicBool::new(false));
        Self { handle, instance, timeout, control: None, admin: None, on_given, busy }
    }

    /// Hands the control socket over too; `listener` is a descriptor of it.
    #[must_use]
    pub fn control(mut self, path: PathBuf, listener: OwnedFd) -> Self {
        self.control = Some((path, listener));
        self
    }

    /// Hands the admin address over too; `listener` is a descriptor of it.
    #[must_use]
    pub fn admin(mut self, listener: OwnedFd) -> Self {
        self.admin = Some(listener);
        self
    }

    /// Calls `told` once the other instance serves, on a thread of its own, with those
    /// of its own sockets that the other has now: they are to be left as they are.
    #[must_use]
    pub fn on_given(mut self, told: impl Fn(&[Own]) + Send + Sync + 'static) -> Self {
        self.on_given = Box::new(told);
        self
    }

    /// Opens a socket for one taker, which must come within ten seconds; its name in
    /// the abstract namespace (unix(7)). Root and the user of this process may come.
    ///
    /// # Errors
    /// [`NotInvited`].
    pub fn invite(self: &Arc<Self>) -> Result<String, NotInvited> {
        if self.busy.swap(true, Ordering::AcqRel) {
            return Err(NotInvited::Busy);
        }
        let invited = self.open();
        if invited.is_err() {
            self.busy.store(false, Ordering::Release);
        }
        Ok(invited?)
    }

    fn open(self: &Arc<Self>) -> io::Result<String> {
        let name = format!("ipcow-handover-{}-{:016x}", std::process::id(), fastrand::u64(..));
        let address = SocketAddr::from_abstract_name(&name)?;
        let listener = UnixListener::bind_addr(&address)?;
        let giver = Arc::clone(self);
        let conversation = move || {
            let _over = Over(&giver.busy);
            match giver.converse(&listener) {
                Ok(()) => {}
                Err(error) => tracing::warn!(%error, "nobody took this instance over: it goes on"),
            }
        };
        std::thread::Builder::new().name("ipcow-handover".to_owned()).spawn(conversation)?;
        Ok(name)
    }

    fn converse(&self, listener: &UnixListener) -> Result<(), ConversationError> {
        let mut channel = Channel::new(admit(listener)?)?;
        let done = self.hand_over(&mut channel);
        if let Err(error) = &done {
            channel.abort(&error.to_string());
        }
        done
    }

    fn hand_over(&self, channel: &mut Channel) -> Result<(), ConversationError> {
        let Message::Take { versions, patience_ms } = channel.hear(PROMPT)? else {
            return Err(out_of_turn("take"));
        };
        if !versions.contains(&VERSION) {
            return Err(ConversationError::NotOffered(format!(
                "it speaks version {VERSION} of the hand-over, and not {versions:?}"
            )));
        }
        let patience = Duration::from_millis(patience_ms).min(PATIENCE);
        let offer = self.offer()?;
        let (instance, pid) = (self.instance.clone(), std::process::id());
        channel.say(&Message::Hello { version: VERSION, instance, pid }, &[])?;
        let entries = self.send(channel, &offer)?;
        tracing::info!(sockets = entries.len(), "another instance is taking this one over");
        let Message::Ready { taken } = channel.hear(patience)? else {
            return Err(out_of_turn("ready"));
        };
        channel.say(&Message::Go, &[])?;
        let Message::Serving = channel.hear(PROMPT)? else {
            return Err(out_of_turn("serving"));
        };
        let taken =
            |entry: usize| u32::try_from(entry).is_ok_and(|it| taken.binary_search(&it).is_ok());
        let mut given = vec![false; offer.sockets().len()];
        let mut own = Vec::new();
        for (_, sent) in entries.iter().enumerate().filter(|(at, _)| taken(*at)) {
            match sent {
                Sent::Offered(at) => given[*at] = true,
                Sent::Own(kind) => own.push(*kind),
            }
        }
        offer.give(|at| given.get(at).copied().unwrap_or(false), self.timeout);
        (self.on_given)(&own);
        let _gone_already = channel.say(&Message::Given, &[]);
        Ok(())
    }

    /// The service, offered. Waits while it is opening endpoints.
    fn offer(&self) -> Result<Offer, ConversationError> {
        let refused =
            |error: &dyn std::fmt::Display| ConversationError::NotOffered(error.to_string());
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let end = Instant::now() + PROMPT;
        loop {
            match runtime.block_on(self.handle.offer()) {
                Ok(offer) => return Ok(offer),
                Err(OfferError::Opening) if Instant::now() < end => std::thread::sleep(LOOK),
                Err(error) => return Err(refused(&error)),
            }
        }
    }

    /// Sends all sockets and numbers; what each entry is, in their order.
    fn send(&self, channel: &Channel, offer: &Offer) -> Result<Vec<Sent>, ConversationError> {
        let own = self.control.iter().map(|(path, listener)| {
            let path = path.to_string_lossy().into_owned();
            (Sent::Own(Own::Control), Entry::Control { path }, listener.as_fd())
        });
        let own = own
            .chain(self.admin.iter().map(|it| (Sent::Own(Own::Admin), Entry::Admin, it.as_fd())));
        let offered = offer.sockets().iter().enumerate().filter_map(|(at, offered)| {
            let named = Named::new(&offered.endpoint, offered.ordinal);
            let entry = Entry::Endpoint { named, losses: offered.losses };
            Some((Sent::Offered(at), entry, offered.socket()?))
        });
        let all: Vec<(Sent, Entry, BorrowedFd<'_>)> = own.chain(offered).collect();
        for batch in all.chunks(MOST) {
            let entries = batch.iter().map(|(_, entry, _)| entry.clone()).collect();
            let descriptors: Vec<_> = batch.iter().map(|(_, _, descriptor)| *descriptor).collect();
            channel.say(&Message::Batch { entries }, &descriptors)?;
        }
        let numbers = offer.sockets().iter().filter(|offered| offered.socket().is_none());
        let numbers: Vec<_> =
            numbers.map(|offered| Named::new(&offered.endpoint, offered.ordinal)).collect();
        for batch in numbers.chunks(MOST) {
            channel.say(&Message::Numbers { entries: batch.to_vec() }, &[])?;
        }
        channel.say(&Message::End, &[])?;
        Ok(all.into_iter().map(|(sent, ..)| sent).collect())
    }
}

/// What was sent as an entry.
enum Sent {
    /// A socket of the offer, by its number there.
    Offered(usize),
    Own(Own),
}

/// The conversation is over, however it ended.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

fn out_of_turn(expected: &str) -> ConversationError {
    ConversationError::NotUnderstood(format!("it said something else than `{expected}`"))
}

/// The first who comes and may. Others are sent away without a word.
fn admit(listener: &UnixListener) -> Result<UnixStream, ConversationError> {
    let end = Instant::now() + PROMPT;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ConversationError::Silent(PROMPT));
        }
        // It holds for accept(2), too (socket(7)).
        SockRef::from(listener).set_read_timeout(Some(left))?;
        match listener.accept() {
            Ok((stream, _)) if may_take(&stream) => return Ok(stream),
            Ok(_) => tracing::warn!("another user tried to take this instance over"),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(ConversationError::Silent(PROMPT));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn may_take(stream: &UnixStream) -> bool {
    let peer = getsockopt(stream, PeerCredentials);
    peer.is_ok_and(|peer| peer.uid() == 0 || peer.uid() == geteuid().as_raw())
}
