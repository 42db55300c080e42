//! Claims about plans: what is served, in which order, and what is refused.

use std::net::IpAddr;

use super::machine::Machine;
use super::*;
use crate::config::{Group, Mode};
use crate::spec::{Port, Spec};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub(super) fn group(name: &str, specs: &[&str], mode: Mode) -> Group {
    Group {
        name: name.to_owned(),
        specs: specs.iter().map(|text| Spec::parse(text).expect("a good spec")).collect(),
        settings: ListenSettings { mode, termination: Vec::new(), ..ListenSettings::default() },
    }
}

fn plan_of(groups: &[Group], excludes: &[&str]) -> Result<PlanEndpoints, PlanError> {
    let excludes: Vec<_> =
        excludes.iter().map(|text| Spec::parse(text).expect("a good spec")).collect();
    build(groups, &excludes, 1_000_000, &Machine)
}

fn plan(specs: &[&str]) -> Result<PlanEndpoints, PlanError> {
    plan_of(&[group("cli", specs, Mode::Echo)], &[])
}

fn listed(specs: &[&str]) -> Vec<String> {
    plan(specs).expect("a plan").iter().map(|(_, endpoint)| endpoint.to_string()).collect()
}

fn refused(specs: &[&str]) -> PlanError {
    plan(specs).expect_err("no plan")
}

/// What the caret marks, and the spec it stands in.
fn marked(error: &PlanError) -> (SpecPlace, String) {
    let (place, error) = error.spec().expect("a spec at fault");
    (place, error.text[error.span.clone()].to_owned())
}

const fn first_group(spec: usize) -> SpecPlace {
    SpecPlace::Group { group: 0, spec }
}

#[test]
fn the_examples_of_the_contract_have_the_counts_it_states() {
    let plan = |spec| plan(&[spec]).expect("a plan");
    let small = plan("tcp://127.0.0.0/29,!127.0.0.3:8000-8010,!8005");
    assert_eq!(small.len(), 70);
    let set = &small.groups()[0].set;
    assert_eq!((set.address_count(), set.port_count()), (7, 10));
    let large = plan("both://127.0.1.0/29,!127.0.1.3:18000-18999,!18500");
    assert_eq!(large.len(), 13_986);
    assert_eq!((large.count(Protocol::Tcp), large.count(Protocol::Udp)), (6_993, 6_993));
    let machine = plan("tcp://*:*,!22,!in-use,!ephemeral");
    assert_eq!(machine.len(), 2 * (65_535 - 2 - 28_232));
}

#[test]
fn endpoints_are_ordered_by_group_protocol_address_and_port() {
    let groups = [
        group("b", &["both://10.0.0.2,10.0.0.1:2,1"], Mode::Echo),
        group("a", &["tcp://[::1],10.0.0.1:9"], Mode::Discard),
    ];
    let plan = plan_of(&groups, &[]).expect("a plan");
    let all: Vec<String> = plan.iter().map(|(group, found)| format!("{group} {found}")).collect();
    assert_eq!(
        all,
        [
            "0 tcp://10.0.0.1:1",
            "0 tcp://10.0.0.1:2",
            "0 tcp://10.0.0.2:1",
            "0 tcp://10.0.0.2:2",
            "0 udp://10.0.0.1:1",
            "0 udp://10.0.0.1:2",
            "0 udp://10.0.0.2:1",
            "0 udp://10.0.0.2:2",
            "1 tcp://10.0.0.1:9",
            "1 tcp://[::1]:9",
        ]
    );
}

#[test]
fn what_only_the_machine_knows_is_asked_when_the_plan_is_made() {
    assert_eq!(listed(&["if:eth0:80"]), ["tcp://10.0.0.7:80", "tcp://[fe80::7%eth0]:80"]);
    assert_eq!(listed(&["[fe80::1%eth0]:80"]), ["tcp://[fe80::1%eth0]:80"]);
    assert_eq!(listed(&["udp://LAB.example:80"]), ["udp://10.0.0.9:80", "udp://[::9]:80"]);
    assert_eq!(
        listed(&["@good:80"]),
        [
            "tcp://10.0.0.0:80",
            "tcp://10.0.0.1:80",
            "tcp://10.0.0.3:80",
            "tcp://10.0.0.9:80",
            "tcp://[::1]:80",
            "tcp://[::9]:80"
        ]
    );
    assert_eq!(listed(&["10.0.0.1:in-use"]), ["tcp://10.0.0.1:22", "tcp://10.0.0.1:80"]);
    assert_eq!(plan(&["10.0.0.1:ephemeral"]).expect("a plan").len(), 28_232);
    let hosts = plan(&["lab.example:80"]).expect("a plan").hosts().clone();
    assert_eq!(hosts.get("lab.example"), Some(&vec![ip("10.0.0.9"), ip("::9")]));
}

