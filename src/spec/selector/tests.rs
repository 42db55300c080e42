//! Selectors: their faults, and what they name against a naive oracle.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::config::{Group, ListenSettings};
use crate::plan::endpoints::{PlanEndpoints, build};
use crate::spec::{Port, compress};

/// A machine of which nothing is known but one interface.
struct Bare;

impl Resolver for Bare {
    fn interface(&self, _name: &str) -> Result<Vec<Address>, String> {
        let zone = Zone::new("eth0", 2).ok_or("no zone")?;
        Ok(vec![Address::with_zone("fe80::7".parse().map_err(|_| "no address")?, zone)])
    }
    fn host(&self, _name: &str) -> Result<Vec<IpAddr>, String> {
        Err("nobody answers".to_owned())
    }
    fn file(&self, _path: &str) -> Result<String, String> {
        Ok("10.0.0.1\n".to_owned())
    }
    fn zone(&self, _name: &str) -> Option<u32> {
        Some(9)
    }
    fn ports_in_use(&self, _protocol: Protocol) -> Result<Vec<u16>, String> {
        Ok(vec![3])
    }
    fn ephemeral_ports(&self) -> Result<(u16, u16), String> {
        Ok((5, 6))
    }
}

fn plan(groups: &[(&str, &str)]) -> PlanEndpoints {
    let group = |(name, specs): &(&str, &str)| Group {
        name: (*name).to_owned(),
        specs: specs.split(' ').map(|spec| Spec::parse(spec).expect("a spec")).collect(),
        settings: ListenSettings::default(),
    };
    let groups: Vec<_> = groups.iter().map(group).collect();
    build(&groups, &[], 1_000_000, &Bare).expect("a plan")
}

/// Chunks of four; every third endpoint is quarantined; port 0 got 40000 and more.
fn candidate(plan: &PlanEndpoints, index: u64) -> Candidate<'_> {
    let (group, endpoint) = plan.get(index).expect("an endpoint");
    let quarantined = index.is_multiple_of(3);
    let number = match endpoint.port {
        Port::Ephemeral(ordinal) => 40_000 + u16::try_from(ordinal).expect("few"),
        Port::Number(number) => number,
    };
    Candidate {
        endpoint,
        number,
        group: &plan.groups()[group].name,
        chunk: ChunkId(u32::try_from(index / 4).expect("few") + 1),
        state: if quarantined { EndpointState::Quarantined } else { EndpointState::Listening },
    }
}

fn zones(plan: &PlanEndpoints) -> Vec<Zone> {
    let slabs = plan.groups().iter().flat_map(|group| group.set.slabs());
    slabs.filter_map(|slab| slab.first().zone()).collect()
}

/// The indices that are named, found by stepping.
fn named(plan: &PlanEndpoints, text: &str) -> Vec<u64> {
    let selector = Selector::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let selection = selector.resolve(&Bare, zones(plan)).expect("it resolves");
    let (mut found, mut from) = (Vec::new(), 0);
    while let Some(index) = selection.next_in(plan, from) {
        assert!(index >= from && index < plan.len(), "{text}: {index} after {from}");
        if selection.names(&candidate(plan, index)) {
            found.push(index);
        }
        from = index + 1;
    }
    found
}

fn shown_list(plan: &PlanEndpoints, text: &str) -> String {
    let endpoints = named(plan, text).into_iter().map(|index| {
        let found = candidate(plan, index);
        found.endpoint.with_port(found.number)
    });
    compress(endpoints, 500)
}

fn fault(text: &str) -> (String, String) {
    let error = Selector::parse(text).expect_err("a fault");
    (error.caret(), format!("{error}; {}", error.help.clone().unwrap_or_default()))
}

