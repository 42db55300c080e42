//! Peer: the echo that one writes with tokio, a task and a 16 KiB buffer a session.
//!
//! `tokio_echo tcp|udp THREADS ADDRESS ADDRS PORT PORTS`. With one thread it is the
//! current-thread runtime, with more the multi-thread one. Says "ready" when all is open.

use std::net::SocketAddr;
use std::sync::Arc;
use std::{env, io};

use ipcow_compare::{block, listen, raise_nofile};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::Builder;

const BUFFER: usize = 16 * 1024;
const LARGEST_DATAGRAM: usize = 65_535;

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..read]).await?;
    }
}

async fn accept(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(echo(stream));
    }
}

async fn answer(socket: UdpSocket) -> io::Result<()> {
    let mut buffer = vec![0; LARGEST_DATAGRAM];
    loop {
        let (read, source) = socket.recv_from(&mut buffer).await?;
        socket.send_to(&buffer[..read], source).await?;
    }
}

async fn serve(transport: &str, endpoints: Vec<SocketAddr>) -> io::Result<()> {
    let failed = Arc::new(tokio::sync::Notify::new());
    for at in endpoints {
        let failed = Arc::clone(&failed);
        if transport == "udp" {
            let socket = UdpSocket::bind(at).await?;
            tokio::spawn(async move { answer(socket).await.inspect_err(|_| failed.notify_one()) });
        } else {
            let listener = TcpListener::from_std(listen(at)?)?;
            tokio::spawn(
                async move { accept(listener).await.inspect_err(|_| failed.notify_one()) },
            );
        }
    }
    println!("ready");
    failed.notified().await;
    Err(io::Error::other("a listener failed"))
}

fn main() -> io::Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let [transport, threads, rest @ ..] = &words[..] else {
        return Err(io::Error::other("expected tcp|udp THREADS ADDRESS ADDRS PORT PORTS"));
    };
    raise_nofile()?;
    let threads: usize = threads.parse().map_err(io::Error::other)?;
    let mut builder = match threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let runtime = builder.worker_threads(threads.max(1)).enable_all().build()?;
    runtime.block_on(serve(transport, block(rest)?))
}
