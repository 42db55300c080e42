//! Findings about port numbers: privileged, and those the kernel hands out.
//!
//! Intersects ranges. Never asks who uses a port now: `in_use` does.

use std::rc::Rc;

use super::block::{self, PortRanges};
use super::{Finding, Hits, Inputs, Kind, Level};
use crate::spec::Protocol;

/// Ephemeral ports that a machine needs to dial out (interface §4.2).
const LEAST_EPHEMERAL: u64 = 1024;

/// Low ports without the right to bind them.
pub(super) fn privileged(inputs: &Inputs<'_>) -> Option<Finding> {
    let limits = &inputs.facts.limits;
    let last = limits.unprivileged_port_start.checked_sub(1).filter(|last| *last > 0)?;
    if limits.can_bind_low_ports {
        return None;
    }
    let hits = with_ports(inputs, &[(1, last)], |_| true);
    let lowest = inputs.blocks().filter_map(|block| Some(block.ports.first()?.0)).min()?;
    if hits.is_empty() {
        return None;
    }
    let subject = hits.subject("needs", "need");
    Some(Finding {
        level: Level::Error,
        kind: Kind::Privileged,
        count: hits.count,
        message: format!(
            "{subject} CAP_NET_BIND_SERVICE for a port below {}: {}",
            last + 1,
            hits.text()
        ),
        fix: format!(
            "`setcap cap_net_bind_service=+ep` on the program, \
             AmbientCapabilities=CAP_NET_BIND_SERVICE in a systemd unit, or \
             `sysctl net.ipv4.ip_unprivileged_port_start={lowest}`"
        ),
    })
}

/// Ports that outgoing connections may take first.
pub(super) fn ephemeral_overlap(inputs: &Inputs<'_>) -> Option<Finding> {
    let ephemeral = &inputs.facts.ephemeral;
    let hits = with_ports(inputs, &block::ranges(ephemeral.iter()), |_| true);
    if hits.is_empty() {
        return None;
    }
    // The sysctl replaces the whole list: what is reserved already is kept.
    let mut reserve = Ports::default();
    reserve.add(&ephemeral.reserved);
    for block in inputs.blocks() {
        reserve.add(&block::intersect(&block.ports, &[(ephemeral.first, ephemeral.last)]));
    }
    let subject = hits.subject("has a port", "have ports");
    let (first, last) = (ephemeral.first, ephemeral.last);
    Some(Finding {
        level: Level::Warning,
        kind: Kind::EphemeralOverlap,
        count: hits.count,
        message: format!(
            "{subject} of the ephemeral range {first}-{last}, which outgoing connections may \
             hold when it is to be bound: {}",
            hits.text()
        ),
        fix: format!("`sysctl net.ipv4.ip_local_reserved_ports={}`", reserve.text()),
    })
}

/// So many ephemeral ports listened on that the machine could not dial out.
///
/// A port counts as taken on whatever address: connect(2) skips every port
/// that a listener has bound anywhere, in both families (measured).
pub(super) fn ephemeral_exhausted(inputs: &Inputs<'_>) -> Option<Finding> {
    let ephemeral = block::ranges(inputs.facts.ephemeral.iter());
    let all = block::count(&ephemeral);
    let (mut count, mut exhausted) = (0_u64, Vec::new());
    for protocol in Protocol::ALL {
        let mut taken = Ports::default();
        for block in inputs.blocks().filter(|block| block.protocol == protocol) {
            taken.add_shared(&block.ports);
        }
        let taken = block::count(&block::intersect(&taken.ranges(), &ephemeral));
        let left = all - taken;
        if taken > 0 && left < LEAST_EPHEMERAL {
            exhausted.push(format!("{left} of {all} for {protocol}"));
            count = count
                .saturating_add(with_ports(inputs, &ephemeral, |asked| asked == protocol).count);
        }
    }
    if exhausted.is_empty() {
        return None;
    }
    Some(Finding {
        level: if inputs.force { Level::Warning } else { Level::Error },
        kind: Kind::EphemeralExhausted,
        count,
        message: format!(
            "fewer than {LEAST_EPHEMERAL} ephemeral ports stay free ({}): this machine could \
             not dial out",
            exhausted.join(", ")
        ),
        fix: "add !ephemeral to the ports, widen the range with \
              `sysctl net.ipv4.ip_local_port_range`, or insist with --force"
            .to_owned(),
    })
}

/// The parts of all blocks with ports of `among`.
fn with_ports(inputs: &Inputs<'_>, among: &PortRanges, asked: impl Fn(Protocol) -> bool) -> Hits {
    let mut hits = Hits::default();
    for block in inputs.blocks().filter(|block| asked(block.protocol)) {
        if let Some(part) = block.with_ports(among) {
            hits.add(part);
        }
    }
    hits
}

/// A set of ports in 8 KiB.
struct Ports {
    bits: Box<[u64]>,
    /// The ranges that were added last: blocks in a row often share them.
    last: Option<Rc<PortRanges>>,
}

impl Default for Ports {
    fn default() -> Self {
        Self { bits: vec![0; 1024].into(), last: None }
    }
}

impl Ports {
    fn add(&mut self, ports: &PortRanges) {
        for port in ports.iter().flat_map(|(first, last)| *first..=*last) {
            self.bits[usize::from(port >> 6)] |= 1 << (port & 63);
        }
    }

    fn add_shared(&mut self, ports: &Rc<PortRanges>) {
        if self.last.as_ref().is_none_or(|last| !Rc::ptr_eq(last, ports)) {
            self.add(ports);
            self.last = Some(Rc::clone(ports));
        }
    }

    fn ranges(&self) -> Vec<(u16, u16)> {
        let has = |port: &u16| self.bits[usize::from(port >> 6)] >> (port & 63) & 1 == 1;
        block::ranges((0..=u16::MAX).filter(has))
    }

    /// As the kernel takes it: `8080,9148-9150`.
    fn text(&self) -> String {
        let item = |(first, last): (u16, u16)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        };
        self.ranges().into_iter().map(item).collect::<Vec<_>>().join(",")
    }
}