#[test]
fn a_star_stands_for_any_part() {
    let plan = plan(&[("lab", "both://10.0.0.1-10.0.0.2:1-3 tcp://[::1]:2")]);
    assert_eq!(named(&plan, "*"), (0..13).collect::<Vec<_>>());
    assert_eq!(named(&plan, "*://*:*"), (0..13).collect::<Vec<_>>());
    assert_eq!(shown_list(&plan, "*:2"), "10.0.0.1-10.0.0.2:2, [::1]:2");
    assert_eq!(shown_list(&plan, "udp://10.0.0.2:*"), "udp://10.0.0.2:1-3");
    assert_eq!(shown_list(&plan, "both://10.0.0.0/30,!10.0.0.1:3"), "10.0.0.2:3, udp://10.0.0.2:3");
}

#[test]
fn without_a_protocol_tcp_is_meant_as_in_a_spec() {
    let plan = plan(&[("lab", "both://10.0.0.1:1")]);
    assert_eq!(shown_list(&plan, "10.0.0.1:1"), "10.0.0.1:1");
}

#[test]
fn chunks_groups_and_states_are_named() {
    let plan = plan(&[("lab", "10.0.0.1:1-6"), ("web", "10.0.0.1:7-9")]);
    assert_eq!(named(&plan, "chunk:2"), [4, 5, 6, 7]);
    assert_eq!(named(&plan, "chunk:99"), [0; 0]);
    assert_eq!(named(&plan, "group:web"), [6, 7, 8]);
    assert_eq!(named(&plan, "group:lost"), [0; 0]);
    assert_eq!(named(&plan, " state:quarantined "), [0, 3, 6]);
}

#[test]
fn a_port_of_the_kernel_s_choice_is_named_by_its_number_and_by_zero() {
    let plan = plan(&[("lab", "10.0.0.1:0x3,80")]);
    assert_eq!(named(&plan, "10.0.0.1:40001"), [1]);
    assert_eq!(named(&plan, "*:0"), [0, 1, 2]);
    assert_eq!(named(&plan, "*:*"), [0, 1, 2, 3]);
    assert_eq!(named(&plan, "*:*,!40001"), [0, 2, 3]);
    assert_eq!(named(&plan, "*:1-100"), [3]);
}

#[test]
fn an_address_without_a_zone_is_named_in_every_zone() {
    let plan = plan(&[("lab", "if:eth0:80")]);
    for text in ["[fe80::/10]:80", "if:eth0:*", "[fe80::7%eth0]:80", "*:80"] {
        assert_eq!(named(&plan, text), [0], "{text}");
    }
    assert_eq!(named(&plan, "*,![fe80::7%eth0]:80"), [0; 0]);
}

#[test]
fn files_and_ports_that_the_machine_knows_are_looked_up() {
    let plan = plan(&[("lab", "10.0.0.1-10.0.0.2:1-9")]);
    assert_eq!(shown_list(&plan, "@list:in-use,ephemeral"), "10.0.0.1:{3,5,6}");
    let selector = Selector::parse("gone.example:1").expect("a selector");
    assert!(selector.resolve(&Bare, []).is_err());
}

#[test]
fn faults_have_a_caret_and_a_hint() {
    let (caret, text) = fault("state:listning");
    assert_eq!(caret, "state:listning\n      ^^^^^^^^");
    assert!(text.contains("pending, listening"), "{text}");
    for (text, hint) in [
        ("", "group:NAME"),
        ("!tcp://*:80", "leave something out"),
        ("chunk:0", "from 1"),
        ("chunk:", "from 1"),
        ("group:Lab", "a-z"),
        ("127.0.0.1", "PORTS"),
        ("tcp://127.0.0.1/8:80", "the network is"),
        ("sctp://*:80", "tcp, udp or both"),
        ("*:!0", "kernel"),
    ] {
        let (_, message) = fault(text);
        assert!(message.contains(hint), "{text}: {message}");
    }
}

#[test]
fn one_of_a_million_is_found_without_looking_at_the_others() {
    let plan = plan(&[("lab", "both://10.0.0.0-10.0.1.243:8000-8999")]);
    let selector = Selector::parse("udp://10.0.1.7:8500").expect("a selector");
    let selection = selector.resolve(&Bare, []).expect("it resolves");
    let found = selection.next_in(&plan, 0).expect("it is there");
    assert!(selection.names(&candidate(&plan, found)));
    assert_eq!(selection.next_in(&plan, found + 1), None);
}

