//! Which endpoints a change of the machine's addresses concerns.
//!
//! Compares two tables range by range, never endpoint by endpoint: a host whose
//! addresses never rest costs what has changed, however big the plan is.

use std::ops::Range;

use super::PlanEndpoints;
use crate::plan::reach::{LocalRoutes, number_of};

impl PlanEndpoints {
    /// The indices, as ascending ranges, of the endpoints of whose address `after`
    /// may say something else than `before`. Endpoints in a zone are always among
    /// them: what its name stands for is in neither table.
    #[must_use]
    pub fn concerned(&self, before: &LocalRoutes, after: &LocalRoutes) -> Vec<Range<u64>> {
        let mut concerned = Vec::new();
        for group in self.groups() {
            for slab in group.set.slabs() {
                let offset = group.first + slab.offset();
                let (first, last) = (slab.first(), slab.last());
                if first.zone().is_some() {
                    concerned.push(offset..offset + slab.len());
                    continue;
                }
                let ports = slab.ports().len();
                let row = |number: u128| {
                    let row = u64::try_from(number - number_of(first)).unwrap_or(u64::MAX);
                    offset + row.saturating_mul(ports)
                };
                let changed = after.differences(before, first, last).into_iter();
                concerned.extend(changed.map(|(from, to)| row(from)..row(to) + ports));
            }
        }
        concerned
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::super::machine::Machine;
    use super::super::{build, tests::group};
    use super::*;
    use crate::config::Mode;
    use crate::plan::reach::{LocalRoute, Reach};

    fn plan() -> PlanEndpoints {
        let one = group("one", &["both://10.0.0.0-10.0.0.31:80-83,0"], Mode::Echo);
        let other = group("two", &["tcp://10.0.0.8/29,[::1],[fd00::]-[fd00::f]:90-92"], Mode::Echo);
        let zoned = group("three", &["udp://[fe80::7%eth0]:1-2", "0.0.0.0:99"], Mode::Discard);
        build(&[one, other, zoned], &[], 10_000, &Machine).expect("a plan")
    }

    fn table() -> impl Strategy<Value = LocalRoutes> {
        let route = (any::<bool>(), 0..40_u8, 26..=32_u8, any::<bool>()).prop_map(
            |(v4, last, length, local)| LocalRoute {
                network: match v4 {
                    true => IpAddr::from([10, 0, 0, last]),
                    false => IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(last)]),
                },
                prefix_len: if v4 { length } else { length + 96 },
                reach: if local { Reach::Local } else { Reach::Broadcast },
                interface: 1,
            },
        );
        prop::collection::vec(route, 0..12).prop_map(LocalRoutes::from_routes)
    }

    proptest! {
        #[test]
        fn just_the_endpoints_whose_address_changed_are_concerned(
            before in table(), after in table()
        ) {
            let plan = plan();
            let concerned: Vec<_> = plan.concerned(&before, &after).into_iter().flatten().collect();
            let expected: Vec<_> = (0..)
                .zip(&plan)
                .filter(|(_, (_, endpoint))| {
                    let address = &endpoint.address;
                    address.zone().is_some() || before.classify(address) != after.classify(address)
                })
                .map(|(index, _)| index)
                .collect();
            prop_assert_eq!(concerned, expected);
        }
    }
}
