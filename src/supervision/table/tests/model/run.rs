//! The model, run: with all rules nothing is wrong, without any one something is.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::{ALL, Rules, Step, World, any_step};

/// Rounds in which all must be decided once faults have stopped: the attempts
/// of an endpoint, the restarts of its chunk, and what waits on either.
const ROUNDS: usize = 24;

fn live_through(rules: Rules, (steps, probes, rollback, shared): &Story) {
    let probe = probes.then_some(Duration::from_secs(15));
    let mut world = World::new(rules, probe, *rollback, *shared);
    for step in steps {
        world.step(step);
        world.check();
    }
    assert!(world.settle(ROUNDS), "{:?} is undecided", world.table);
    world.check_agreement();
}

/// Steps; whether there are probes, an all-or-nothing run, endpoints with members.
type Story = (Vec<Step>, bool, bool, bool);

fn story() -> impl Strategy<Value = Story> {
    let steps = prop::collection::vec(any_step(), 0..200);
    (steps, any::<bool>(), any::<bool>(), any::<bool>())
}

/// Twice what proptest does by default: 512, or twice `PROPTEST_CASES`.
fn twice_as_many() -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig { cases: config.cases.saturating_mul(2), ..config }
}

proptest! {
    #![proptest_config(twice_as_many())]

    #[test]
    fn a_socket_has_one_owner_and_every_endpoint_is_finally_decided(
        story in story()
    ) {
        live_through(ALL, &story);
    }
}

/// Whether the model finds a fault under these rules.
fn is_broken(rules: Rules) -> bool {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let stories = story();
    (0..6_000).any(|_| {
        let Ok(tree) = stories.new_tree(&mut runner) else { return false };
        let story = tree.current();
        let lived = AssertUnwindSafe(|| live_through(rules, &story));
        catch_unwind(lived).is_err()
    })
}

#[test]
fn a_worker_without_a_fence_opens_what_is_another_s() {
    assert!(is_broken(Rules { fence: false, ..ALL }));
}

#[test]
fn a_listener_s_report_that_names_no_lease_ends_the_service_of_its_successor() {
    assert!(is_broken(Rules { named: false, ..ALL }));
}

#[test]
fn a_listener_s_report_that_overtakes_its_lease_s_is_not_to_be_acknowledged() {
    assert!(is_broken(Rules { patient: false, ..ALL }));
}

#[test]
fn a_late_adoption_without_a_date_gives_a_socket_a_second_owner() {
    assert!(is_broken(Rules { dated: false, ..ALL }));
}

#[test]
fn a_question_must_be_answered_with_what_lives() {
    assert!(is_broken(Rules { whole: false, ..ALL }));
}

#[test]
fn a_lease_that_ends_before_its_adoption_leaves_strays() {
    assert!(is_broken(Rules { adopt_first: false, ..ALL }));
}

#[test]
fn a_sub_lease_that_is_told_again_is_not_obeyed_again() {
    assert!(is_broken(Rules { told_once: false, ..ALL }));
}