/// Lists of addresses and ports with their exclusions, as they are written.
#[derive(Debug, Clone)]
struct Naive {
    protocol: &'static str,
    addresses: Vec<(bool, u8, u8)>,
    ports: Vec<(bool, u16, u16)>,
}

impl Naive {
    fn text(&self) -> String {
        let mark = |excluded: bool| if excluded { "!" } else { "" };
        let address = |(excluded, first, last): &(bool, u8, u8)| {
            format!("{}10.0.0.{first}-10.0.0.{last}", mark(*excluded))
        };
        let port = |(excluded, first, last): &(bool, u16, u16)| match (*first, *last) {
            (1, u16::MAX) => format!("{}*", mark(*excluded)),
            _ => format!("{}{first}-{last}", mark(*excluded)),
        };
        let addresses: Vec<_> = self.addresses.iter().map(address).collect();
        let ports: Vec<_> = self.ports.iter().map(port).collect();
        format!("{}{}:{}", self.protocol, addresses.join(","), ports.join(","))
    }

    fn names(&self, candidate: &Candidate<'_>) -> bool {
        let IpAddr::V4(ip) = candidate.endpoint.address.ip() else { return false };
        let host = ip.octets()[3];
        let among = |items: &[(bool, u16, u16)], number: u16| {
            let meant = |wanted: bool| {
                items.iter().any(|(excluded, first, last)| {
                    *excluded == wanted && (*first..=*last).contains(&number)
                })
            };
            meant(false) && !meant(true)
        };
        let hosts: Vec<_> = self
            .addresses
            .iter()
            .map(|(no, low, high)| (*no, (*low).into(), (*high).into()))
            .collect();
        let protocol = match self.protocol {
            "" | "tcp://" => candidate.endpoint.protocol == Protocol::Tcp,
            "udp://" => candidate.endpoint.protocol == Protocol::Udp,
            _ => true,
        };
        protocol && among(&hosts, host.into()) && among(&self.ports, candidate.number)
    }
}

fn naive() -> impl Strategy<Value = Naive> {
    let addresses = (any::<bool>(), 1..9_u8, 0..4_u8);
    let addresses = addresses.prop_map(|(excluded, first, more)| (excluded, first, first + more));
    let ports = prop_oneof![
        3 => (any::<bool>(), 1..12_u16, 0..4_u16).prop_map(|(no, first, more)| (no, first, first + more)),
        1 => (any::<bool>(), 40_000..40_003_u16).prop_map(|(no, port)| (no, port, port)),
        1 => Just((false, 1, u16::MAX)),
    ];
    let protocol = prop::sample::select(vec!["", "tcp://", "udp://", "both://", "*://"]);
    let (addresses, ports) =
        (prop::collection::vec(addresses, 1..5), prop::collection::vec(ports, 1..5));
    (protocol, addresses, ports).prop_map(|(protocol, mut addresses, mut ports)| {
        // A list that only excludes is a fault.
        addresses[0].0 = false;
        ports[0].0 = false;
        Naive { protocol, addresses, ports }
    })
}

proptest! {
    #[test]
    fn what_is_named_is_what_the_words_say(naive in naive()) {
        let plan = plan(&[
            ("lab", "both://10.0.0.1-10.0.0.7,!10.0.0.4:1-9,!5"),
            ("web", "tcp://10.0.0.4,10.0.0.9:0x3,5,11 udp://10.0.0.11:2-3"),
        ]);
        let text = naive.text();
        let expected: Vec<u64> =
            (0..plan.len()).filter(|index| naive.names(&candidate(&plan, *index))).collect();
        let emptied = Selector::parse(&text).expect("legal").resolve(&Bare, []).is_err();
        prop_assert!(!emptied || expected.is_empty());
        if !emptied {
            prop_assert_eq!(named(&plan, &text), expected, "{}", text);
        }
    }
}