#[test]
fn exclusions_win_in_any_order_and_from_anywhere() {
    let groups = [
        group("a", &["!10.0.0.1:80", "both://10.0.0.0/30:80-81"], Mode::Echo),
        group("b", &["[::1]:80", "!both://10.0.0.0-10.0.0.1:81"], Mode::Discard),
    ];
    let plan = plan_of(&groups, &["both://10.0.0.3:80-81", "!udp://10.0.0.2:80"]).expect("a plan");
    let all: Vec<String> = plan.iter().map(|(_, found)| found.to_string()).collect();
    assert_eq!(
        all,
        [
            "tcp://10.0.0.0:80",
            "tcp://10.0.0.2:80",
            "tcp://10.0.0.2:81",
            "udp://10.0.0.0:80",
            "udp://10.0.0.1:80",
            "udp://10.0.0.2:81",
            "tcp://[::1]:80",
        ]
    );
}

#[test]
fn an_excluded_wildcard_means_every_address_of_every_zone() {
    assert_eq!(
        listed(&["if:eth0,10.0.0.1:22,80", "!*:22"]),
        ["tcp://10.0.0.1:80", "tcp://10.0.0.7:80", "tcp://[fe80::7%eth0]:80"]
    );
    assert_eq!(listed(&["if:eth0,![fe80::/10]:80"]), ["tcp://10.0.0.7:80"]);
    assert_eq!(listed(&["if:eth0:80", "![fe80::/10]:80"]), ["tcp://10.0.0.7:80"]);
}

#[test]
fn duplicates_are_merged_and_counted() {
    for (specs, len, duplicates) in [
        (&["10.0.0.1,10.0.0.1:80"][..], 1, 1),
        (&["10.0.0.1,10.0.0.0/30:80,70-90"], 84, 26),
        (&["10.0.0.1:80", "10.0.0.1:80", "10.0.0.1:80"], 1, 2),
        (&["10.0.0.1-10.0.0.5:80", "10.0.0.3-10.0.0.9:79-80"], 16, 3),
        (&["10.0.0.1:80", "udp://10.0.0.1:80"], 2, 0),
        (&["10.0.0.1,10.0.0.1:80-81", "!10.0.0.1:80"], 1, 1),
    ] {
        let plan = plan(specs).expect("a plan");
        assert_eq!((plan.len(), plan.duplicates()), (len, duplicates), "{specs:?}");
    }
}

#[test]
fn groups_with_the_same_settings_share_and_the_first_keeps() {
    let groups = [
        group("a", &["10.0.0.1:80"], Mode::Echo),
        group("b", &["10.0.0.1-10.0.0.2:80"], Mode::Echo),
        group("c", &["10.0.0.1:80"], Mode::Echo),
    ];
    let plan = plan_of(&groups, &[]).expect("a plan");
    let lens: Vec<_> = plan.groups().iter().map(|group| group.set.len()).collect();
    assert_eq!(lens, [1, 1, 0]);
    assert_eq!(plan.duplicates(), 2);
    assert_eq!(plan.get(1).map(|(group, _)| group), Some(1));
    assert_eq!(plan.get(2), None);
}

#[test]
fn groups_with_different_settings_do_not_overlap() {
    let groups = [
        group("a", &["10.0.0.1-10.0.0.9:70-80"], Mode::Echo),
        group("b", &["10.0.0.5:80-90"], Mode::Discard),
    ];
    let error = plan_of(&groups, &[]).expect_err("an overlap").to_string();
    assert!(error.contains("`a`") && error.contains("`b`"), "{error}");
    assert!(error.contains("tcp://10.0.0.5:80"), "{error}");
    assert!(plan_of(&groups, &["10.0.0.5:80"]).is_ok());
}

