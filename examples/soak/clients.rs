//! The clients of a soak: a process of its own, so that no descriptor, thread or byte
//! of memory of theirs counts as the service's.
//!
//! They speak until their standard input ends, and write what they saw to standard
//! output, a line a second. Every byte that comes back is compared.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{sleep, timeout};

use super::seen::Seen;

/// TCP clients at each endpoint; each has one session after the other.
const AN_ENDPOINT: usize = 8;
/// Longest wait for anything: a worker may hang for a few seconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest frame. Unit: bytes; the kernel's buffers hold it twice.
const FRAME: usize = 32 * 1024;

/// How a session ended.
enum End {
    /// As its client wanted.
    Own,
    /// The client closed it with a reset, as it wanted.
    Reset,
    /// The server's side ended first.
    Disturbed,
    /// Something came back that was not sent.
    Wrong,
    /// Nothing came back for a long time.
    Stuck,
    /// The endpoint refused the connection.
    Refused,
}

/// Runs the clients of these endpoints until standard input ends.
pub(super) fn run(endpoints: &[(bool, SocketAddr)]) -> std::io::Result<()> {
    let (stop, stopped) = watch::channel(false);
    std::thread::spawn(move || {
        let _end = std::io::stdin().read_to_end(&mut Vec::new());
        stop.send_replace(true);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let seen = Rc::new(Cell::new(Seen::default()));
        let mut clients: Vec<JoinHandle<()>> = Vec::new();
        for (is_tcp, at) in endpoints {
            if !is_tcp {
                clients.push(spawn_local(ask(*at, Rc::clone(&seen), stopped.clone())));
                continue;
            }
            for _ in 0..AN_ENDPOINT {
                clients.push(spawn_local(speak(*at, Rc::clone(&seen), stopped.clone())));
            }
        }
        let mut stopped = stopped;
        while !*stopped.borrow() {
            let _stopped = timeout(Duration::from_secs(1), stopped.changed()).await;
            tell(seen.get())?;
        }
        for client in clients {
            client.await.map_err(std::io::Error::other)?;
        }
        tell(seen.get())
    })
}

fn tell(seen: Seen) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{}", seen.to_line())?;
    out.flush()
}

fn note(cell: &Cell<Seen>, change: impl FnOnce(&mut Seen)) {
    let mut seen = cell.get();
    change(&mut seen);
    cell.set(seen);
}

/// One session after the other.
async fn speak(at: SocketAddr, seen: Rc<Cell<Seen>>, stop: watch::Receiver<bool>) {
    let mut chance = Rng::new();
    let mut script = vec![0; 2 * FRAME];
    chance.fill(&mut script);
    while !*stop.borrow() {
        let end = session(at, &script, &mut chance, &seen, &stop).await;
        note(&seen, |seen| match end {
            End::Own => seen.sessions += 1,
            End::Reset => seen.resets += 1,
            End::Disturbed => seen.disturbed += 1,
            End::Wrong => seen.wrong += 1,
            End::Stuck => seen.stuck += 1,
            End::Refused => seen.refused += 1,
        });
    }
}

async fn session(
    at: SocketAddr,
    script: &[u8],
    chance: &mut Rng,
    seen: &Cell<Seen>,
    stop: &watch::Receiver<bool>,
) -> End {
    let mut stream = match timeout(PATIENCE, TcpStream::connect(at)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(_)) => return End::Refused,
        Err(_) => return End::Stuck,
    };
    let frames = chance.u32(1..200);
    for nth in 1.. {
        let from = chance.usize(..script.len() - FRAME);
        let frame = &script[from..from + chance.usize(1..FRAME)];
        let last = nth >= frames || *stop.borrow();
        if last && chance.u8(..4) == 0 {
            // With echo in flight.
            let _gone = stream.try_write(frame);
            // Zero linger: close sends RST.
            let _gone = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            return End::Reset;
        }
        match timeout(PATIENCE, echo(&mut stream, frame, last, seen)).await {
            Ok(None) if last => return End::Own,
            Ok(None) => {}
            Ok(Some(end)) => return end,
            Err(_) => {
                note(seen, |seen| seen.lost += frame.len() as u64);
                return End::Stuck;
            }
        }
        sleep(Duration::from_millis(chance.u64(5..40))).await;
    }
    End::Own
}

/// Sends a frame and compares what comes back; the last one is followed by a
/// half-close, and what comes back by the server's. `None` when all is well.
async fn echo(stream: &mut TcpStream, frame: &[u8], last: bool, seen: &Cell<Seen>) -> Option<End> {
    let mut whole = stream.write_all(frame).await.is_ok();
    if last {
        whole &= stream.shutdown().await.is_ok();
    }
    let mut back = vec![0; frame.len()];
    let mut read = 0;
    while read < frame.len() {
        match stream.read(&mut back[read..]).await {
            Ok(length @ 1..) => read += length,
            Ok(0) | Err(_) => break,
        }
    }
    if back[..read] != frame[..read] {
        note(seen, |seen| seen.lost += frame.len() as u64);
        return Some(End::Wrong);
    }
    note(seen, |seen| seen.bytes += read as u64);
    if !whole || read < frame.len() {
        return Some(End::Disturbed);
    }
    if !last {
        return None;
    }
    match stream.read(&mut [0]).await {
        Ok(0) => None,
        Ok(_) => Some(End::Wrong),
        Err(_) => Some(End::Disturbed),
    }
}

/// One datagram after the other; each is answered once, with its own bytes.
async fn ask(at: SocketAddr, seen: Rc<Cell<Seen>>, stop: watch::Receiver<bool>) {
    let mut chance = Rng::new();
    let mut back = vec![0; 65_536];
    let Ok(socket) = UdpSocket::bind((at.ip(), 0)).await else { return };
    if socket.connect(at).await.is_err() {
        return;
    }
    for number in 0_u64.. {
        if *stop.borrow() {
            return;
        }
        let mut datagram = number.to_le_bytes().to_vec();
        datagram.resize(chance.usize(8..1_400), chance.u8(..));
        let answered = async {
            socket.send(&datagram).await?;
            socket.recv(&mut back).await
        };
        let answer = timeout(PATIENCE, answered).await;
        let length = datagram.len() as u64;
        note(&seen, |seen| match answer {
            Ok(Ok(answer)) if back[..answer] == datagram => {
                seen.datagrams += 1;
                seen.bytes += length;
            }
            // Whose fault it is, the service's own count tells.
            Err(_) => seen.unanswered += 1,
            Ok(failed) => {
                seen.lost += length;
                match failed {
                    Ok(_) => seen.wrong += 1,
                    Err(_) => seen.refused += 1,
                }
            }
        });
        sleep(Duration::from_millis(chance.u64(2..20))).await;
    }
}
