//! The faults of a soak, and how often each was inflicted.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::Duration;

use ipcow::service::{Event, Events, Injection, ServiceHandle};
use ipcow::spec::{Endpoint, Protocol};
use ipcow::supervision::WorkerId;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use super::course::{CHUNKS, WORKERS};
use super::verdict::VICTIMS;

/// Longest wait for what must come.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two faults.
const STEP: Duration = Duration::from_millis(50);
/// How long the process may open no file.
const SHORTAGE: Duration = Duration::from_millis(300);
/// Victims come from here, so that none has the address of another client.
const SOURCE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// What may happen, and how often among all: the sum is 1,000.
const KINDS: [(&str, u32); 12] = [
    ("a random actor panics", 250),
    (VICTIMS, 150),
    ("a listener panics", 200),
    ("a worker panics", 120),
    ("the Supervisor panics", 60),
    ("the ErrorLog panics", 60),
    ("the ErrorLog is blocked", 40),
    ("a thread ends", 30),
    ("a thread hangs", 20),
    ("a chunk is poisoned", 30),
    ("the process may open no file", 20),
    ("two things die at once", 20),
];

/// Inflicts faults on a service and counts them.
pub(super) struct Faults<'a> {
    pub(super) handle: &'a ServiceHandle,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) inflicted: Rc<RefCell<BTreeMap<&'static str, u64>>>,
    /// Victims that echoed on after they were poisoned.
    pub(super) survivors: u64,
}

impl Faults<'_> {
    /// One fault after the other, for ever.
    pub(super) async fn inflict(&mut self) -> io::Result<()> {
        loop {
            let mut chance = fastrand::u32(..1_000);
            let kind = KINDS.iter().find(|(_, often)| {
                let found = chance < *often;
                chance = chance.wrapping_sub(*often);
                found
            });
            if let Some((kind, _)) = kind {
                self.one(kind).await?;
                *self.inflicted.borrow_mut().entry(kind).or_default() += 1;
            }
            sleep(STEP).await;
        }
    }

    async fn one(&mut self, kind: &str) -> io::Result<()> {
        let worker = WorkerId(fastrand::u16(1..=WORKERS));
        let endpoint = self.endpoints[fastrand::usize(..self.endpoints.len())];
        match kind {
            "a random actor panics" => self.handle.inject(Injection::PanicAny),
            VICTIMS => self.kill_a_session().await?,
            "a listener panics" => self.handle.inject(Injection::PanicListener(endpoint)),
            "a worker panics" => self.handle.inject(Injection::PanicWorker(worker)),
            "the Supervisor panics" => self.handle.inject(Injection::PanicSupervisor),
            "the ErrorLog panics" => self.handle.inject(Injection::PanicErrorLog),
            "the ErrorLog is blocked" => {
                let time = Duration::from_millis(fastrand::u64(100..1_000));
                self.handle.inject(Injection::BlockErrorLog(time));
            }
            "a thread ends" => self.handle.inject(Injection::EndThread(worker)),
            "a thread hangs" => {
                // Now and then for longer than a heartbeat may take.
                let millis = if fastrand::u8(..8) == 0 { 3_600 } else { fastrand::u64(50..500) };
                self.handle.inject(Injection::Hang(worker, Duration::from_millis(millis)));
            }
            "a chunk is poisoned" => {
                self.handle.inject(Injection::PoisonChunk(fastrand::u32(1..=CHUNKS)));
                self.handle.inject(Injection::EndThread(worker));
                sleep(Duration::from_millis(900)).await;
                self.handle.inject(Injection::PoisonChunk(0));
            }
            "the process may open no file" => self.run_out_of_files(worker).await?,
            _ => {
                self.handle.inject(Injection::PanicSupervisor);
                self.handle.inject(Injection::PanicListener(endpoint));
                self.handle.inject(Injection::PanicWorker(worker));
                self.handle.inject(Injection::PanicErrorLog);
            }
        }
        Ok(())
    }

    /// Opens a session, poisons it, and sees it end.
    async fn kill_a_session(&mut self) -> io::Result<()> {
        let tcp = self.endpoints.iter().filter(|endpoint| endpoint.protocol == Protocol::Tcp);
        let Some(at) = fastrand::choice(tcp.collect::<Vec<_>>()) else { return Ok(()) };
        let socket = TcpSocket::new_v4()?;
        socket.bind((SOURCE, 0).into())?;
        let mut stream = timeout(PATIENCE, socket.connect(at.socket_addr())).await??;
        let over = async {
            stream.write_all(b"my last words").await?;
            stream.read_exact(&mut [0; 13]).await?;
            self.handle.inject(Injection::PanicSession(stream.local_addr()?));
            stream.read(&mut [0]).await
        };
        if !matches!(timeout(PATIENCE, over).await, Ok(Ok(0) | Err(_))) {
            self.survivors += 1;
        }
        Ok(())
    }

    /// For a while, no file can be opened; threads that end then are not replaced.
    async fn run_out_of_files(&self, worker: WorkerId) -> io::Result<()> {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let open = std::fs::read_dir("/proc/self/fd")?.count() as u64;
        setrlimit(Resource::RLIMIT_NOFILE, open, hard)?;
        match fastrand::u8(..3) {
            0 => self.handle.inject(Injection::EndThread(worker)),
            1 => self.handle.inject(Injection::PanicWorker(worker)),
            _ => {}
        }
        sleep(SHORTAGE).await;
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
        Ok(())
    }
}

/// An endpoint that is lost to somebody else and comes back, for ever: its listener is
/// quarantined after one panic, and while its port is free, another socket takes it.
pub(super) async fn contest(
    handle: &ServiceHandle,
    endpoint: Endpoint,
    inflicted: Rc<RefCell<BTreeMap<&'static str, u64>>>,
) -> io::Result<()> {
    let at = endpoint.socket_addr();
    let mut events = handle.events();
    loop {
        handle.inject(Injection::PanicListener(endpoint));
        until(&mut events, |event| matches!(event, Event::Quarantined { .. })).await?;
        // The service probes once a second, and may be first.
        let taking = async {
            loop {
                match TcpListener::bind(at) {
                    Ok(taken) => return Some(taken),
                    Err(_) if handle.snapshot().endpoints.listening == 1 => return None,
                    Err(_) => sleep(Duration::from_millis(20)).await,
                }
            }
        };
        let taken = timeout(PATIENCE, taking).await?;
        if taken.is_some() {
            sleep(Duration::from_millis(2_500)).await;
            *inflicted.borrow_mut().entry("a port is taken and freed").or_default() += 1;
        }
        drop(taken);
        until(&mut events, |event| event.recovers(&endpoint)).await?;
        timeout(PATIENCE, answers(at)).await?;
    }
}

async fn until(events: &mut Events, wanted: impl Fn(&Event) -> bool) -> io::Result<()> {
    let found = async {
        loop {
            match events.next().await {
                Some(next) if wanted(&next.event) => return Ok(()),
                Some(_) => {}
                None => return Err(io::Error::other("the contested service ended")),
            }
        }
    };
    timeout(PATIENCE, found).await?
}

/// Returns once the endpoint echoes; this process may be out of files for a while.
async fn answers(at: SocketAddr) {
    loop {
        let asked = async {
            let mut stream = TcpStream::connect(at).await?;
            stream.write_all(b"mine again").await?;
            stream.read_exact(&mut [0; 10]).await
        };
        if asked.await.is_ok() {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
}
