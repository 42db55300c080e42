//! The end of a service that another instance goes on with.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::mpsc;

use super::subscribers::Subscribers;
use super::system::{Command, End, wait};
use super::tree::Tree;
use crate::actors::protocol::Retirement;

/// Leaves the listeners to another instance, and waits until the last session has
/// ended, their time is over, or somebody wants the end. What dies meanwhile comes back.
/// The times are those of all sessions, and of those whose endpoint is gone.
pub(super) async fn retire(
    tree: &mut Tree,
    retirement: Retirement,
    [timeout, drain_timeout]: [Option<Duration>; 2],
    inbox: &mut mpsc::UnboundedReceiver<Command>,
    subscribers: &mut Subscribers,
) -> End {
    let Tree { guardian, drained, .. } = tree;
    let mut gone = Some(guardian.begin_retire(retirement));
    let mut over = pin!(wait(timeout));
    let mut overdue = pin!(wait(drain_timeout));
    loop {
        tokio::select! {
            _ = drained.wait_for(|over| *over) => return End::Drain,
            () = &mut over => return End::Drain,
            () = &mut overdue, if gone.is_some() => {
                guardian.cut_overdue(gone.take().unwrap_or_default());
            }
            command = inbox.recv() => match command {
                None | Some(Command::Stop) => return End::Stop,
                Some(Command::Drain) => return End::Drain,
                Some(Command::Subscribe(subscription)) => subscribers.add(subscription),
                Some(_) => {}
            },
            () = guardian.watch() => {}
        }
    }
}
