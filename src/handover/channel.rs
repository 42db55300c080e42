//! A conversation's Unix socket: messages with their descriptors, each in its time.
//!
//! Blocks, so that it can be used before a program has threads. Never decides what is
//! said.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::wire::{Decoder, Message, WireError};
use crate::net::sys::rights::{self, MOST};

/// How long the other side may take to read what is sent.
const SENDING: Duration = Duration::from_secs(10);
/// Pause where too many descriptors are on their way.
const BREATH: Duration = Duration::from_millis(5);

/// Why a conversation came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConversationError {
    /// The other instance ended it, and says why.
    #[error("the other instance says: {0}")]
    Aborted(String),
    /// The other instance is gone.
    #[error("the other instance is gone")]
    Gone,
    /// The other instance is silent.
    #[error("the other instance was silent for {} s", .0.as_secs())]
    Silent(Duration),
    /// The other instance says what it should not.
    #[error("the other instance is not understood: {0}")]
    NotUnderstood(String),
    /// The service here ends, or changes.
    #[error("this instance is not to be had: {0}")]
    NotOffered(String),
    /// The kernel refused something.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<WireError> for ConversationError {
    fn from(error: WireError) -> Self {
        Self::NotUnderstood(error.to_string())
    }
}

/// One side of a conversation.
#[derive(Debug)]
pub(super) struct Channel {
    stream: UnixStream,
    decoder: Decoder,
    /// Those that came with bytes of which the message is not whole, or not read.
    descriptors: VecDeque<OwnedFd>,
    buffer: Box<[u8]>,
}

impl Channel {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(SENDING))?;
        let buffer = vec![0; 64 * 1024].into_boxed_slice();
        Ok(Self { stream, decoder: Decoder::default(), descriptors: VecDeque::new(), buffer })
    }

    /// Says something, with at most [`MOST`] descriptors.
    pub(super) fn say(
        &self,
        message: &Message,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), ConversationError> {
        let bytes = message.encode()?;
        let end = Instant::now() + SENDING;
        let mut sent = 0;
        while sent < bytes.len() {
            // They go with the first byte, whatever else does.
            let with = if sent == 0 { descriptors } else { &[] };
            match rights::send(&self.stream, &bytes[sent..], with) {
                Ok(more) => sent += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(Errno::ETOOMANYREFS as i32) => {
                    if Instant::now() > end {
                        return Err(error.into());
                    }
                    std::thread::sleep(BREATH);
                }
                Err(error) => return Err(failed(error, SENDING)),
            }
        }
        Ok(())
    }

    /// The next message, within that time. The descriptors of a batch are then to be
    /// taken by [`Self::descriptor`].
    pub(super) fn hear(&mut self, patience: Duration) -> Result<Message, ConversationError> {
        let end = Instant::now() + patience;
        loop {
            match self.decoder.next()? {
                Some(Message::Abort { reason }) => return Err(ConversationError::Aborted(reason)),
                Some(message) => return Ok(message),
                None => {}
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ConversationError::Silent(patience));
            }
            self.stream.set_read_timeout(Some(left))?;
            match rights::receive(&self.stream, &mut self.buffer) {
                Ok((0, _)) => return Err(ConversationError::Gone),
                Ok((length, descriptors)) => {
                    self.decoder.push(&self.buffer[..length]);
                    self.descriptors.extend(descriptors);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error, patience)),
            }
            // A message has at most so many, and the next is read when it was.
            if self.descriptors.len() > 2 * MOST {
                return Err(ConversationError::NotUnderstood("descriptors without end".into()));
            }
        }
    }

    /// The next descriptor that came.
    pub(super) fn descriptor(&mut self) -> Result<OwnedFd, ConversationError> {
        let missing = || ConversationError::NotUnderstood("a descriptor is missing".to_owned());
        self.descriptors.pop_front().ok_or_else(missing)
    }

    /// Says that it comes to nothing, where the other side still hears.
    pub(super) fn abort(&self, reason: &str) {
        let abort = Message::Abort { reason: reason.to_owned() };
        let _gone_already = self.say(&abort, &[]);
    }
}

fn failed(error: io::Error, patience: Duration) -> ConversationError {
    match error.kind() {
        io::ErrorKind::WouldBlock => ConversationError::Silent(patience),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => ConversationError::Gone,
        _ => ConversationError::Io(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::super::wire::Entry;
    use super::*;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(20);

    fn pair() -> (Channel, Channel) {
        let (here, there) = UnixStream::pair().expect("a pair");
        (Channel::new(here).expect("a channel"), Channel::new(there).expect("a channel"))
    }

    #[test]
    fn batches_bring_their_descriptors_in_order_and_silence_and_ends_are_told_apart() {
        let (here, mut there) = pair();
        assert!(matches!(there.hear(SHORT), Err(ConversationError::Silent(SHORT))));
        let sender = std::thread::spawn(move || {
            let file = File::open("/dev/null").expect("a file");
            for count in [1, MOST, 7] {
                let entries = vec![Entry::Admin; count];
                let with = vec![file.as_fd(); count];
                here.say(&Message::Batch { entries }, &with).expect("it is read");
            }
            here.abort("enough");
        });
        for expected in [1, MOST, 7] {
            let Ok(Message::Batch { entries }) = there.hear(LONG) else { panic!("a batch") };
            assert_eq!(entries.len(), expected);
            (0..expected).for_each(|_| drop(there.descriptor().expect("it came along")));
        }
        assert!(there.descriptor().is_err());
        assert!(
            matches!(there.hear(LONG), Err(ConversationError::Aborted(why)) if why == "enough")
        );
        assert!(matches!(there.hear(LONG), Err(ConversationError::Gone)));
        sender.join().expect("every claim holds");
    }
}
