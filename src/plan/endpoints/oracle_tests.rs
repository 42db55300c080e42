//! Plans of a small universe against a naive set of endpoints.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::machine::Machine;
use super::tests::group;
use super::*;
use crate::config::Mode;
use crate::spec::{Address, Port, compress};

/// A spec as numbers: addresses 0 to 5 are IPv4, 6 to 11 IPv6.
#[derive(Debug, Clone)]
struct Naive {
    exclusion: bool,
    protocols: Vec<Protocol>,
    addresses: Vec<(bool, u8, u8)>,
    ports: Vec<(bool, u16, u16)>,
}

const FIRST_V6: u8 = 6;
const LAST: u8 = 11;

fn address(number: u8) -> Address {
    let text = match number {
        0..FIRST_V6 => format!("10.0.0.{}", 250 + number),
        _ => format!("2001:db8::{:x}", u32::from(number - FIRST_V6) + 0xfffa),
    };
    Address::new(text.parse().expect("an address"))
}

impl Naive {
    fn text(&self) -> String {
        let mark = |excluded| if excluded { "!" } else { "" };
        let protocol = match self.protocols[..] {
            [Protocol::Tcp] => "tcp",
            [Protocol::Udp] => "udp",
            _ => "both",
        };
        let addresses: Vec<String> = self
            .addresses
            .iter()
            .map(|&(excluded, first, last)| {
                let range = if first == last {
                    address(first).to_string()
                } else {
                    format!("{}-{}", address(first), address(last))
                };
                format!("{}{range}", mark(excluded))
            })
            .collect();
        let ports: Vec<String> = self
            .ports
            .iter()
            .map(|(excluded, first, last)| format!("{}{first}-{last}", mark(*excluded)))
            .collect();
        format!("{}{protocol}://{}:{}", mark(self.exclusion), addresses.join(","), ports.join(","))
    }

    /// Every endpoint, with how often it is mentioned.
    fn mentions(&self) -> BTreeMap<Endpoint, u64> {
        let mut found = BTreeMap::new();
        for &protocol in &self.protocols {
            for at in 0..=LAST {
                for port in 1..=12 {
                    let count = times(&self.addresses, at) * times(&self.ports, port);
                    let port = Port::Number(port);
                    if count > 0 {
                        found.insert(Endpoint { protocol, address: address(at), port }, count);
                    }
                }
            }
        }
        found
    }
}

fn times<T: Copy + PartialOrd>(items: &[(bool, T, T)], number: T) -> u64 {
    let covering = || items.iter().filter(|(_, first, last)| *first <= number && number <= *last);
    if covering().any(|item| item.0) { 0 } else { covering().map(|_| 1).sum() }
}

fn naive() -> impl Strategy<Value = Naive> {
    let family = prop_oneof![Just((0, FIRST_V6 - 1)), Just((FIRST_V6, LAST))];
    let addresses = family.prop_flat_map(|(low, high)| (low..=high, low..=high));
    let addresses = addresses.prop_map(|(a, b)| (a.min(b), a.max(b)));
    let ports = (1_u16..=12, 1_u16..=12).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let signed = |excluded, (first, last)| (excluded, first, last);
    let signed_port = |excluded, (first, last)| (excluded, first, last);
    let protocols = prop::sample::select(vec![
        vec![Protocol::Tcp],
        vec![Protocol::Udp],
        vec![Protocol::Tcp, Protocol::Udp],
    ]);
    (
        prop::bool::weighted(0.3),
        protocols,
        (addresses.clone(), prop::collection::vec((prop::bool::weighted(0.4), addresses), 0..4)),
        (ports.clone(), prop::collection::vec((prop::bool::weighted(0.4), ports), 0..4)),
        any::<prop::sample::Index>(),
    )
        .prop_map(move |(exclusion, protocols, addresses, ports, at)| {
            let mut list: Vec<_> = addresses.1.into_iter().map(|(e, r)| signed(e, r)).collect();
            list.insert(at.index(list.len() + 1), signed(false, addresses.0));
            let mut port_list: Vec<_> =
                ports.1.into_iter().map(|(e, r)| signed_port(e, r)).collect();
            port_list.insert(at.index(port_list.len() + 1), signed_port(false, ports.0));
            Naive { exclusion, protocols, addresses: list, ports: port_list }
        })
}

/// Each group's endpoints, how many mentions were merged, and whether two
/// groups of different modes meet.
fn oracle(groups: &[(Mode, Vec<Naive>)]) -> (Vec<BTreeSet<Endpoint>>, u64, bool) {
    let all = || groups.iter().flat_map(|(_, specs)| specs);
    let removed: BTreeSet<Endpoint> =
        all().filter(|spec| spec.exclusion).flat_map(|spec| spec.mentions().into_keys()).collect();
    let mut owner: BTreeMap<Endpoint, usize> = BTreeMap::new();
    let (mut mentions, mut clash) = (0, false);
    for (index, (mode, specs)) in groups.iter().enumerate() {
        for (endpoint, count) in
            specs.iter().filter(|spec| !spec.exclusion).flat_map(Naive::mentions)
        {
            if !removed.contains(&endpoint) {
                mentions += count;
                clash |= groups[*owner.entry(endpoint).or_insert(index)].0 != *mode;
            }
        }
    }
    let mut sets = vec![BTreeSet::new(); groups.len()];
    let merged = mentions - u64::try_from(owner.len()).expect("a small universe");
    owner.into_iter().for_each(|(endpoint, group)| _ = sets[group].insert(endpoint));
    (sets, merged, clash)
}