#[test]
fn ports_of_the_kernels_choice_are_never_merged() {
    let plan = plan(&["10.0.0.1:0", "10.0.0.1:0", "10.0.0.1:0x3,80"]).expect("a plan");
    assert_eq!((plan.len(), plan.duplicates()), (6, 0));
    let ports: Vec<Port> = plan.iter().map(|(_, endpoint)| endpoint.port).collect();
    assert_eq!(ports[4], Port::Ephemeral(4));
    assert_eq!(ports[5], Port::Number(80));
    for index in 0..6 {
        assert_eq!(plan.partner(index), None);
    }
}

#[test]
fn both_protocols_of_a_port_zero_spec_are_partners() {
    let plan = plan(&["tcp://10.0.0.1:0", "both://10.0.0.1-10.0.0.2:0x2", "udp://10.0.0.1:0"])
        .expect("a plan");
    assert_eq!(plan.len(), 10);
    let partners: Vec<_> = (0..10).map(|index| plan.partner(index)).collect();
    assert_eq!(
        partners,
        [None, Some(5), Some(6), Some(8), Some(9), Some(1), Some(2), None, Some(3), Some(4)]
    );
    for index in (0..10).filter(|index| plan.partner(*index).is_some()) {
        let (_, endpoint) = plan.get(index).expect("an endpoint");
        let (_, partner) = plan.get(plan.partner(index).expect("a partner")).expect("an endpoint");
        assert_eq!((endpoint.address, endpoint.port), (partner.address, partner.port));
    }
}

#[test]
fn a_wildcard_and_an_address_do_not_share_a_port() {
    for specs in [
        &["*:80", "10.0.0.1:80"][..],
        &["0.0.0.0:70-90", "10.0.0.1:80-81"],
        &["[::],[::1]:80"],
        &["[::]:80", "[fe80::1%eth0]:80"],
        &["0.0.0.0/30:80"],
    ] {
        let error = refused(specs).to_string();
        assert!(error.contains(":80") && error.contains("every address"), "{specs:?}: {error}");
    }
    for specs in [
        &["*:80", "10.0.0.1:81"][..],
        &["tcp://*:80", "udp://10.0.0.1:80"],
        &["0.0.0.0:80", "[::1]:80"],
        &["0.0.0.0:0", "10.0.0.1:0"],
        &["*:80", "10.0.0.1:80-81", "!10.0.0.1:80"],
    ] {
        assert!(plan(specs).is_ok(), "{specs:?}");
    }
}

#[test]
fn an_exclusion_that_leaves_nothing_is_named() {
    for (specs, place, token) in [
        (&["10.0.0.1,!10.0.0.2,!10.0.0.0/24,!10.0.0.9:80"][..], first_group(0), "!10.0.0.0/24"),
        (&["10.0.0.1:80-90,!80,!81-90"], first_group(0), "!81-90"),
        (&["10.0.0.1:22,!in-use"], first_group(0), "!in-use"),
        (&["!10.0.0.0:80", "10.0.0.0/31:80", "!10.0.0.1:80"], first_group(2), "!10.0.0.1:80"),
        (&["10.0.0.1:80", "!10.0.0.1:80", "!udp://*:*"], first_group(1), "!10.0.0.1:80"),
    ] {
        assert_eq!(marked(&refused(specs)), (place, token.to_owned()), "{specs:?}");
    }
    let error = plan_of(&[group("a", &["10.0.0.1:80"], Mode::Echo)], &["[::1]:1", "*:*"]);
    let (place, token) = marked(&error.expect_err("nothing left"));
    assert_eq!((place, token.as_str()), (SpecPlace::Exclude(1), "*:*"));
}

#[test]
fn a_plan_needs_a_spec_that_does_not_exclude() {
    assert_eq!(marked(&refused(&["!10.0.0.1:80"])).0, first_group(0));
    assert!(plan(&[]).is_err());
    assert!(plan_of(&[], &[]).is_err());
}

