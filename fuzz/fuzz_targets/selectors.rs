//! Any text as a selector, held against a plan on a made-up machine.
//!
//! A selector that parses prints as it was written. A fault lies inside its text and is
//! shown without control characters. Stepping finds each endpoint that is named, in order,
//! and no other; what the same words name as a spec, they name as a selector. Input: a
//! selector, then one spec a line for the plan (a fixed one where none makes a plan).
#![no_main]

mod machine;

use ipcow::config::Group;
use ipcow::plan::endpoints::{PlanEndpoints, PlanError, build};
use ipcow::spec::{Candidate, Port, Selection, Selector, Spec, Zone};
use ipcow::supervision::{ChunkId, EndpointState};
use libfuzzer_sys::fuzz_target;
use machine::MadeUp;

/// The largest plan: each of its endpoints is looked at.
const MAX_ENDPOINTS: u64 = 4_096;
/// Most specs of one input.
const MAX_SPECS: usize = 8;
/// What a selector is held against where the input says nothing better.
const FIXED: [&str; 4] = [
    "both://10.0.0.1-10.0.0.7,!10.0.0.4:1-9,!5",
    "tcp://10.0.0.4,10.0.0.9:0x3,5,11,22,80",
    "udp://if:eth0:53,40000",
    "both://[2001:db8::/125]:8000-8003",
];

fuzz_target!(|text: &str| {
    let (selector, specs) = text.split_once('\n').unwrap_or((text, ""));
    match Selector::parse(selector) {
        Ok(parsed) => {
            assert_eq!(parsed.to_string(), selector);
            let plan = own(specs).unwrap_or_else(fixed);
            let slabs = plan.groups().iter().flat_map(|group| group.set.slabs());
            let zones: Vec<Zone> = slabs.filter_map(|slab| slab.first().zone()).collect();
            if let Ok(selection) = parsed.resolve(&MadeUp, zones) {
                judge(&plan, &selection, selector);
            }
        }
        Err(error) => {
            assert!(error.text.get(error.span.clone()).is_some(), "{error:?}");
            let shown = format!("{error}\n{}", error.caret());
            let disturbs = |found: char| found.is_control() && found != '\n';
            assert!(!shown.chars().any(disturbs), "{shown:?}");
        }
    }
});

/// The plan of the specs of the input; `None` where they make none.
fn own(specs: &str) -> Option<PlanEndpoints> {
    let specs = specs.lines().take(MAX_SPECS).map(Spec::parse);
    planned(specs.collect::<Result<Vec<_>, _>>().ok()?).ok()
}

fn fixed() -> PlanEndpoints {
    let specs = FIXED.map(|spec| Spec::parse(spec).expect("a spec"));
    planned(specs.into()).expect("a plan")
}

/// Two groups, so that they have names to tell apart.
fn planned(specs: Vec<Spec>) -> Result<PlanEndpoints, PlanError> {
    let (one, two) = specs.split_at(specs.len() / 2);
    let groups = [Group::new("one", one.to_vec()), Group::new("two", two.to_vec())];
    build(&groups, &[], MAX_ENDPOINTS, &MadeUp)
}

/// Chunks of four; every third endpoint is quarantined; port 0 got 40000 and more.
fn candidate(plan: &PlanEndpoints, index: u64) -> Candidate<'_> {
    let (group, endpoint) = plan.get(index).expect("it is below the count");
    let number = match endpoint.port {
        Port::Ephemeral(ordinal) => u16::try_from(40_000 + ordinal).unwrap_or(0),
        Port::Number(number) => number,
    };
    let states = [EndpointState::Quarantined, EndpointState::Listening, EndpointState::Retrying];
    Candidate {
        endpoint,
        number,
        group: &plan.groups()[group].name,
        chunk: ChunkId(u32::try_from(index / 4).expect("few") + 1),
        state: states[usize::try_from(index % 3).expect("below 3")],
    }
}

fn judge(plan: &PlanEndpoints, selection: &Selection, selector: &str) {
    let named = |index: &u64| selection.names(&candidate(plan, *index));
    let expected: Vec<u64> = (0..plan.len()).filter(named).collect();
    let (mut found, mut from) = (Vec::new(), 0);
    while let Some(index) = selection.next_in(plan, from) {
        assert!((from..plan.len()).contains(&index), "{selector:?}: {index} after {from}");
        found.extend(Some(index).filter(named));
        from = index + 1;
    }
    assert_eq!(found, expected, "{selector:?} by stepping");
    // These are words of selectors; a spec would read them as the names of hosts.
    if ["chunk:", "group:", "state:"].iter().any(|word| selector.starts_with(word)) {
        return;
    }
    // What begins with a blank or `*://` is read otherwise as a spec, or not at all.
    let Ok(spec) = Spec::parse(selector) else { return };
    let Ok(meant) = planned(vec![spec]) else { return };
    for index in 0..plan.len() {
        let endpoint = candidate(plan, index).endpoint;
        let numbered = matches!(endpoint.port, Port::Number(_));
        assert!(
            !numbered || meant.index_of(&endpoint).is_none() || named(&index),
            "{selector:?} names {endpoint} as a spec and not as a selector"
        );
    }
}
