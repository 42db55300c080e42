//! Sessions of your own, an actor for each connection: a tiny key-value store that
//! speaks in lines (`set KEY VALUE`, `get KEY`, `count`, `quit`).
//!
//! The actor is watched, limited, drained and counted like an echo. When one panics, its
//! connection ends and the others never know.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use actix::io::{FramedWrite, WriteHandler};
use actix::{Actor, AsyncContext, Context, StreamHandler};
use ipcow::service::{Service, SessionContext, SessionStream, session_actors};
use tokio::io::WriteHalf;
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};

/// What all sessions share. They run on several threads.
type Store = Arc<Mutex<BTreeMap<String, String>>>;

/// Most keys: nothing here grows without a bound.
const MOST_KEYS: usize = 1_000;

/// One connection, and what it remembers of itself.
struct Keeper {
    store: Store,
    session: SessionContext,
    asked: u32,
    out: FramedWrite<String, WriteHalf<SessionStream>, LinesCodec>,
}

impl Keeper {
    fn new(
        stream: SessionStream,
        session: SessionContext,
        ctx: &mut Context<Self>,
        store: Store,
    ) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        // Lines come in as messages; the actor stops when the peer ends its side.
        ctx.add_stream(FramedRead::new(reader, LinesCodec::new_with_max_length(1_024)));
        Self { store, session, asked: 0, out: FramedWrite::new(writer, LinesCodec::new(), ctx) }
    }

    fn answer(&mut self, line: &str) -> String {
        self.asked += 1;
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["set", key, value] if store.len() < MOST_KEYS => {
                store.insert(key.to_owned(), value.to_owned());
                "ok".to_owned()
            }
            ["get", key] => store.get(key).cloned().unwrap_or_else(|| "nothing".to_owned()),
            ["count"] => format!("{} keys, {} questions of yours", store.len(), self.asked),
            ["panic"] => panic!("session {} asked for it", self.session.id()),
            _ => "what?".to_owned(),
        }
    }
}

impl Actor for Keeper {
    type Context = Context<Self>;
}

// When the last answer is written after `close`, the actor stops.
impl WriteHandler<LinesCodecError> for Keeper {}

impl StreamHandler<Result<String, LinesCodecError>> for Keeper {
    fn handle(&mut self, line: Result<String, LinesCodecError>, _ctx: &mut Context<Self>) {
        match line {
            Ok(line) if line == "quit" => self.out.close(),
            Ok(line) => {
                let answer = self.answer(&line);
                self.out.write(answer);
            }
            Err(error) => {
                self.session.fail(error);
                self.out.close();
            }
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = Store::default();
    let keepers = session_actors(move |stream, session, ctx: &mut Context<Keeper>| {
        Keeper::new(stream, session, ctx, Arc::clone(&store))
    });
    let service = Service::builder().listen("tcp://127.0.0.1:0")?.sessions(keepers).build()?;
    let handle = service.start()?;
    let at = handle.wait_ready().await?.bound[0].socket_addr();

    // What follows is the clients' part.
    let (mut one, mut other) = (Client::new(at)?, Client::new(at)?);
    one.ask("set cow moo")?;
    other.ask("get cow")?;
    other.ask("panic")?;
    one.ask("get cow")?;
    one.ask("count")?;
    one.ask("quit")?;

    let summary = handle.shutdown().await?;
    println!("sessions: {} closed, {} failed", summary.totals.closed, summary.totals.failed);
    Ok(())
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn new(at: SocketAddr) -> std::io::Result<Self> {
        TcpStream::connect(at).map(BufReader::new).map(Self)
    }

    fn ask(&mut self, question: &str) -> std::io::Result<()> {
        self.0.get_mut().write_all(format!("{question}\n").as_bytes())?;
        let mut answer = String::new();
        self.0.read_line(&mut answer)?;
        println!("{question}: {}", if answer.is_empty() { "(the end)" } else { answer.trim_end() });
        Ok(())
    }
}
