//! The error log: where every failure arrives, and where retries are decided.
//!
//! Applies [`RetryPolicy`](crate::supervision::RetryPolicy) to failed endpoints and counts everything by kind.
//! Writes grouped lines, and only so many a second. What it knows is in the
//! [`Book`], which the service lends to its successor, should it die.

mod book;

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as Task, Poll, ready};
use std::time::{Duration, Instant};

use actix::fut::ActorFuture;
use actix::{Actor, AsyncContext, Context, Handler, MessageResult, WrapFuture};

use super::link::Link;
use super::policy::Decided;
use super::protocol::{GroupConnections, JudgeFailures, ReportErrors};
use super::supervisor::Supervisor;
pub(crate) use book::Book;

/// Session failures that are taken from the queue before other tasks have a turn.
const TAKEN_A_TURN: usize = 256;
/// Session failures are logged together, this often.
const FLUSH: Duration = Duration::from_secs(1);

/// The actor that failures flow to.
pub(crate) struct ErrorLog {
    book: Rc<RefCell<Book>>,
    supervisor: Link<Supervisor>,
}

impl ErrorLog {
    pub(crate) const fn new(book: Rc<RefCell<Book>>, supervisor: Link<Supervisor>) -> Self {
        Self { book, supervisor }
    }
}

impl Actor for ErrorLog {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.spawn(TakeFailures);
        ctx.run_interval(FLUSH, |log, _ctx| log.book.borrow_mut().flush(Instant::now()));
    }
}

/// Takes notices and session failures from their queues as they come.
struct TakeFailures;

impl ActorFuture<ErrorLog> for TakeFailures {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        log: &mut ErrorLog,
        _ctx: &mut Context<ErrorLog>,
        task: &mut Task<'_>,
    ) -> Poll<()> {
        let mut book = log.book.borrow_mut();
        for _ in 0..TAKEN_A_TURN {
            if let Poll::Ready(Some(event)) = book.notices.poll_recv(task) {
                book.take(&event, Instant::now());
                continue;
            }
            let Some(failed) = ready!(book.queue.poll_recv(task)) else { return Poll::Ready(()) };
            book.session_failed(failed);
        }
        task.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Handler<JudgeFailures> for ErrorLog {
    type Result = ();

    fn handle(&mut self, order: JudgeFailures, ctx: &mut Self::Context) {
        let (book, supervisor) = (Rc::clone(&self.book), self.supervisor.clone());
        let own = book.borrow().own.clone();
        let sent = async move {
            let decided = match &own {
                Some(own) => own.ask(&order).await,
                None => Decided::default(),
            };
            let judged = book.borrow_mut().judge(&order, decided, fastrand::f64(), Instant::now());
            let _ending = supervisor.deliver(judged).await;
        };
        ctx.spawn(sent.into_actor(self));
    }
}

impl Handler<ReportErrors> for ErrorLog {
    type Result = MessageResult<ReportErrors>;

    fn handle(&mut self, _question: ReportErrors, _ctx: &mut Self::Context) -> Self::Result {
        MessageResult(self.book.borrow_mut().report(Instant::now()))
    }
}

impl Handler<GroupConnections> for ErrorLog {
    type Result = MessageResult<GroupConnections>;

    fn handle(&mut self, _question: GroupConnections, _ctx: &mut Self::Context) -> Self::Result {
        MessageResult(self.book.borrow().connections())
    }
}
