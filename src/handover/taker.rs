//! The new instance's side: gets everything, and says when it serves.
//!
//! [`Taker::receive`] needs no thread, so that a program can call it while it is still
//! root. Never starts a service.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use super::Own;
use super::channel::{Channel, ConversationError};
use super::wire::{Entry, Message, VERSION};
use crate::net::host::Zones;
use crate::service::{GivenSocket, ServiceBuilder};
use crate::spec::Endpoint;

/// How long a giver may take for what needs no thought of another's.
const PROMPT: Duration = Duration::from_secs(20);

/// What a running instance hands over.
#[derive(Debug)]
pub struct Taker {
    channel: Channel,
    instance: String,
    pid: u32,
    /// In the order of the entries; `None` where the entry was no socket that serves.
    places: Vec<Place>,
    sockets: Vec<GivenSocket>,
    numbers: Vec<(Endpoint, u32)>,
    control: Option<(PathBuf, UnixListener)>,
    admin: Option<TcpListener>,
}

/// What an entry was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A socket, by its number among those that were given to the service.
    Socket(usize),
    Own(Own),
    /// Nothing that can be used.
    Unfit,
}

impl Taker {
    /// Gets everything from the giver that invited to `name`
    /// ([`Giver::invite`](super::Giver::invite)). It then waits for `patience`.
    ///
    /// # Errors
    /// [`ConversationError`]; the giver goes on.
    pub fn receive(name: &str, patience: Duration) -> Result<Self, ConversationError> {
        let stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)?;
        let mut channel = Channel::new(stream)?;
        let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        channel.say(&Message::Take { versions: vec![VERSION], patience_ms }, &[])?;
        let Message::Hello { version: VERSION, instance, pid } = channel.hear(PROMPT)? else {
            return Err(ConversationError::NotUnderstood("it did not say `hello`".to_owned()));
        };
        let (places, sockets, numbers) = (Vec::new(), Vec::new(), Vec::new());
        let (control, admin) = (None, None);
        let mut taker = Self { channel, instance, pid, places, sockets, numbers, control, admin };
        let mut zones = Zones::default();
        loop {
            match taker.channel.hear(PROMPT)? {
                Message::Batch { entries } => {
                    for entry in entries {
                        let place = taker.keep(entry)?;
                        taker.places.push(place);
                    }
                }
                Message::Numbers { entries } => {
                    for named in entries {
                        let mut endpoint = named.endpoint();
                        endpoint.address = zones.present(endpoint.address);
                        taker.numbers.extend(named.ordinal.map(|ordinal| (endpoint, ordinal)));
                    }
                }
                Message::End => return Ok(taker),
                _ => {
                    return Err(ConversationError::NotUnderstood("it spoke out of turn".into()));
                }
            }
        }
    }

    fn keep(&mut self, entry: Entry) -> Result<Place, ConversationError> {
        let descriptor = self.channel.descriptor()?;
        Ok(match entry {
            Entry::Endpoint { named, losses } => match GivenSocket::read(descriptor) {
                Ok(socket) => {
                    let socket = socket.losses_counted(losses);
                    self.sockets.push(match named.ordinal {
                        Some(ordinal) => socket.chosen_by_kernel(ordinal),
                        None => socket,
                    });
                    Place::Socket(self.sockets.len() - 1)
                }
                Err(unfit) => {
                    tracing::warn!(endpoint = %named.endpoint(), %unfit, "a socket is of no use");
                    Place::Unfit
                }
            },
            Entry::Control { path } => {
                self.control = Some((path.into(), descriptor.into()));
                Place::Own(Own::Control)
            }
            Entry::Admin => {
                self.admin = Some(descriptor.into());
                Place::Own(Own::Admin)
            }
        })
    }

    /// The name of the instance that hands over.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Its process.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Takes out its control socket, with its path.
    pub const fn take_control(&mut self) -> Option<(PathBuf, UnixListener)> {
        self.control.take()
    }

    /// Takes out the listener of its admin address.
    pub const fn take_admin(&mut self) -> Option<TcpListener> {
        self.admin.take()
    }

    /// Gives the sockets that serve to a service, which then serves nobody before its
    /// gate is opened ([`ServiceBuilder::gated`]). They must be the first that it is given.
    #[must_use]
    pub fn hand_to(&mut self, mut builder: ServiceBuilder) -> ServiceBuilder {
        for (endpoint, ordinal) in self.numbers.drain(..) {
            builder = builder.keep_number(endpoint, ordinal);
        }
        builder.adopt(self.sockets.drain(..)).gated(true)
    }

    /// Says that everything is ready, and waits for the giver's word to go on. `taken`
    /// says which of the sockets the service serves from
    /// ([`Service::taken`](crate::service::Service::taken)), `own` which other sockets
    /// this instance goes on with.
    ///
    /// # Errors
    /// [`ConversationError`]: the giver goes on serving, and this instance must not
    /// begin; but for [`ConversationError::Gone`]: then nobody else serves.
    pub fn ready(&mut self, taken: &[bool], own: &[Own]) -> Result<(), ConversationError> {
        let is_taken = |place: &Place| match place {
            Place::Socket(at) => taken.get(*at).copied().unwrap_or(false),
            Place::Own(kind) => own.contains(kind),
            Place::Unfit => false,
        };
        let taken = (0..).zip(&self.places).filter(|(_, place)| is_taken(place));
        let taken = taken.map(|(at, _)| at).collect();
        self.channel.say(&Message::Ready { taken }, &[])?;
        match self.channel.hear(PROMPT)? {
            Message::Go => Ok(()),
            _ => Err(ConversationError::NotUnderstood("it did not say `go`".to_owned())),
        }
    }

    /// Says that this instance serves, and waits until the giver has left it everything.
    ///
    /// # Errors
    /// [`ConversationError::Aborted`]: the giver could not wait, and serves on; this
    /// instance must end. Any other error: the giver is gone.
    pub fn serving(&mut self) -> Result<(), ConversationError> {
        self.channel.say(&Message::Serving, &[])?;
        match self.channel.hear(PROMPT)? {
            Message::Given => Ok(()),
            _ => Err(ConversationError::NotUnderstood("it did not say `given`".to_owned())),
        }
    }

    /// Says that this instance gives up, and why.
    pub fn give_up(self, reason: &str) {
        self.channel.abort(reason);
    }
}