#[test]
fn a_name_that_the_machine_does_not_know_is_marked() {
    for (spec, token, word) in [
        ("10.0.0.1,nowhere.example:80", "nowhere.example", "not known"),
        ("if:eth9:80", "if:eth9", "there is none"),
        ("10.0.0.1,!if:eth9:80", "!if:eth9", "there is none"),
        ("if:bare:80", "if:bare", "no address"),
        ("[fe80::1%eth9]:80", "[fe80::1%eth9]", "eth9"),
        ("@missing:80", "@missing", "there is none"),
        ("@bad:80", "@bad", "line 2"),
        ("@nested:80", "@nested", "inside a file"),
        ("@empty:80", "@empty", "no address"),
        ("10.0.0.1,!@good:80", "!@good", "excludes itself"),
        ("udp://10.0.0.1:in-use", "in-use", "no port"),
    ] {
        let error = refused(&[spec]);
        assert_eq!(marked(&error), (first_group(0), token.to_owned()), "{spec}: {error}");
        assert!(error.to_string().contains(word), "{spec}: {error}");
    }
}

#[test]
fn an_exclusion_of_what_is_not_there_is_no_fault() {
    assert_eq!(listed(&["udp://10.0.0.1:80,!in-use", "!if:bare:80"]).len(), 1);
    assert_eq!(listed(&["udp://10.0.0.1:80", "!udp://*:in-use"]).len(), 1);
}

#[test]
fn too_many_endpoints_are_refused_with_count_limit_and_key() {
    for (specs, fault, count) in [
        (&["10.0.0.1:80", "10.0.0.0/8:80"][..], 1, "has 16777216 endpoints"),
        (&["[::/0]:*"], 0, "has more than 10^38 endpoints"),
        (&["both://*:*", "10.0.0.0/24:*", "!10.0.0.0/24:1-10"], 1, "has 17036540 endpoints"),
        (&["*:0x65535", "10.0.0.0/8:0x65535"], 1, "has 1099494981630 endpoints"),
    ] {
        let error = refused(specs);
        assert_eq!(marked(&error), (first_group(fault), specs[fault].to_owned()), "{error}");
        let text = error.to_string();
        assert!(text.contains("limits.max_endpoints = 1000000"), "{text}");
        assert!(text.contains(count), "{text}");
    }
}

#[test]
fn a_plan_of_ten_million_is_a_few_slabs() {
    let groups = [
        group("a", &["both://10.0.0.0/24,!10.0.0.7:1-20000,!8080"], Mode::Echo),
        group("b", &["@many:80"], Mode::Discard),
    ];
    let plan = build(&groups[..1], &[], 20_000_000, &Machine).expect("a plan");
    assert_eq!(plan.len(), 2 * 255 * 19_999);
    let slabs = plan.groups()[0].set.slabs();
    assert_eq!(slabs.len(), 4);
    assert!(Arc::ptr_eq(slabs[0].ports(), slabs[1].ports()));
    let middle: Vec<_> = plan.range(5_099_744..5_099_746).collect();
    assert_eq!(middle[0].1.to_string(), "tcp://10.0.0.255:20000");
    assert_eq!(middle[1].1.to_string(), "udp://10.0.0.0:1");
    let many = build(&groups[1..], &[], 100_000, &Machine).expect("a plan");
    assert_eq!((many.len(), many.groups()[0].set.slabs().len()), (100_000, 100_000));
}

#[test]
fn a_slice_runs_across_groups_and_stops_at_the_end() {
    let groups = [
        group("a", &["10.0.0.1:1-3"], Mode::Echo),
        group("none", &["10.0.0.1:1"], Mode::Echo),
        group("b", &["10.0.0.2:1-3"], Mode::Echo),
    ];
    let plan = plan_of(&groups, &[]).expect("a plan");
    let slice = |range| plan.range(range).map(|(group, found)| (group, found.port.number()));
    assert_eq!(slice(2..4).collect::<Vec<_>>(), [(0, 3), (2, 1)]);
    assert_eq!(slice(3..99).collect::<Vec<_>>(), [(2, 1), (2, 2), (2, 3)]);
    assert_eq!(slice(6..9).count() + slice(u64::MAX..u64::MAX).count(), 0);
    #[expect(clippy::reversed_empty_ranges, reason = "the claim is that it is empty")]
    let reversed = slice(4..2).count();
    assert_eq!(reversed, 0);
}
