//! A greeter: one actor a connection, a line for a line, and a poison word.

use actix::io::{FramedWrite, WriteHandler};
use actix::{Actor, AsyncContext, Context, StreamHandler};
use ipcow::service::{SessionContext, SessionStream};
use tokio::io::WriteHalf;
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};

/// Greets who says a name, and counts how many it has greeted.
pub struct Greeter {
    greeted: u32,
    out: FramedWrite<String, WriteHalf<SessionStream>, LinesCodec>,
}

impl Greeter {
    /// The actor of one connection.
    pub fn new(stream: SessionStream, _session: SessionContext, ctx: &mut Context<Self>) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        ctx.add_stream(FramedRead::new(reader, LinesCodec::new_with_max_length(80)));
        Self { greeted: 0, out: FramedWrite::new(writer, LinesCodec::new(), ctx) }
    }
}

impl Actor for Greeter {
    type Context = Context<Self>;
}

impl WriteHandler<LinesCodecError> for Greeter {}

impl StreamHandler<Result<String, LinesCodecError>> for Greeter {
    fn handle(&mut self, line: Result<String, LinesCodecError>, _ctx: &mut Self::Context) {
        let Ok(name) = line else { return self.out.close() };
        assert_ne!(name, "poison", "somebody said it");
        self.greeted += 1;
        self.out.write(format!("hello {name}, you are number {}", self.greeted));
    }
}
