//! Which endpoints of a plan are bound already, by somebody else.
//!
//! Compares values only. Never sees a socket.

use std::collections::BTreeMap;

use super::PlanEndpoints;
use crate::spec::{Address, Endpoint, Port, Protocol};

/// A bound endpoint that came from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// With its number.
    pub(crate) endpoint: Endpoint,
    /// Where the kernel chose the number: the ordinal of the endpoint that asked for
    /// port 0 (see [`Port::Ephemeral`]).
    pub(crate) ordinal: Option<u32>,
}

/// What there is of TCP and of UDP, by [`Protocol`].
type Halves<T> = [Vec<T>; 2];

/// By address: what asks for, or has, a number of the kernel's choice, by ordinal.
type Chosen<T> = BTreeMap<Address, BTreeMap<u32, Halves<T>>>;

/// The index in the plan of the endpoint that each arrival is for. Several may be for
/// one: the sockets of an endpoint with `reuse_port`.
///
/// A number that the plan names is meant for that endpoint. What asks for port 0 gets
/// the numbers that the kernel chose on its address, in the order in which they were
/// asked for; the two halves of `both://…:0` get one number, or none.
pub(crate) fn homes(plan: &PlanEndpoints, arrivals: &[Arrival]) -> Vec<Option<u64>> {
    let named = |arrival: &Arrival| plan.index_of(&arrival.endpoint);
    let mut homes: Vec<Option<u64>> = arrivals.iter().map(named).collect();
    let mut offered: Chosen<usize> = BTreeMap::new();
    for (at, Arrival { endpoint, ordinal }) in arrivals.iter().enumerate() {
        if let (Some(ordinal), None) = (*ordinal, homes[at]) {
            let halves = offered.entry(endpoint.address).or_default().entry(ordinal).or_default();
            halves[half(endpoint.protocol)].push(at);
        }
    }
    for (address, asked) in asked(plan) {
        let Some(offered) = offered.get(&address) else { continue };
        for kind in [[true, false], [false, true], [true, true]] {
            let takers = of_kind(&asked, kind);
            for (taker, offer) in takers.zip(of_kind(offered, kind)) {
                for (index, places) in taker.iter().zip(offer) {
                    places.iter().for_each(|at| homes[*at] = index.first().copied());
                }
            }
        }
    }
    homes
}

/// What the plan asks the kernel for.
fn asked(plan: &PlanEndpoints) -> Chosen<u64> {
    let mut asked: Chosen<u64> = BTreeMap::new();
    for index in plan.ephemeral() {
        let Some((_, Endpoint { protocol, address, port: Port::Ephemeral(ordinal) })) =
            plan.get(index)
        else {
            continue;
        };
        let halves = asked.entry(address).or_default().entry(ordinal).or_default();
        halves[half(protocol)].push(index);
    }
    asked
}

fn of_kind<T>(all: &BTreeMap<u32, Halves<T>>, kind: [bool; 2]) -> impl Iterator<Item = &Halves<T>> {
    all.values().filter(move |halves| [!halves[0].is_empty(), !halves[1].is_empty()] == kind)
}

const fn half(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Tcp => 0,
        Protocol::Udp => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{build, machine::Machine};
    use super::*;
    use crate::config::{Group, ListenSettings};
    use crate::spec::Spec;

    fn plan(specs: &[&str]) -> PlanEndpoints {
        let specs = specs.iter().map(|text| Spec::parse(text).expect("a spec")).collect();
        let group = Group { name: "lab".to_owned(), specs, settings: ListenSettings::default() };
        build(&[group], &[], 1_000, &Machine).expect("a plan")
    }

    fn arrival(protocol: Protocol, number: u16, ordinal: Option<u32>) -> Arrival {
        let address = std::net::IpAddr::from([127, 0, 0, 1]).into();
        Arrival { endpoint: Endpoint { protocol, address, port: Port::Number(number) }, ordinal }
    }

    /// The arrivals' endpoints in the plan, as they are written there.
    fn at_home(plan: &PlanEndpoints, arrivals: &[Arrival]) -> Vec<Option<Endpoint>> {
        let homes = homes(plan, arrivals);
        homes.into_iter().map(|home| Some(plan.get(home?)?.1)).collect()
    }

    #[test]
    fn a_number_goes_to_the_endpoint_that_the_plan_names() {
        let plan = plan(&["127.0.0.1:8000-8001"]);
        let arrivals = [
            arrival(Protocol::Tcp, 8001, None),
            arrival(Protocol::Udp, 8000, None),
            arrival(Protocol::Tcp, 8001, None),
            arrival(Protocol::Tcp, 9000, None),
        ];
        let home = plan.index_of(&arrivals[0].endpoint);
        assert!(home.is_some());
        assert_eq!(homes(&plan, &arrivals), [home, None, home, None]);
    }

    #[test]
    fn numbers_of_the_kernel_go_to_those_who_ask_in_the_order_in_which_they_asked() {
        let plan = plan(&["127.0.0.1:0x3"]);
        // The old plan had one endpoint before these, and two more.
        let arrivals: Vec<_> = [(40_007, 4), (40_001, 1), (40_009, 2), (40_003, 3)]
            .into_iter()
            .map(|(number, ordinal)| arrival(Protocol::Tcp, number, Some(ordinal)))
            .collect();
        let found = homes(&plan, &arrivals);
        let order: Vec<_> = plan.ephemeral().map(Some).collect();
        assert_eq!(found, [None, order[0], order[1], order[2]]);
    }

    #[test]
    fn the_halves_of_a_pair_get_one_number_and_a_single_socket_is_no_half() {
        let plan = plan(&["both://127.0.0.1:0", "udp://127.0.0.1:0"]);
        let arrivals = [
            arrival(Protocol::Udp, 40_000, Some(9)),
            arrival(Protocol::Tcp, 40_001, Some(11)),
            arrival(Protocol::Udp, 40_001, Some(11)),
            arrival(Protocol::Tcp, 40_002, Some(12)),
        ];
        let found = at_home(&plan, &arrivals);
        let [Some(single), Some(tcp), Some(udp), None] = found[..] else { panic!("{found:?}") };
        assert_eq!(
            (tcp.protocol, udp.protocol, tcp.port),
            (Protocol::Tcp, Protocol::Udp, udp.port)
        );
        assert_ne!(single.port, udp.port);
    }

    #[test]
    fn a_number_that_the_kernel_chose_may_be_named_by_the_new_plan() {
        let plan = plan(&["127.0.0.1:40001", "127.0.0.1:0"]);
        let arrivals =
            [arrival(Protocol::Tcp, 40_001, Some(0)), arrival(Protocol::Tcp, 40_002, None)];
        assert_eq!(at_home(&plan, &arrivals), [Some(arrivals[0].endpoint), None]);
    }
}
