//! This process and its child: what it holds, which panics it saw, what the clients say.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::Failure;
use super::seen::Seen;

/// The argument that makes this program the clients' process.
pub(super) const CLIENTS: &str = "clients";

/// What this process holds, or how that has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Resources {
    pub(super) descriptors: i64,
    pub(super) threads: i64,
    /// VmRSS (proc(5)).
    pub(super) resident_kib: i64,
}

impl Resources {
    /// What it holds now.
    pub(super) fn now() -> io::Result<Self> {
        let count = |path| fs::read_dir(path).map(|entries| entries.count() as i64);
        let status = fs::read_to_string("/proc/self/status")?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = resident.and_then(|text| text.split_whitespace().next()?.parse().ok());
        Ok(Self {
            // Less the one that counts.
            descriptors: count("/proc/self/fd")? - 1,
            threads: count("/proc/self/task")?,
            resident_kib: number.ok_or_else(|| io::Error::other("no VmRSS in proc(5)"))?,
        })
    }

    pub(super) const fn since(self, before: Self) -> Self {
        Self {
            descriptors: self.descriptors - before.descriptors,
            threads: self.threads - before.threads,
            resident_kib: self.resident_kib - before.resident_kib,
        }
    }

    /// Whether none is more than `most`.
    pub(super) const fn within(self, most: Self) -> bool {
        self.descriptors <= most.descriptors
            && self.threads <= most.threads
            && self.resident_kib <= most.resident_kib
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { descriptors, threads, resident_kib } = self;
        let mib = *resident_kib as f64 / 1024.0;
        write!(out, "fds {descriptors:+}, threads {threads:+}, memory {mib:+.1} MiB")
    }
}

/// Lets the process open as many files as it may.
pub(super) fn restore_limit() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

/// Panics by message, which are counted and not printed.
#[derive(Clone)]
pub(super) struct Panics(Arc<Mutex<BTreeMap<String, u64>>>);

impl Panics {
    /// Begins to count those that were ordered; all others are printed as ever.
    pub(super) fn count() -> Self {
        let counts = Arc::new(Mutex::new(BTreeMap::new()));
        let (own, before) = (Arc::clone(&counts), std::panic::take_hook());
        std::panic::set_hook(Box::new(move |info| {
            let message = info.payload().downcast_ref::<String>();
            match message.filter(|message| message.starts_with("poisoned ")) {
                Some(poisoned) => {
                    let mut counts = own.lock().unwrap_or_else(PoisonError::into_inner);
                    *counts.entry(poisoned.clone()).or_default() += 1;
                }
                None => before(info),
            }
        }));
        Self(counts)
    }

    pub(super) fn counts(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The clients' process.
pub(super) struct Clients {
    child: Child,
    /// They speak until it is closed.
    stdin: Option<ChildStdin>,
    latest: Arc<Mutex<Seen>>,
    reader: Option<JoinHandle<()>>,
}

impl Clients {
    /// Starts clients for these endpoints.
    pub(super) fn start(endpoints: &[String]) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(CLIENTS).args(endpoints).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let latest = Arc::new(Mutex::new(Seen::default()));
        let told = Arc::clone(&latest);
        let reader = std::thread::spawn(move || {
            let lines = stdout.into_iter().flat_map(|out| BufReader::new(out).lines());
            for seen in lines.map_while(Result::ok).filter_map(|line| Seen::from_line(&line)) {
                *told.lock().unwrap_or_else(PoisonError::into_inner) = seen;
            }
        });
        Ok(Self { child, stdin, latest, reader: Some(reader) })
    }

    /// What they saw so far.
    pub(super) fn seen(&self) -> Seen {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets them end their sessions, and says what they saw. Blocks.
    pub(super) fn end(mut self) -> Result<Seen, Failure> {
        drop(self.stdin.take());
        let status = self.child.wait()?;
        if let Some(reader) = self.reader.take() {
            reader.join().map_err(|_| "the clients' lines could not be read")?;
        }
        if !status.success() {
            return Err(format!("the clients ended with {status}").into());
        }
        Ok(self.seen())
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        // Where the soak fails, nobody speaks on.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
