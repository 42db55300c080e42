//! Peer: the echo that the actix book suggests: one actor a session, `FramedRead` as its
//! stream and `actix::io::FramedWrite` as its sink, `BytesCodec` on both.
//!
//! `actix_echo ADDRESS ADDRS PORT PORTS`, one thread. Says "ready" when all listens.

use std::{env, io};

use actix::io::{FramedWrite, WriteHandler};
use actix::{Actor, ActorContext as _, AsyncContext as _, Context, StreamHandler};
use bytes::{Bytes, BytesMut};
use ipcow_compare::{block, listen, raise_nofile};
use tokio::io::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::codec::{BytesCodec, FramedRead};

struct Session {
    halves: Option<(ReadHalf<TcpStream>, WriteHalf<TcpStream>)>,
    sink: Option<FramedWrite<Bytes, WriteHalf<TcpStream>, BytesCodec>>,
}

impl Actor for Session {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some((read, write)) = self.halves.take() {
            ctx.add_stream(FramedRead::new(read, BytesCodec::new()));
            self.sink = Some(FramedWrite::new(write, BytesCodec::new(), ctx));
        }
    }
}

impl WriteHandler<io::Error> for Session {}

impl StreamHandler<io::Result<BytesMut>> for Session {
    fn handle(&mut self, read: io::Result<BytesMut>, ctx: &mut Self::Context) {
        match (read, &mut self.sink) {
            (Ok(bytes), Some(sink)) => sink.write(bytes.freeze()),
            _ => ctx.stop(),
        }
    }
}

async fn accept(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let halves = Some(tokio::io::split(stream));
        Session { halves, sink: None }.start();
    }
}

#[actix::main]
async fn main() -> io::Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    raise_nofile()?;
    let mut accepting = Vec::new();
    for at in block(&words)? {
        accepting.push(actix_rt::spawn(accept(TcpListener::from_std(listen(at)?)?)));
    }
    println!("ready");
    for task in accepting {
        task.await.map_err(io::Error::other)??;
    }
    Ok(())
}
