//! Network namespaces of one test: their own loopback, ports, addresses and routes.
//!
//! A namespace has no name and lives as long as something holds it, so nothing is
//! left behind, whatever ends the test.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;

use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace with loopback up. Needs root.
pub(crate) struct Namespace {
    handle: File,
}

impl Namespace {
    /// A fresh namespace.
    pub(crate) fn new() -> Self {
        // A thread of its own: the test's thread must stay where it is.
        let made = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("root may make a network namespace");
            File::open("/proc/thread-self/ns/net").expect("a thread can name its namespace")
        });
        let new = Self { handle: made.join().expect("the namespace was made") };
        new.ip("link set lo up");
        new
    }

    /// Runs `work` inside: its sockets and the processes it starts belong here.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&self.handle, CloneFlags::CLONE_NEWNET).expect("root may enter a namespace");
                work()
            });
            match inside.join() {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Moves one of this namespace's links to another.
    pub(crate) fn give_link(&self, link: &str, to: &Self) {
        let there = format!("/proc/{}/fd/{}", std::process::id(), to.handle.as_raw_fd());
        self.ip(&format!("link set {link} netns {there}"));
    }

    /// A cable between `lan0` of this namespace, 10.79.0.1/24, and `lan0` of the other,
    /// 10.79.0.2/24. Each sends to the other what it has no route for.
    pub(crate) fn cable(&self, other: &Self) {
        let there = format!("/proc/{}/fd/{}", std::process::id(), other.handle.as_raw_fd());
        self.ip(&format!("link add lan0 type veth peer name lan0 netns {there}"));
        for (end, own, peer) in
            [(self, "10.79.0.1", "10.79.0.2"), (other, "10.79.0.2", "10.79.0.1")]
        {
            end.ip(&format!("addr add {own}/24 brd 10.79.0.255 dev lan0"));
            end.ip("link set lan0 up");
            end.ip(&format!("route add default via {peer}"));
        }
    }

    /// Packets that `lan0` of this namespace has received.
    pub(crate) fn packets(&self) -> u64 {
        self.enter(|| {
            let table = std::fs::read_to_string("/proc/thread-self/net/dev").expect("procfs");
            let line = table.lines().find_map(|line| line.trim().strip_prefix("lan0:"));
            let received = line.and_then(|line| line.split_whitespace().nth(1));
            received.and_then(|count| count.parse().ok()).expect("a cable")
        })
    }

    /// Runs `ip` with these words.
    pub(crate) fn ip(&self, words: &str) {
        self.enter(|| {
            let output = Command::new("ip").args(words.split(' ')).output().expect("ip starts");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "ip {words}: {said}");
        });
    }
}
