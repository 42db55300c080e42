//! How many more threads this process may start, and which limit says so.
//!
//! Reads `RLIMIT_NPROC`, the control groups' `pids.max` (v1 and v2) and the
//! kernel's own limits. Never starts a thread.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit};

use super::capabilities::{SYS_ADMIN, SYS_RESOURCE, is_effective};
use super::limits::sys_number;
use crate::plan::resources::ThreadBound;

/// What lifts RLIMIT_NPROC (capabilities(7)).
const LIFTING: [u32; 2] = [SYS_ADMIN, SYS_RESOURCE];

/// Where the control groups are mounted: v2 alone, v1's pids, v2 beside v1.
const CGROUP_ROOTS: [(&str, &str); 3] =
    [("0:", "/sys/fs/cgroup"), (":pids:", "/sys/fs/cgroup/pids"), ("0:", "/sys/fs/cgroup/unified")];

/// The smallest of all limits, less what is used of each.
///
/// A limit that cannot be read does not count; without any, 1024.
pub(super) fn available() -> (u64, ThreadBound) {
    [
        (user_processes(), ThreadBound::UserProcesses),
        (cgroup_pids(), ThreadBound::CgroupPids),
        (kernel_threads(), ThreadBound::Kernel),
    ]
    .into_iter()
    .filter_map(|(left, bound)| Some((left?, bound)))
    .min_by_key(|(left, _)| *left)
    .unwrap_or((1024, ThreadBound::Kernel))
}

/// `RLIMIT_NPROC` less the tasks of this user; `None` where it does not apply.
fn user_processes() -> Option<u64> {
    let (soft, _) = getrlimit(Resource::RLIMIT_NPROC).ok()?;
    let (uid, _) = task_of(Path::new("/proc/self"))?;
    // The kernel never counts root or who may lift limits (fork(2), EAGAIN).
    if soft == u64::MAX || uid == 0 || LIFTING.into_iter().any(is_effective) {
        return None;
    }
    let tasks: u64 = fs::read_dir("/proc")
        .ok()?
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes()[0].is_ascii_digit())
        .filter_map(|entry| task_of(&entry.path()))
        .filter(|(owner, _)| *owner == uid)
        .map(|(_, threads)| threads)
        .sum();
    Some(soft.saturating_sub(tasks))
}

/// Real user and number of threads of the process at this place of `/proc`.
fn task_of(process: &Path) -> Option<(u64, u64)> {
    let status = fs::read_to_string(process.join("status")).ok()?;
    let field = |name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next()?.parse().ok()
    };
    Some((field("Uid:")?, field("Threads:")?))
}

/// The least that any control group of this process leaves, up to the root.
fn cgroup_pids() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    CGROUP_ROOTS
        .iter()
        .filter_map(|(mark, root)| {
            let line = groups.lines().find(|line| line.contains(mark) && !line.is_empty())?;
            let path = line.splitn(3, ':').nth(2)?;
            left_in_tree(Path::new(root), path)
        })
        .min()
}

/// The least that `path` under `root` and the groups above it leave.
fn left_in_tree(root: &Path, path: &str) -> Option<u64> {
    let mut group: PathBuf = root.join(path.trim_start_matches('/'));
    let mut least: Option<u64> = None;
    while group.starts_with(root) {
        let number = |file: &str| -> Option<u64> {
            fs::read_to_string(group.join(file)).ok()?.trim().parse().ok()
        };
        // "max" is no number: no limit here.
        if let (Some(max), Some(current)) = (number("pids.max"), number("pids.current")) {
            let left = max.saturating_sub(current);
            least = Some(least.map_or(left, |least| least.min(left)));
        }
        if !group.pop() {
            break;
        }
    }
    least
}

/// `kernel.threads-max` and `kernel.pid_max` less the tasks of the machine.
fn kernel_threads() -> Option<u64> {
    let most = sys_number::<u64>("kernel/threads-max")?;
    let most = most.min(sys_number("kernel/pid_max").unwrap_or(u64::MAX));
    // "0.20 0.18 0.12 1/80 11206": running and existing tasks (proc(5)).
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let tasks = load.split(['/', ' ']).nth(4).and_then(|tasks| tasks.parse().ok());
    Some(most.saturating_sub(tasks.unwrap_or(0_u64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tightest_group_of_a_tree_counts() {
        let root = tempfile::tempdir().expect("a directory");
        let inner = root.path().join("outer/inner");
        fs::create_dir_all(&inner).expect("directories");
        let write = |group: &Path, max: &str, current: &str| {
            fs::write(group.join("pids.max"), max).expect("a file");
            fs::write(group.join("pids.current"), current).expect("a file");
        };
        write(&inner, "max\n", "1\n");
        assert_eq!(left_in_tree(root.path(), "/outer/inner"), None);
        write(&root.path().join("outer"), "20\n", "5\n");
        assert_eq!(left_in_tree(root.path(), "/outer/inner"), Some(15));
        write(&inner, "10\n", "30\n");
        assert_eq!(left_in_tree(root.path(), "/outer/inner"), Some(0));
        assert_eq!(left_in_tree(root.path(), "/elsewhere"), None);
    }

    #[test]
    fn this_process_has_a_user_and_threads() {
        let (_, threads) = task_of(Path::new("/proc/self")).expect("a status");
        assert!(threads >= 1);
    }

    #[test]
    fn the_kernel_states_how_many_threads_it_may_have() {
        let left = kernel_threads().expect("sysctls");
        assert!(left > 0 && left <= sys_number("kernel/threads-max").expect("a sysctl"));
    }
}
