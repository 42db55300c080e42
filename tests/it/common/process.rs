//! The program as a child process: read through its pipes, told by signals, and gone
//! when the test is.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::{DEADLINE, Ready, eventually};

/// How it ended and what it said.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Its exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    /// The signal that ended it.
    pub(crate) signal: Option<i32>,
    /// All of stdout.
    pub(crate) stdout: String,
    /// All of stderr.
    pub(crate) stderr: String,
}

impl Finished {
    /// The one JSON document on stdout.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("stdout is one document: {error}\n{self:?}"))
    }

    /// The events on stdout with that name.
    pub(crate) fn events(&self, name: &str) -> Vec<Value> {
        self.stdout.lines().map(parse).filter(|event| event["event"] == name).collect()
    }

    /// The summary, which must be the last line.
    pub(crate) fn summary(&self) -> Value {
        let last = self.stdout.lines().last().map(parse).unwrap_or_default();
        assert_eq!(last["event"], "summary", "{self:?}");
        last
    }

    /// Fails unless it ended with that code and without a panic.
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        assert!(!self.stderr.contains("panicked at"), "{self:#?}");
        self
    }

    /// Fails unless it ended with that code and stderr names each of these.
    pub(crate) fn expect_refusal(self, code: i32, named: &[&str]) -> Self {
        let done = self.expect_code(code);
        for word in named {
            assert!(done.stderr.contains(word), "{word:?} is not named:\n{done:#?}");
        }
        assert!(done.events("ready").is_empty(), "it opened sockets: {done:#?}");
        done
    }
}

/// A running child; killed when dropped.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    read: Vec<String>,
    next: usize,
    stderr: Arc<Mutex<Vec<u8>>>,
    stderr_reader: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    /// Takes over a child whose stderr, and stdout if piped, are read from now on.
    pub(super) fn new(mut child: Child) -> Self {
        let (sender, lines) = channel();
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let (mut pipe, said) = (child.stderr.take().expect("stderr is piped"), stderr.clone());
        let stderr_reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = pipe.read(&mut buffer) {
                said.lock().expect("no reader panics").extend_from_slice(&buffer[..length]);
            }
        });
        let stderr_reader = Some(stderr_reader);
        Self { child, lines, read: Vec::new(), next: 0, stderr, stderr_reader }
    }

    /// Blocks until `ready` is printed.
    pub(crate) fn ready(&mut self) -> Ready {
        Ready(self.event("ready"))
    }

    /// Blocks until the next event of that name; skips others.
    pub(crate) fn event(&mut self, name: &str) -> Value {
        let end = Instant::now() + DEADLINE;
        loop {
            while let Some(line) = self.read.get(self.next) {
                self.next += 1;
                let event = parse(line);
                if event["event"] == name {
                    return event;
                }
            }
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => self.read.push(line),
                Err(error) => panic!("no {name:?} event: {error}\nstderr: {}", self.stderr()),
            }
        }
    }

    /// What stderr said so far.
    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.lock().expect("no reader panics")).into_owned()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().expect("a pid is positive"));
        kill(pid, signal).expect("the child is not reaped yet");
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How many sockets the process holds.
    pub(crate) fn sockets(&self) -> usize {
        let folder = self.descriptor_folder();
        let targets = self.descriptor_numbers().into_iter();
        targets
            .filter_map(|number| std::fs::read_link(format!("{folder}/{number}")).ok())
            .filter(|target| target.to_string_lossy().starts_with("socket:"))
            .count()
    }

    /// The file descriptors that the process holds.
    pub(crate) fn descriptor_numbers(&self) -> Vec<u32> {
        let entries = std::fs::read_dir(self.descriptor_folder()).expect("the child runs");
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
    }

    fn descriptor_folder(&self) -> String {
        format!("/proc/{}/fd", self.child.id())
    }

    /// True as long as it has not ended.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }

    /// TERM, then waits for the end.
    pub(crate) fn terminate(self) -> Finished {
        self.signal(Signal::SIGTERM);
        self.finish()
    }

    /// Waits for the end by itself.
    pub(crate) fn finish(self) -> Finished {
        self.finish_within(DEADLINE)
    }

    /// Waits for the end; later than `deadline` is a failure.
    pub(crate) fn finish_within(mut self, deadline: Duration) -> Finished {
        let start = Instant::now();
        if !eventually(deadline, || !self.is_alive()) {
            panic!("still running after {:?}\nstderr: {}", start.elapsed(), self.stderr());
        }
        let status = self.child.wait().expect("it is our child");
        loop {
            match self.lines.recv_timeout(DEADLINE) {
                Ok(line) => self.read.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("stdout stays open after the end"),
            }
        }
        self.stderr_reader.take().map(std::thread::JoinHandle::join);
        let (code, signal) = (status.code(), status.signal());
        Finished { code, signal, stdout: self.read.join("\n"), stderr: self.stderr() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ended already or not: either way it is reaped here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parse(line: impl AsRef<str>) -> Value {
    let line = line.as_ref();
    serde_json::from_str(line).unwrap_or_else(|error| panic!("not JSON ({error}): {line:?}"))
}

/// Resident memory of a process, in KiB (`VmRSS`, proc(5)).
pub(crate) fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("procfs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
