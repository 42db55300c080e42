//! Who holds a port that could not be bound.
//!
//! Looks through the machine's sockets and the processes that this one may look into; a
//! service in its sandbox may look into none but its own. Never binds anything.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::net::host;
use crate::plan::facts::{BoundSocket, Holder};
use crate::spec::Protocol;
use crate::supervision::{ErrorGroup, FaultKind};

/// The process whose socket keeps this address and port from being bound, as far as the
/// caller may see it: without root, of one's own user alone.
///
/// Reads the tables of sockets and of every process: milliseconds, or more on a busy
/// machine.
#[must_use]
pub fn port_holder(protocol: Protocol, at: SocketAddr) -> Option<Holder> {
    let sockets = host::facts().sockets;
    let inode = inode_at(&sockets, protocol, at)?;
    host::holders(&BTreeSet::from([inode])).remove(&inode)
}

/// Names the process that holds the port of each group's example.
pub(super) fn name_holders(mut groups: Vec<ErrorGroup>) -> Vec<ErrorGroup> {
    let sockets = host::facts().sockets;
    let inode = |group: &ErrorGroup| {
        let at = group.example.socket_addr();
        let in_use = group.fault.kind == FaultKind::BindInUse;
        inode_at(&sockets, group.example.protocol, at).filter(|_| in_use)
    };
    let inodes: Vec<Option<u64>> = groups.iter().map(inode).collect();
    let wanted: BTreeSet<u64> = inodes.iter().copied().flatten().collect();
    let holders: BTreeMap<u64, Holder> = host::holders(&wanted);
    for (group, inode) in groups.iter_mut().zip(inodes) {
        group.holder = inode.and_then(|inode| holders.get(&inode).cloned());
    }
    groups
}

/// The inode of the socket that is in the way, where it has one.
fn inode_at(sockets: &[BoundSocket], protocol: Protocol, at: SocketAddr) -> Option<u64> {
    let held = sockets.iter().find(|socket| socket.protocol == protocol && holds(socket, at))?;
    (held.inode != 0).then_some(held.inode)
}

/// Whether this socket keeps the address and port from being bound.
fn holds(socket: &BoundSocket, at: SocketAddr) -> bool {
    let (theirs, ours) = (socket.address, at.ip());
    let meets = theirs == ours
        || (theirs.is_unspecified() || ours.is_unspecified())
            && (theirs.is_ipv4() == ours.is_ipv4() || socket.dual_stack);
    socket.port == at.port() && meets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_of_this_process_is_held_by_it_and_a_free_one_by_nobody() {
        let taken = std::net::TcpListener::bind("127.84.1.1:0").expect("a listener");
        let at = taken.local_addr().expect("its address");
        let holder = port_holder(Protocol::Tcp, at).expect("it is held");
        assert_eq!(holder.pid, std::process::id());
        let wildcard = SocketAddr::from(([0, 0, 0, 0], at.port()));
        assert!(port_holder(Protocol::Tcp, wildcard).is_some(), "a wildcard meets it");
        drop(taken);
        assert_eq!(port_holder(Protocol::Udp, at), None);
    }
}
