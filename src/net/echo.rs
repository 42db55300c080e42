//! The pump: what one TCP session does with its bytes.
//!
//! A state machine that is polled, over any stream, with a buffer that the
//! caller lends. It holds bytes only while the peer does not take them, so an
//! idle session costs no buffer. Never a timer: whoever polls it watches the
//! clock, and ends it with [`Pump::finish`] or by dropping it.

mod calls;
mod end;
mod head;
#[cfg(test)]
mod tests;

use std::io;
use std::task::{Context, Poll, ready};

use super::terminator::{Feed, Scan, Terminator};
use crate::config::Mode;
use calls::{Budget, Calls};
pub(crate) use calls::{ByteStream, Tally};
pub(crate) use end::End;
pub(crate) use head::Head;

/// Most bytes a session holds because its peer does not take them, and most it
/// reads at once. Unit: bytes.
pub(crate) const MOST_UNSENT: usize = 64 * 1024;

/// How far a session has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Reads and answers.
    Open,
    /// Answers nothing new; what is unsent goes out, then the FIN.
    Flushing,
    /// The FIN is out; unread input is dropped until the peer ends it.
    Lingering,
    /// Over: the stream is to be dropped.
    Ended,
}

/// One session's bytes: reads, answers, and ends without losing any.
#[derive(Debug)]
pub(crate) struct Pump<S> {
    stream: S,
    mode: Mode,
    terminator: Option<Terminator>,
    scan: Scan,
    unsent: Option<Unsent>,
    state: State,
}

/// What the peer has not taken yet.
#[derive(Debug)]
struct Unsent {
    bytes: Box<[u8]>,
    sent: usize,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Open,
    Flushing(End, Input),
    Lingering(End),
    Ended(End),
}

/// What becomes of the input of a session that is ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    /// There is no more.
    Over,
    /// It is dropped until the peer ends it: closing a socket with unread
    /// input sends RST, which destroys echo in flight.
    Drop,
    /// What has arrived already is answered once more.
    LastLook,
    /// What has arrived is dropped once, without waiting for more.
    Sweep,
}

impl<S> Pump<S> {
    /// A session over `stream`; without `terminator` it is binary-transparent.
    pub(crate) fn new(stream: S, mode: Mode, terminator: Option<Terminator>) -> Self {
        let scan = Scan::default();
        Self { stream, mode, terminator, scan, unsent: None, state: State::Open }
    }

    /// The stream, to ask the kernel about it.
    pub(crate) fn stream(&self) -> &S {
        &self.stream
    }

    /// Bytes read that the peer has not taken; 0 to [`MOST_UNSENT`].
    pub(crate) fn unsent(&self) -> usize {
        self.unsent.as_ref().map_or(0, |unsent| unsent.bytes.len() - unsent.sent)
    }

    /// How far the session has come.
    pub(crate) fn phase(&self) -> Phase {
        match self.state {
            State::Open => Phase::Open,
            State::Flushing(..) => Phase::Flushing,
            State::Lingering(_) => Phase::Lingering,
            State::Ended(_) => Phase::Ended,
        }
    }

    /// Ends the session early: what has arrived is answered once more, then
    /// flushed, then the FIN goes out, and nobody waits for the peer's.
    ///
    /// A session that was ending already keeps its own reason and only stops
    /// waiting for the peer's end. The caller polls afterwards, and drops the
    /// pump when it will not wait for the flush.
    pub(crate) fn finish(&mut self, reason: End) {
        self.state = match self.state {
            State::Open => State::Flushing(reason, Input::LastLook),
            State::Flushing(end, Input::Drop) => State::Flushing(end, Input::Sweep),
            State::Lingering(end) => State::Ended(end),
            unchanged => unchanged,
        };
    }

    /// What to answer of a read, and whether it completes the termination sequence.
    #[inline(always)]
    fn judge<'a>(&mut self, read: &'a [u8]) -> (&'a [u8], bool) {
        let feed = self.terminator.as_ref().map(|terminator| self.scan.feed(terminator, read));
        let (answer, found) = match feed {
            None | Some(Feed::Pass) => (read, false),
            Some(Feed::Found { echo }) => (&read[..echo], true),
        };
        match self.mode {
            Mode::Echo => (answer, found),
            Mode::Discard => (&[], found),
        }
    }
}

