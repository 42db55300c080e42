//! The finding about ports that others hold.
//!
//! Walks the sockets of the machine, of which there are few, and asks which
//! blocks they meet. Never opens a socket to find out.

use std::collections::{BTreeMap, BTreeSet};

use super::block::{self, PortRanges, holds, number};
use super::{Block, Finding, Hits, Inputs, Kind, Level};
use crate::plan::facts::{BoundSocket, Holder};
use crate::spec::Protocol;

/// Holders that a message names.
const HOLDERS_SHOWN: usize = 4;

/// Sockets whose process is looked up.
const MAX_LOOKED_UP: usize = 256;

/// Endpoints whose port another socket holds, on the same address or on a wildcard.
pub(super) fn in_use(inputs: &Inputs<'_>) -> Option<Finding> {
    let mut conflicts = Conflicts::default();
    for protocol in Protocol::ALL {
        for v4 in [true, false] {
            let held = Held::new(&inputs.facts.sockets, protocol, v4);
            let alike =
                |block: &&Block| block.protocol == protocol && block.first.ip().is_ipv4() == v4;
            for block in inputs.blocks().filter(alike) {
                conflicts.meet(block, &held);
            }
        }
    }
    if conflicts.all.is_empty() {
        return None;
    }
    let subject = conflicts.all.subject("is in use", "are in use");
    let (by, first) = conflicts.by_holder(inputs);
    Some(Finding {
        level: Level::Error,
        kind: Kind::InUse,
        count: conflicts.all.count,
        message: format!("{subject}: {by}"),
        fix: match first {
            Some(Holder { name, pid }) => format!(
                "stop {name} (`kill {pid}`), or leave out what others hold: add !in-use to the ports"
            ),
            None => "stop the holder (`ss -lntup` as root names it), or leave out what others \
                     hold: add !in-use to the ports"
                .to_owned(),
        },
    })
}

/// The sockets of one protocol that an address family meets.
struct Held<'a> {
    /// Ports held on the wildcard address, with a socket each.
    wild: BTreeMap<u16, &'a BoundSocket>,
    wild_ports: Vec<(u16, u16)>,
    /// Sockets on one address, sorted by it and by port.
    single: Vec<&'a BoundSocket>,
}

impl<'a> Held<'a> {
    fn new(sockets: &'a [BoundSocket], protocol: Protocol, v4: bool) -> Self {
        let (mut wild, mut single) = (BTreeMap::new(), Vec::new());
        for socket in sockets {
            let family = socket.address.is_ipv4() == v4;
            let counts = socket.protocol == protocol && (family || socket.dual_stack);
            match counts {
                true if socket.address.is_unspecified() => {
                    wild.entry(socket.port).or_insert(socket);
                }
                true => single.push(socket),
                false => {}
            }
        }
        single.sort_unstable_by_key(|socket| (number(socket.address), socket.port));
        single.dedup_by_key(|socket| (number(socket.address), socket.port));
        let wild_ports = block::ranges(wild.keys().copied());
        Self { wild, wild_ports, single }
    }
}

/// What meets what.
#[derive(Default)]
struct Conflicts {
    all: Hits,
    /// Blocks with the inode of a socket that holds them.
    pairs: Vec<(u64, Block)>,
}

impl Conflicts {
    fn meet(&mut self, block: &Block, held: &Held<'_>) {
        let (first, last) = block.span();
        if let Some(part) = block.with_ports(&held.wild_ports) {
            for port in part.ports.iter().flat_map(|(first, last)| *first..=*last) {
                if self.pairs.len() >= MAX_LOOKED_UP {
                    break;
                }
                if let (Some(socket), Some(one)) =
                    (held.wild.get(&port), part.with_ports(&[(port, port)]))
                {
                    self.pairs.push((socket.inode, one));
                }
            }
            self.all.add(part);
        }
        // A wildcard endpoint meets a socket on any address of its family.
        if block.first.is_wildcard() {
            let ports: BTreeMap<u16, &BoundSocket> =
                held.single.iter().map(|socket| (socket.port, *socket)).collect();
            let wildcard = block.with_addresses(first, first);
            for (port, socket) in ports {
                self.single(&wildcard, port, socket, held);
            }
        }
        let from = held.single.partition_point(|socket| number(socket.address) < first);
        for socket in &held.single[from..] {
            let at = number(socket.address);
            if at > last {
                break;
            }
            self.single(&block.with_addresses(at, at), socket.port, socket, held);
        }
    }

    /// One endpoint against one socket; ports held on the wildcard were counted.
    fn single(&mut self, place: &Block, port: u16, socket: &BoundSocket, held: &Held<'_>) {
        if held.wild.contains_key(&port) || !holds(&place.ports, port) {
            return;
        }
        if let Some(part) = place.with_ports(&[(port, port)]) {
            if self.pairs.len() < MAX_LOOKED_UP {
                self.pairs.push((socket.inode, part.clone()));
            }
            self.all.add(part);
        }
    }

    /// "python3 (pid 7) holds tcp://…, …", and the first holder that is known.
    fn by_holder(&self, inputs: &Inputs<'_>) -> (String, Option<Holder>) {
        let inodes: BTreeSet<u64> =
            self.pairs.iter().map(|(inode, _)| *inode).filter(|inode| *inode != 0).collect();
        let holders = (inputs.holders)(&inodes);
        // Grouped by process and place; ports of one place are joined.
        let mut grouped: BTreeMap<Option<(u32, &str)>, Vec<Block>> = BTreeMap::new();
        for (inode, part) in &self.pairs {
            let holder = holders.get(inode).map(|holder| (holder.pid, holder.name.as_str()));
            let parts = grouped.entry(holder).or_default();
            match parts.iter_mut().find(|have| same_place(have, part)) {
                Some(have) => have.ports = joined(&have.ports, &part.ports).into(),
                None => parts.push(part.clone()),
            }
        }
        // Those whose process is known come first.
        let known = grouped.iter().filter(|(holder, _)| holder.is_some());
        let unknown = grouped.iter().filter(|(holder, _)| holder.is_none());
        let mut named = 0_u64;
        let mut texts = Vec::new();
        for (holder, parts) in known.chain(unknown).take(HOLDERS_SHOWN) {
            let mut hits = Hits::default();
            parts.iter().cloned().for_each(|part| hits.add(part));
            named = named.saturating_add(hits.count);
            texts.push(match holder {
                Some((pid, name)) => format!("{name} (pid {pid}) holds {}", hits.text()),
                None => format!("a process that cannot be seen holds {}", hits.text()),
            });
        }
        match self.all.count.saturating_sub(named) {
            0 => {}
            more => texts.push(format!("… and {more} more")),
        }
        let first = grouped.keys().flatten().next();
        let first = first.map(|(pid, name)| Holder { name: (*name).to_owned(), pid: *pid });
        (texts.join("; "), first)
    }
}

fn same_place(a: &Block, b: &Block) -> bool {
    (a.protocol, a.first, a.last) == (b.protocol, b.first, b.last)
}

fn joined(a: &PortRanges, b: &PortRanges) -> Vec<(u16, u16)> {
    let ports: BTreeSet<u16> = a.iter().chain(b).flat_map(|(first, last)| *first..=*last).collect();
    block::ranges(ports)
}
