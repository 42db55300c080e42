//! Findings about addresses: absent, unreachable, exposed.
//!
//! Asks the route table about ranges. Never guesses where the table is unknown.

use std::net::IpAddr;

use super::{Block, Finding, Group, Hits, Inputs, Kind, Level};
use crate::plan::reach::{Reach, ReachSpan};
use crate::spec::{Protocol, Zone};

/// Absent addresses, of groups that do not bind ahead of time.
pub(super) fn not_local(inputs: &Inputs<'_>) -> Option<Finding> {
    let hits = spans(inputs, |group, block, span| {
        !group.freebind && !span.bindable && !nonlocal(inputs, block)
    });
    let address = hits.first()?.first;
    let unscoped = matches!(address.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local());
    let fix = match address.zone() {
        None if unscoped => format!("name the interface too, as in [{}%eth0]", address.ip()),
        zone => format!(
            "add each address, as in `{}`, or set freebind = true to bind before it exists",
            add(address.ip(), zone.as_ref().map_or("lo", Zone::name))
        ),
    };
    let subject = hits.subject("has an address", "have addresses");
    Some(Finding {
        level: Level::Error,
        kind: Kind::NotLocal,
        count: hits.count,
        message: format!("{subject} that no interface has: {}", hits.text()),
        fix,
    })
}

/// Absent addresses that `freebind` binds nevertheless.
pub(super) fn not_local_yet(inputs: &Inputs<'_>) -> Option<Finding> {
    let hits = spans(inputs, |group, _, span| group.freebind && span.reach == Reach::Absent);
    let ip = hits.first()?.first.ip();
    let subject =
        hits.subject("is bound ahead of its address", "are bound ahead of their addresses");
    Some(Finding {
        level: Level::Warning,
        kind: Kind::NotLocal,
        count: hits.count,
        message: format!("{subject}, and nobody can connect before it exists: {}", hits.text()),
        fix: format!("add each address, as in `{}`", add(ip, "lo")),
    })
}

/// TCP where bind(2) and listen(2) succeed, and no client gets through.
pub(super) fn unreachable_address(inputs: &Inputs<'_>) -> Option<Finding> {
    let hits = spans(inputs, |group, block, span| {
        block.protocol == Protocol::Tcp
            && match span.reach {
                Reach::Broadcast | Reach::Multicast => true,
                Reach::Absent => !group.freebind && nonlocal(inputs, block),
                Reach::Local | Reach::Wildcard => false,
            }
    });
    let first = hits.first()?;
    let exclude = format!("{}:*", first.first);
    let subject = hits.subject("would listen", "would listen");
    Some(Finding {
        level: Level::Error,
        kind: Kind::UnreachableAddress,
        count: hits.count,
        message: format!(
            "{subject} where nobody can connect (broadcast, multicast, or not in the local \
             route table): {}",
            hits.text()
        ),
        fix: format!("exclude each such address, as in `--exclude '{exclude}'`"),
    })
}

/// UDP off loopback in groups whose `allow_from` is empty.
pub(super) fn udp_exposed(inputs: &Inputs<'_>) -> Option<Finding> {
    let mut hits = Hits::default();
    let open = inputs.groups.iter().filter(|group| group.open_to_all);
    let blocks = open.flat_map(|group| &group.blocks);
    for block in blocks.filter(|block| block.protocol == Protocol::Udp) {
        let (first, last) = block.span();
        let (from, to) = match block.first.ip() {
            IpAddr::V4(_) => (0x7f00_0000, 0x7fff_ffff),
            IpAddr::V6(_) => (1, 1),
        };
        // What lies before and behind the loopback addresses.
        if first < from {
            hits.add(block.with_addresses(first, last.min(from - 1)));
        }
        if last > to {
            hits.add(block.with_addresses(first.max(to + 1), last));
        }
    }
    if hits.is_empty() {
        return None;
    }
    let subject = hits.subject("answers", "answer");
    Some(Finding {
        level: Level::Warning,
        kind: Kind::UdpExposed,
        count: hits.count,
        message: format!(
            "{subject} UDP off loopback from any source; who forges a source makes this machine \
             send the echo to a victim of their choice, up to udp.rate_per_source datagrams a \
             second: {}",
            hits.text()
        ),
        fix: "name the networks of your clients, as in allow_from = [\"10.0.0.0/8\"], or leave \
              UDP out there (protocols = [\"tcp\"])"
            .to_owned(),
    })
}

/// What the plan named and is not served, because the admin address is there.
pub(super) fn covers_admin(inputs: &Inputs<'_>) -> Option<Finding> {
    let (address, covered) = inputs.admin.filter(|(_, covered)| *covered > 0)?;
    let is = if covered == 1 { "endpoint is" } else { "endpoints are" };
    Some(Finding {
        level: Level::Warning,
        kind: Kind::CoversAdmin,
        count: covered,
        message: format!(
            "{covered} {is} left out of the plan: the admin address {address} (admin.listen) \
             is there"
        ),
        fix: "give admin.listen a port that the plan does not name, or exclude that port from \
              the plan"
            .to_owned(),
    })
}

/// The parts of all blocks whose span of the route table is `odd`.
fn spans(inputs: &Inputs<'_>, odd: impl Fn(&Group, &Block, &ReachSpan) -> bool) -> Hits {
    let mut hits = Hits::default();
    let Some(routes) = &inputs.facts.routes else { return hits };
    for group in inputs.groups {
        for block in &group.blocks {
            for span in routes.spans(block.first, block.last) {
                if odd(group, block, &span) {
                    hits.add(block.with_addresses(span.first, span.last));
                }
            }
        }
    }
    hits
}

/// The command that gives the machine an address (ip-address(8)).
fn add(ip: IpAddr, device: &str) -> String {
    let length = if ip.is_ipv4() { 32 } else { 128 };
    format!("ip addr add {ip}/{length} dev {device}")
}

/// True where a sysctl lets absent addresses of the block's family be bound.
fn nonlocal(inputs: &Inputs<'_>, block: &Block) -> bool {
    match block.first.ip() {
        IpAddr::V4(_) => inputs.facts.limits.nonlocal_bind_v4,
        IpAddr::V6(_) => inputs.facts.limits.nonlocal_bind_v6,
    }
}