impl<S: ByteStream> Pump<S> {
    /// Moves bytes until nothing can be moved, or for 16 reads or 64 KiB.
    ///
    /// Reads into `scratch`, which must not be empty, and writes straight back;
    /// only what the peer does not take is copied, and reading stops until it
    /// is gone. Adds what was moved to `tally`, also when the session fails.
    /// Says how the session ended, again each time it is polled after that. The
    /// caller then drops the pump: where the peer ended its side, the FIN is left
    /// to that, because nothing unread can make a reset of it.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
        tally: &mut Tally,
    ) -> Poll<End> {
        let most = scratch.len().min(MOST_UNSENT);
        let scratch = &mut scratch[..most];
        let mut calls = Calls { cx, tally, budget: Budget::default() };
        loop {
            let calls = &mut calls;
            let step = match self.state {
                State::Open => self.poll_open(calls, scratch),
                State::Flushing(end, input) => self.poll_flushing(calls, scratch, end, input),
                State::Lingering(end) => self.poll_lingering(calls, scratch, end),
                State::Ended(end) => return Poll::Ready(end),
            };
            self.state = match ready!(step) {
                Ok(next) => next,
                Err(error) => State::Ended(End::reset(&error)),
            };
        }
    }

    /// Echoes until the peer ends its side or the sequence is seen.
    fn poll_open(
        &mut self,
        calls: &mut Calls<'_, '_>,
        scratch: &mut [u8],
    ) -> Poll<io::Result<State>> {
        loop {
            if self.unsent.is_some() {
                ready!(self.poll_unsent(calls))?;
            }
            if let Some(next) = ready!(self.poll_answer(calls, scratch))? {
                return Poll::Ready(Ok(next));
            }
        }
    }

    /// One read and its answer; `Some` when it was the last.
    #[inline(always)]
    fn poll_answer(
        &mut self,
        calls: &mut Calls<'_, '_>,
        scratch: &mut [u8],
    ) -> Poll<io::Result<Option<State>>> {
        let read = ready!(calls.poll_read(&mut self.stream, scratch))?;
        if read == 0 {
            return Poll::Ready(Ok(Some(State::Flushing(End::Eof, Input::Over))));
        }
        let (answer, found) = self.judge(&scratch[..read]);
        let sent = calls.write(&mut self.stream, answer)?;
        if sent < answer.len() {
            self.unsent = Some(Unsent { bytes: answer[sent..].into(), sent: 0 });
        }
        Poll::Ready(Ok(found.then_some(State::Flushing(End::Terminated, Input::Drop))))
    }

    /// Sends what is unsent, then the FIN where closing alone would not do.
    fn poll_flushing(
        &mut self,
        calls: &mut Calls<'_, '_>,
        scratch: &mut [u8],
        end: End,
        input: Input,
    ) -> Poll<io::Result<State>> {
        let flushed = self.poll_unsent(calls)?;
        match input {
            Input::LastLook => {
                ready!(flushed);
                return Poll::Ready(Ok(self.last_look(calls, scratch, end)?));
            }
            // A peer that writes everything before it reads would wait for us
            // while we wait for it.
            Input::Drop if flushed.is_pending() => {
                if calls.poll_drop_input(&mut self.stream, scratch).is_ready() {
                    return Poll::Ready(Ok(State::Flushing(end, Input::Over)));
                }
            }
            Input::Drop | Input::Over | Input::Sweep => {}
        }
        ready!(flushed);
        if input == Input::Over {
            return Poll::Ready(Ok(State::Ended(end)));
        }
        // A peer that has gone already took the FIN's place; nothing is lost by that.
        let _gone = ready!(self.stream.poll_shutdown(calls.cx));
        if input == Input::Drop {
            return Poll::Ready(Ok(State::Lingering(end)));
        }
        calls.budget = Budget::default();
        let _nothing_more = calls.poll_drop_input(&mut self.stream, scratch);
        Poll::Ready(Ok(State::Ended(end)))
    }

    /// Answers what arrived before the session was told to end, without waiting.
    fn last_look(
        &mut self,
        calls: &mut Calls<'_, '_>,
        scratch: &mut [u8],
        end: End,
    ) -> io::Result<State> {
        while self.unsent.is_none() {
            match self.poll_answer(calls, scratch)? {
                Poll::Ready(None) => {}
                Poll::Ready(Some(State::Flushing(own_end, Input::Over))) => {
                    return Ok(State::Flushing(own_end, Input::Over));
                }
                Poll::Ready(Some(_)) => return Ok(State::Flushing(End::Terminated, Input::Sweep)),
                Poll::Pending => break,
            }
        }
        Ok(State::Flushing(end, Input::Sweep))
    }

    /// Drops input until the peer ends it; a reset then is an end like another.
    fn poll_lingering(
        &mut self,
        calls: &mut Calls<'_, '_>,
        scratch: &mut [u8],
        end: End,
    ) -> Poll<io::Result<State>> {
        ready!(calls.poll_drop_input(&mut self.stream, scratch));
        Poll::Ready(Ok(State::Ended(end)))
    }

    /// Sends what the peer did not take before.
    fn poll_unsent(&mut self, calls: &mut Calls<'_, '_>) -> Poll<io::Result<()>> {
        if let Some(unsent) = &mut self.unsent {
            unsent.sent += calls.write(&mut self.stream, &unsent.bytes[unsent.sent..])?;
            if unsent.sent < unsent.bytes.len() {
                return Poll::Pending;
            }
            self.unsent = None;
        }
        Poll::Ready(Ok(()))
    }
}
