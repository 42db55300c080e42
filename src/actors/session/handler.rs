//! How an embedder serves sessions: an async function, a type, or an actor each.

use std::fmt::Display;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use actix::dev::ContextFut;
use actix::{Actor, Context};

use super::context::{Outcome, SessionContext};
use super::stream::SessionStream;

/// Serves the TCP sessions of a service or of a group, instead of the echo.
///
/// An async function is one; a type is one where sessions share something. What it
/// returns ends the session. Each runs on the thread of a worker, beside thousands of
/// others: it must not block. When a limit, a drain's deadline or an operator ends the
/// session, its future is dropped at the `await` where it waits. When it panics, that
/// session alone ends, and is counted (`session_panic`).
///
/// ```
/// use ipcow::service::{Outcome, Service, SessionContext, SessionStream};
/// use tokio::io::AsyncWriteExt;
///
/// async fn daytime(mut stream: SessionStream, session: SessionContext) -> std::io::Result<Outcome> {
///     stream.write_all(format!("you are {}\r\n", session.peer()).as_bytes()).await?;
///     Ok(Outcome::Done)
/// }
///
/// let service = Service::builder().listen("tcp://127.0.0.1:0")?.sessions(daytime).build()?;
/// # drop(service);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait SessionHandler: Send + Sync + 'static {
    /// Why a session failed. An error of the stream itself counts as `reset`, whatever
    /// this says; any other as `failed`.
    type Error: Display;

    /// Serves one session to its end.
    fn serve(
        &self,
        stream: SessionStream,
        session: SessionContext,
    ) -> impl Future<Output = Result<Outcome, Self::Error>>;
}

impl<F, S, E> SessionHandler for F
where
    F: Fn(SessionStream, SessionContext) -> S + Send + Sync + 'static,
    S: Future<Output = Result<Outcome, E>>,
    E: Display,
{
    type Error = E;

    fn serve(
        &self,
        stream: SessionStream,
        session: SessionContext,
    ) -> impl Future<Output = Result<Outcome, E>> {
        self(stream, session)
    }
}

/// Serves each session with an actor of your own, which `make` makes.
///
/// The actor lives in the session's task: it is watched, limited, drained and counted
/// like any other session, and ends it when it stops. It gets the stream to split and to
/// read with [`actix::AsyncContext::add_stream`], and its context to begin with. It hears of a drain
/// by spawning [`SessionContext::draining`], and says that it failed by
/// [`SessionContext::fail`].
///
/// When it ends, the reason is `eof` where the peer had ended its side, else
/// `terminated`.
pub fn session_actors<A, F>(make: F) -> impl SessionHandler<Error = String>
where
    A: Actor<Context = Context<A>>,
    F: Fn(SessionStream, SessionContext, &mut Context<A>) -> A + Send + Sync + 'static,
{
    ActorSessions { make, actor: PhantomData }
}

struct ActorSessions<A, F> {
    make: F,
    actor: PhantomData<fn() -> A>,
}

impl<A, F> SessionHandler for ActorSessions<A, F>
where
    A: Actor<Context = Context<A>>,
    F: Fn(SessionStream, SessionContext, &mut Context<A>) -> A + Send + Sync + 'static,
{
    type Error = String;

    async fn serve(
        &self,
        stream: SessionStream,
        session: SessionContext,
    ) -> Result<Outcome, String> {
        let mut ctx = Context::new();
        let actor = (self.make)(stream, session.clone(), &mut ctx);
        let running: ContextFut<A, Context<A>> = ctx.into_future(actor);
        running.await;
        session.verdict()
    }
}

/// What a session's own code comes to.
pub(super) type Running = Pin<Box<dyn Future<Output = Result<Outcome, String>>>>;

/// A [`SessionHandler`] of any type.
pub(crate) trait StartSession: Send + Sync {
    /// The session's future. Nothing of the handler's own runs before it is polled.
    fn start(self: Arc<Self>, stream: SessionStream, session: SessionContext) -> Running;
}

struct Erased<H>(H);

impl<H: SessionHandler> StartSession for Erased<H> {
    fn start(self: Arc<Self>, stream: SessionStream, session: SessionContext) -> Running {
        Box::pin(
            async move { self.0.serve(stream, session).await.map_err(|error| error.to_string()) },
        )
    }
}

/// Forgets what type a handler is of.
pub(crate) fn erase(handler: impl SessionHandler) -> Arc<dyn StartSession> {
    Arc::new(Erased(handler))
}

/// Who serves the sessions of a group, and the numbers that they get.
#[derive(Clone)]
pub(crate) struct OwnSessions {
    handler: Arc<dyn StartSession>,
    ids: Arc<AtomicU64>,
}

impl OwnSessions {
    pub(crate) fn new(handler: Arc<dyn StartSession>, ids: Arc<AtomicU64>) -> Self {
        Self { handler, ids }
    }

    pub(super) fn handler(&self) -> Arc<dyn StartSession> {
        Arc::clone(&self.handler)
    }

    /// The next number, from 1.
    pub(super) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Relaxed) + 1
    }
}

impl std::fmt::Debug for OwnSessions {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("OwnSessions").finish_non_exhaustive()
    }
}