fn check_lookup(plan: &PlanEndpoints, all: &[(usize, Endpoint)]) -> Result<(), TestCaseError> {
    let len = u64::try_from(all.len()).expect("a small universe");
    prop_assert_eq!(plan.len(), len);
    for (index, expected) in (0..).zip(all) {
        prop_assert_eq!(plan.get(index), Some(*expected));
        prop_assert_eq!(plan.index_of(&expected.1), Some(index));
    }
    prop_assert_eq!(plan.get(len), None);
    for protocol in Protocol::ALL {
        let expected = all.iter().filter(|(_, found)| found.protocol == protocol).count();
        prop_assert_eq!(usize::try_from(plan.count(protocol)).expect("small"), expected);
        for (at, port) in (0..=LAST).flat_map(|at| (1..=13).map(move |port| (at, port))) {
            let port = Port::Number(port);
            let endpoint = Endpoint { protocol, address: address(at), port };
            let present = all.iter().any(|(_, found)| *found == endpoint);
            prop_assert_eq!(plan.index_of(&endpoint).is_some(), present);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_plan_holds_exactly_what_a_naive_set_holds(
        specs in prop::collection::vec(
            (prop::bool::weighted(0.15), prop::collection::vec(naive(), 1..4)),
            1..4,
        ),
        cut in any::<(prop::sample::Index, prop::sample::Index)>(),
    ) {
        let mode = |discard| if discard { Mode::Discard } else { Mode::Echo };
        let specs: Vec<_> = specs.into_iter().map(|(discard, list)| (mode(discard), list)).collect();
        let groups: Vec<_> = specs
            .iter()
            .enumerate()
            .map(|(index, (mode, list))| {
                let texts: Vec<String> = list.iter().map(Naive::text).collect();
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                group(&format!("g{index}"), &texts, *mode)
            })
            .collect();
        let (sets, merged, clash) = oracle(&specs);
        let void = specs.iter().flat_map(|(_, list)| list).any(|spec| spec.mentions().is_empty());
        let plan = match build(&groups, &[], 1_000_000, &Machine) {
            Ok(plan) => plan,
            Err(error) => {
                let empty = sets.iter().all(BTreeSet::is_empty);
                prop_assert!(void || empty || clash, "{error}");
                return Ok(());
            }
        };
        prop_assert!(!clash && !void);
        let all: Vec<(usize, Endpoint)> = sets
            .iter()
            .enumerate()
            .flat_map(|(group, set)| set.iter().map(move |endpoint| (group, *endpoint)))
            .collect();
        prop_assert_eq!(plan.iter().collect::<Vec<_>>(), all.clone());
        prop_assert_eq!(plan.duplicates(), merged);
        check_lookup(&plan, &all)?;
        let (from, to) = (cut.0.index(all.len() + 1), cut.1.index(all.len() + 1));
        let (from, to) = (from.min(to), from.max(to));
        let slice = plan.range(from as u64..to as u64);
        prop_assert_eq!(slice.collect::<Vec<_>>(), &all[from..to]);
        for (planned, set) in plan.groups().iter().zip(&sets) {
            let addresses: BTreeSet<_> = set.iter().map(|endpoint| endpoint.address).collect();
            let ports: BTreeSet<_> = set.iter().map(|endpoint| endpoint.port).collect();
            prop_assert_eq!(planned.set.address_count(), addresses.len() as u64);
            prop_assert_eq!(planned.set.port_count(), ports.len() as u64);
            let slabs: u64 = planned.set.slabs().iter().map(crate::spec::Slab::len).sum();
            prop_assert_eq!(slabs, planned.set.len());
        }
    }

    #[test]
    fn a_compressed_list_is_bounded_and_leaves_no_endpoint_uncounted(
        ports in prop::collection::btree_set((0_u8..=LAST, 1_u16..40), 0..200),
        max_len in 20_usize..300,
    ) {
        let endpoints = ports.iter().map(|&(at, port)| Endpoint {
            protocol: Protocol::Tcp,
            address: address(at),
            port: Port::Number(port),
        });
        let text = compress(endpoints.clone(), max_len);
        prop_assert!(text.len() <= max_len + 40, "{}", text);
        let unbounded = compress(endpoints, 100_000);
        prop_assert!(!unbounded.contains('…'), "{}", unbounded);
        let count = |text: &str| -> u64 {
            let (list, more) = text.split_once("… and ").unwrap_or((text, "0 more"));
            let more: u64 = more.trim_end_matches(" more").parse().expect("a count");
            more + list.split(", ").filter(|entry| !entry.trim().is_empty()).map(written).sum::<u64>()
        };
        prop_assert_eq!(count(&text), ports.len() as u64);
        prop_assert_eq!(count(&unbounded), ports.len() as u64);
    }
}

/// How many endpoints an entry of a compressed list stands for.
fn written(entry: &str) -> u64 {
    let (addresses, ports) = entry.trim().rsplit_once(':').expect("addresses and ports");
    let number =
        |text: &str| (0..=LAST).find(|at| address(*at).to_string() == text).expect("known");
    let addresses = match addresses.split_once('-') {
        Some((first, last)) => u64::from(number(last) - number(first)) + 1,
        None => 1,
    };
    let port = |text: &str| text.parse::<u64>().expect("a port");
    let ports = ports.trim_matches(['{', '}']).split(',').filter(|run| *run != "…");
    let ports = ports.map(|run| run.split_once('-').map_or(1, |(a, b)| port(b) - port(a) + 1));
    addresses * ports.sum::<u64>()
}
