//! Tests that look at their own process: each runs in a process of its own, where no
//! other test opens descriptors or starts threads.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Set in the process that runs the one test.
const MARK: &str = "IPCOW_TEST_RUNS_ALONE";

/// Runs `body` as the only test of a process: `name` is the test's path in this binary.
pub(crate) fn alone(name: &str, body: impl FnOnce()) {
    if std::env::var_os(MARK).is_some() {
        body();
        return;
    }
    let this = std::env::current_exe().expect("this binary has a path");
    let mut child = Command::new(this);
    child.args(["--exact", name, "--nocapture"]).env(MARK, "1");
    let done = child.output().expect("this binary runs");
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{name} failed alone\n{out}\n{err}");
    assert!(out.contains("1 passed"), "there is no test {name}\n{out}");
}

/// Open descriptors of this process, less the one that counts them.
pub(crate) fn own_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("proc(5)").count() - 1
}

/// Threads of this process.
pub(crate) fn own_threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("proc(5)").count()
}

/// Panics that were ordered, by actor.
static POISONED: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

/// From now on, panics that were ordered are counted instead of printed.
pub(crate) fn count_poisoned() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let message = info.payload().downcast_ref::<String>();
        match message.and_then(|message| message.strip_prefix("poisoned ")) {
            Some(actor) => {
                let mut counts = POISONED.lock().unwrap_or_else(PoisonError::into_inner);
                *counts.entry(actor.to_owned()).or_default() += 1;
            }
            None => before(info),
        }
    }));
}

/// How often each actor has panicked since [`count_poisoned`].
pub(crate) fn poisoned() -> BTreeMap<String, u64> {
    POISONED.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
