//! Any text as endpoint specs: parsed or refused, and then planned on a made-up machine.
//!
//! A spec that parses prints as one that means the same. A fault lies inside its text and
//! is shown without control characters. A plan counts, orders and finds its endpoints, and
//! holds none that a spec excludes. Input: one spec a line.
#![no_main]

mod machine;

use ipcow::config::Group;
use ipcow::plan::endpoints::{PlanEndpoints, PlanError, build};
use ipcow::spec::{Port, Protocol, Spec};
use libfuzzer_sys::fuzz_target;
use machine::MadeUp;

/// The largest plan that is made.
const MAX_ENDPOINTS: u64 = 100_000;
/// Most specs of one input.
const MAX_SPECS: usize = 16;

fuzz_target!(|text: &str| {
    let mut specs = Vec::new();
    for line in text.lines().take(MAX_SPECS) {
        match Spec::parse(line) {
            Ok(spec) => {
                let printed = spec.to_string();
                assert_eq!(Spec::parse(&printed).as_ref(), Ok(&spec), "{line:?} as {printed:?}");
                specs.push(spec);
            }
            Err(error) => {
                assert!(error.text.get(error.span.clone()).is_some(), "{error:?}");
                let shown = format!("{error}\n{}", error.caret());
                let disturbs = |found: char| found.is_control() && found != '\n';
                assert!(!shown.chars().any(disturbs), "{shown:?}");
            }
        }
    }
    if let Ok(plan) = planned(&specs) {
        judge(&plan, &specs);
    }
});

/// Two groups, so that they may overlap.
fn planned(specs: &[Spec]) -> Result<PlanEndpoints, PlanError> {
    let (one, two) = specs.split_at(specs.len() / 2);
    let groups = [Group::new("one", one.to_vec()), Group::new("two", two.to_vec())];
    build(&groups, &[], MAX_ENDPOINTS, &MadeUp)
}

fn judge(plan: &PlanEndpoints, specs: &[Spec]) {
    let total = plan.len();
    assert!((1..=MAX_ENDPOINTS).contains(&total), "{total} endpoints");
    assert_eq!(Protocol::ALL.map(|protocol| plan.count(protocol)).iter().sum::<u64>(), total);
    let step = usize::try_from(total / 64 + 1).expect("a small number");
    let samples: Vec<u64> = (0..total).step_by(step).chain([total - 1]).collect();
    let mut before = None;
    for &index in &samples {
        let (group, endpoint) = plan.get(index).expect("it is below the count");
        assert_eq!(plan.index_of(&endpoint), Some(index), "{endpoint}");
        assert!(before.is_none_or(|before| before <= (group, endpoint)), "{endpoint} is too late");
        before = Some((group, endpoint));
    }
    assert_eq!(plan.get(total), None);
    for excluded in specs.iter().filter(|spec| spec.is_exclusion()) {
        let printed = excluded.to_string();
        // A spec prints as it was written, blanks before it included.
        let inverse = printed.trim_start().strip_prefix('!').expect("an exclusion begins with !");
        let Ok(inverse) = Spec::parse(inverse) else { continue };
        let Ok(removed) = planned(&[inverse]) else { continue };
        for (_, endpoint) in samples.iter().filter_map(|index| plan.get(*index)) {
            let numbered = matches!(endpoint.port, Port::Number(_));
            assert!(
                !numbered || removed.index_of(&endpoint).is_none(),
                "{endpoint} is excluded by {printed}"
            );
        }
    }
}
