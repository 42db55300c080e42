//! Links: addresses of actors that may die and come back.
//!
//! A link always leads to the present actor. What is delivered through it is
//! sent again to the successor when the receiver died before it answered, so
//! receivers must bear to hear the same thing twice.

use std::fmt;

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Context, Handler, Message};
use tokio::sync::watch;

/// The receiving side's end: who is there now.
pub(crate) struct LinkTarget<A: Actor>(watch::Sender<Option<Addr<A>>>);

/// A way to an actor that outlives the actor.
pub(crate) struct Link<A: Actor>(watch::Receiver<Option<Addr<A>>>);

/// A link that leads nowhere yet, and its other end.
pub(crate) fn link<A: Actor>() -> (LinkTarget<A>, Link<A>) {
    let (sender, receiver) = watch::channel(None);
    (LinkTarget(sender), Link(receiver))
}

impl<A: Actor> fmt::Debug for Link<A> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Link").finish_non_exhaustive()
    }
}

impl<A: Actor> Clone for Link<A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<A: Actor> LinkTarget<A> {
    /// From now on the link leads to `addr`.
    pub(crate) fn lead_to(&self, addr: Addr<A>) {
        self.0.send_replace(Some(addr));
    }
}

impl<A: Actor<Context = Context<A>>> Link<A> {
    /// The present actor, if there is one that lives.
    pub(crate) fn current(&self) -> Option<Addr<A>> {
        self.0.borrow().clone().filter(Addr::connected)
    }

    /// Delivers `message`: waits for room in the mailbox, and for a successor
    /// where the actor dies before it answers. `None` when the service ends.
    pub(crate) async fn deliver<M>(&self, message: M) -> Option<M::Result>
    where
        M: Message + Clone + Send + 'static,
        M::Result: Send,
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        let mut changes = self.0.clone();
        loop {
            let addr = changes.borrow_and_update().clone();
            if let Some(addr) = addr
                && let Ok(answer) = addr.send(message.clone()).await
            {
                return Some(answer);
            }
            changes.changed().await.ok()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::watch::start_watched;
    use actix::System;

    /// Dies of every message while `fatal`.
    struct Mortal {
        fatal: bool,
    }

    #[derive(Clone, Message)]
    #[rtype(result = "u8")]
    struct Ask;

    impl Actor for Mortal {
        type Context = Context<Self>;
    }

    impl Handler<Ask> for Mortal {
        type Result = u8;

        fn handle(&mut self, _ask: Ask, _ctx: &mut Self::Context) -> u8 {
            assert!(!self.fatal, "asked to die");
            7
        }
    }

    #[test]
    fn a_message_waits_until_there_is_an_actor() {
        let answer = System::new().block_on(async {
            let (target, link) = link();
            let arrives = async {
                tokio::task::yield_now().await;
                target.lead_to(Mortal { fatal: false }.start());
            };
            tokio::join!(link.deliver(Ask), arrives).0
        });
        assert_eq!(answer, Some(7));
    }

    #[test]
    fn a_message_that_its_receiver_died_of_reaches_the_successor() {
        let answer = System::new().block_on(async {
            let (target, link) = link();
            let target = std::rc::Rc::new(target);
            let heir = std::rc::Rc::clone(&target);
            target.lead_to(start_watched(Mortal { fatal: true }, move |_panicked| {
                heir.lead_to(Mortal { fatal: false }.start());
            }));
            link.deliver(Ask).await
        });
        assert_eq!(answer, Some(7));
    }

    #[test]
    fn nothing_is_delivered_when_nobody_will_ever_come() {
        let (target, link) = link::<Mortal>();
        drop(target);
        assert_eq!(System::new().block_on(link.deliver(Ask)), None);
    }
}
