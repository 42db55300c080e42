//! Starting actors so that none dies in silence.
//!
//! actix catches a panic per task and tells nobody, and a drop guard cannot
//! see its message. So each actor's context is polled by a hand-written future
//! that catches what escapes and says once how the actor ended. (An async
//! block for the same costs 380 bytes more an actor.)

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context as Task, Poll};

use actix::dev::{ContextFut, channel};
use actix::{Actor, Addr, ArbiterHandle, AsyncContext, Context};

/// How an actor ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It stopped by itself, or its last address was dropped.
    Stopped,
    /// It panicked, with this message.
    Panicked(String),
}

/// Messages that a mailbox holds; every address adds one (actix).
const MAILBOX: usize = 16;

/// Starts an actor on this thread. `tell` hears once how it ended, before its
/// state is dropped; it is not called when the whole thread is stopped.
pub(crate) fn start_watched<A>(actor: A, tell: impl FnOnce(Ended) + Unpin + 'static) -> Addr<A>
where
    A: Actor<Context = Context<A>>,
{
    let (addr, task) = watched_within(actor, |context| context, tell);
    actix::spawn(task);
    addr
}

/// An actor as [`start_watched`] starts it, in a task that polls it and has other work
/// too: `wrap` makes that from the actor's context. Whoever asks sees to it that the
/// task is polled.
pub(crate) fn watched_within<A, F>(
    actor: A,
    wrap: impl FnOnce(ContextFut<A, Context<A>>) -> F,
    tell: impl FnOnce(Ended) + Unpin + 'static,
) -> (Addr<A>, impl Future<Output = ()> + Unpin + 'static)
where
    A: Actor<Context = Context<A>>,
    F: Future<Output = ()> + Unpin + 'static,
{
    let ctx = Context::new();
    let addr = ctx.address();
    (addr, Watched::new(wrap(ctx.into_future(actor)), tell))
}

/// Starts the actor that `make` makes on another thread, and returns its
/// address at once.
pub(crate) fn start_watched_in<A, T>(
    arbiter: &ArbiterHandle,
    make: impl FnOnce() -> (A, T) + Send + 'static,
) -> Addr<A>
where
    A: Actor<Context = Context<A>>,
    T: FnOnce(Ended) + Unpin + 'static,
{
    let (sender, receiver) = channel::channel(MAILBOX);
    arbiter.spawn_fn(move || {
        let (actor, tell) = make();
        let ctx = Context::with_receiver(receiver);
        actix::spawn(Watched::new(ctx.into_future(actor), tell));
    });
    Addr::new(sender)
}

struct Watched<F, T> {
    /// `None` once it has ended.
    running: Option<(F, T)>,
}

impl<F, T> Watched<F, T> {
    const fn new(task: F, tell: T) -> Self {
        Self { running: Some((task, tell)) }
    }
}

impl<F, T> Future for Watched<F, T>
where
    F: Future<Output = ()> + Unpin,
    T: FnOnce(Ended) + Unpin,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<()> {
        let Some((actor, _)) = &mut self.running else { return Poll::Ready(()) };
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(actor).poll(task)));
        let ended = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(())) => Ended::Stopped,
            Err(payload) => Ended::Panicked(message(payload.as_ref())),
        };
        if let Some((actor, tell)) = self.running.take() {
            // Dropping a context runs `stopped` and drops the actor's state:
            // both are its own code and may panic too.
            let tidy = catch_unwind(AssertUnwindSafe(|| {
                tell(ended);
                drop(actor);
            }));
            if let Err(payload) = tidy {
                tracing::error!(panic = message(payload.as_ref()), "an actor panicked at its end");
            }
        }
        Poll::Ready(())
    }
}

/// The text of a panic; `panic!` with anything but text has none.
fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix::{ActorContext, Handler, Message, System};
    use tokio::sync::mpsc;

    struct Fragile {
        also_at_its_end: bool,
    }

    #[derive(Message)]
    #[rtype(result = "()")]
    enum Do {
        Panic,
        Stop,
    }

    impl Actor for Fragile {
        type Context = Context<Self>;

        fn stopped(&mut self, _ctx: &mut Self::Context) {
            assert!(!self.also_at_its_end, "at its end");
        }
    }

    impl Handler<Do> for Fragile {
        type Result = ();

        fn handle(&mut self, order: Do, ctx: &mut Self::Context) {
            match order {
                Do::Panic => panic!("poison {}", 7),
                Do::Stop => ctx.stop(),
            }
        }
    }

    /// Starts a fragile actor, gives it the order, and collects what it told.
    fn ends(order: Do, also_at_its_end: bool) -> Vec<Ended> {
        System::new().block_on(async move {
            let (tell, mut told) = mpsc::unbounded_channel();
            let addr = start_watched(Fragile { also_at_its_end }, move |ended| {
                tell.send(ended).expect("a reader");
            });
            let _closed = addr.send(order).await;
            let mut ends = Vec::new();
            while let Some(ended) = told.recv().await {
                ends.push(ended);
            }
            assert!(!addr.connected());
            ends
        })
    }

    #[test]
    fn a_panic_is_told_once_with_its_message() {
        assert_eq!(ends(Do::Panic, false), [Ended::Panicked("poison 7".to_owned())]);
    }

    #[test]
    fn a_stop_is_told_once_and_is_no_panic() {
        assert_eq!(ends(Do::Stop, false), [Ended::Stopped]);
    }

    #[test]
    fn a_panic_inside_stopped_is_contained() {
        assert_eq!(ends(Do::Panic, true), [Ended::Panicked("poison 7".to_owned())]);
        assert_eq!(ends(Do::Stop, true), [Ended::Panicked("at its end".to_owned())]);
    }
}
