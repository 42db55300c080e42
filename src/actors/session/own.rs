//! An embedder's own session, as a session's body.
//!
//! Runs its code, and ends the connection without losing what was sent. The code's
//! first step is taken in the session's own task, so that a panic is that session's.

use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};

use super::body::Body;
use super::books::Books;
use super::connection::Connection;
use super::context::{Outcome, SessionContext};
use super::handler::{Running, StartSession};
use super::stream::SessionStream;
use crate::net::echo::End;

/// See the module.
pub(crate) struct Own {
    state: State,
    connection: Rc<Connection>,
}

enum State {
    New(Arc<dyn StartSession>),
    Running(Running),
    /// FIN is to be sent, and then what the peer has sent dropped once.
    Closing(End),
    /// FIN is sent; what the peer still sends is dropped until it ends its side.
    Lingering(End),
}

impl Own {
    pub(super) const fn new(handler: Arc<dyn StartSession>, connection: Rc<Connection>) -> Self {
        Self { state: State::New(handler), connection }
    }

    /// What follows when its own code has returned.
    fn returned(&self, result: Result<Outcome, String>, task: &mut Task<'_>) -> State {
        let connection = &self.connection;
        match result {
            Ok(outcome) => {
                let end = match outcome {
                    Outcome::Eof => End::Eof,
                    Outcome::Done => End::Terminated,
                };
                if connection.peer_has_ended() || connection.broken().is_some() {
                    return State::Closing(end);
                }
                connection.take_back();
                connection.finish(task);
                connection.lingers();
                State::Lingering(end)
            }
            Err(failure) => {
                connection.report(failure);
                State::Closing(connection.broken().unwrap_or(End::Failed))
            }
        }
    }
}

impl Body for Own {
    fn poll_run(&mut self, task: &mut Task<'_>, _books: &Books) -> Poll<End> {
        loop {
            let next = match &mut self.state {
                State::New(handler) => {
                    let stream = SessionStream::new(Rc::clone(&self.connection));
                    let context = SessionContext::new(Rc::clone(&self.connection));
                    State::Running(Arc::clone(handler).start(stream, context))
                }
                State::Running(running) => {
                    let result = ready!(running.as_mut().poll(task));
                    self.returned(result, task)
                }
                State::Closing(end) => {
                    self.connection.take_back();
                    self.connection.finish(task);
                    let _nothing_more = self.connection.poll_drop_input(task);
                    return Poll::Ready(*end);
                }
                State::Lingering(end) => {
                    ready!(self.connection.poll_drop_input(task));
                    return Poll::Ready(*end);
                }
            };
            self.state = next;
        }
    }

    fn finish(&mut self, end: End) -> Option<End> {
        match self.state {
            // The peer takes nothing: it would not take the rest either.
            State::New(_) | State::Running(_) if self.connection.has_unsent() => Some(end),
            State::New(_) | State::Running(_) => {
                self.state = State::Closing(end);
                None
            }
            State::Closing(own) | State::Lingering(own) => Some(own),
        }
    }

    fn lingered(&self) -> End {
        match self.state {
            State::Closing(end) | State::Lingering(end) => end,
            State::New(_) | State::Running(_) => End::Terminated,
        }
    }

    fn ask<T>(&self, question: impl FnOnce(BorrowedFd<'_>) -> T) -> Option<T> {
        self.connection.ask(|socket| question(socket.as_fd()))
    }

    fn is_stalled(&mut self, task: &mut Task<'_>) -> bool {
        self.connection.is_stalled(task)
    }

    fn is_busy(&self) -> bool {
        self.connection.busy.get() > 0
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.connection.close();
    }
}
