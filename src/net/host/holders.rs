//! Which process holds a socket, found by its inode (proc(5)).
//!
//! Walks the descriptor tables of the processes that it may look into. Run
//! only when a person is to be told: it touches every open file of the machine.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;

use crate::plan::facts::Holder;

/// Most descriptors that are looked at before the search gives up.
const MAX_DESCRIPTORS: usize = 1_000_000;

/// The holders of the sockets with these inodes.
///
/// Those of other users' processes are missing unless one is root; a socket
/// that several processes share is charged to the first by process id.
pub(crate) fn find(inodes: &BTreeSet<u64>) -> BTreeMap<u64, Holder> {
    let mut found = BTreeMap::new();
    let mut looked_at = 0;
    let Ok(processes) = fs::read_dir("/proc") else { return found };
    let mut pids: Vec<u32> =
        processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    for pid in pids {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        for descriptor in descriptors.flatten() {
            looked_at += 1;
            if found.len() == inodes.len() || looked_at > MAX_DESCRIPTORS {
                return found;
            }
            let Some(inode) = socket_inode(&descriptor.path()) else { continue };
            if inodes.contains(&inode) {
                found.entry(inode).or_insert_with(|| Holder { name: name_of(pid), pid });
            }
        }
    }
    found
}

/// The inode in `socket:[12345]`, which is what a socket's link points to.
fn socket_inode(link: &std::path::Path) -> Option<u64> {
    let target = fs::read_link(link).ok()?;
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The process's name, with what could disturb a terminal left out.
fn name_of(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let name: String = name.trim_end().chars().filter(|c| !c.is_control()).collect();
    if name.is_empty() { "?".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::host::sockets;
    use crate::spec::Protocol;

    #[test]
    fn a_socket_of_this_process_is_charged_to_it() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let port = socket.local_addr().expect("its address").port();
        let bound = sockets::bound(Protocol::Udp).expect("sockets");
        let inode = bound.iter().find(|bound| bound.port == port).expect("the socket").inode;
        let holders = find(&BTreeSet::from([inode, u64::MAX]));
        assert_eq!(holders.len(), 1);
        assert_eq!(holders[&inode].pid, std::process::id());
        assert!(!holders[&inode].name.is_empty());
    }
}
