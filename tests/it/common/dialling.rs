//! Clients that dial again and again, by TCP and by UDP, and miss nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{DEADLINE, eventually};

/// Clients that dial until they are told to stop, and count what went wrong.
pub(crate) struct Dialling {
    stop: Arc<AtomicBool>,
    connected: Arc<AtomicU64>,
    answered: Arc<AtomicU64>,
    threads: Vec<std::thread::JoinHandle<Vec<String>>>,
}

impl Dialling {
    /// Two clients: one connects, echoes and closes; the other asks by UDP.
    pub(crate) fn start(tcp: Vec<SocketAddr>, udp: Vec<SocketAddr>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (connected, answered) = (Arc::default(), Arc::default());
        let threads = vec![
            dial(tcp, &stop, &connected, |to| {
                let mut stream = TcpStream::connect(to)?;
                stream.set_read_timeout(Some(DEADLINE))?;
                stream.write_all(b"hello")?;
                let mut back = [0; 5];
                stream.read_exact(&mut back)?;
                stream.shutdown(std::net::Shutdown::Write)?;
                match stream.read(&mut back)? {
                    0 => Ok(()),
                    _ => Err(ErrorKind::InvalidData.into()),
                }
            }),
            dial(udp, &stop, &answered, |to| {
                let socket = UdpSocket::bind("127.0.0.1:0")?;
                socket.connect(to)?;
                socket.set_read_timeout(Some(DEADLINE))?;
                socket.send(b"hello")?;
                socket.recv(&mut [0; 16]).map(drop)
            }),
        ];
        Self { stop, connected, answered, threads }
    }

    /// Waits until so many more of each kind were served.
    pub(crate) fn served(&self, more: u64) {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        let before = (count(&self.connected), count(&self.answered));
        let enough = || {
            count(&self.connected) >= before.0 + more && count(&self.answered) >= before.1 + more
        };
        assert!(eventually(DEADLINE, enough), "the clients wait");
    }

    /// Stops, and gives how many connections and datagrams were served.
    pub(crate) fn stop(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        let failed: Vec<_> =
            self.threads.into_iter().flat_map(|it| it.join().expect("no panic")).collect();
        assert!(failed.is_empty(), "{} clients failed: {:?}", failed.len(), failed.first());
        (self.connected.load(Ordering::Relaxed), self.answered.load(Ordering::Relaxed))
    }
}

fn dial(
    to: Vec<SocketAddr>,
    stop: &Arc<AtomicBool>,
    served: &Arc<AtomicU64>,
    once: impl Fn(SocketAddr) -> std::io::Result<()> + Send + 'static,
) -> std::thread::JoinHandle<Vec<String>> {
    let (stop, served) = (Arc::clone(stop), Arc::clone(served));
    std::thread::spawn(move || {
        let mut failed = Vec::new();
        for to in to.iter().cycle().take_while(|_| !stop.load(Ordering::Relaxed)) {
            match once(*to) {
                Ok(()) => drop(served.fetch_add(1, Ordering::Relaxed)),
                Err(error) => failed.push(format!("{to}: {error}")),
            }
        }
        failed
    })
}
