//! What can happen to the model, and how often.

use proptest::prelude::*;

use super::{ENDPOINTS, THREADS};

#[derive(Debug, Clone)]
pub(super) enum Step {
    Dispatch(usize),
    DispatchAndDie(usize),
    Deliver(usize),
    Repeat(usize),
    Lose(usize),
    Work { thread: usize, steps: usize, fails: bool },
    Resend(usize),
    Obey(usize),
    Ask,
    PanicWorker(usize),
    EndThread(usize),
    Replace(usize),
    EndSupervisor,
    StartSupervisor,
    EndListener { pick: usize, keeps: bool },
    TakeAddress(u64),
    ReturnAddress(u64),
    Release(u64),
    Suspend { endpoint: u64, millis: Option<u64> },
    Drain(u64),
    Drained(u64),
    Resume(u64),
    Remove(u64),
    Add(u64),
    Reopen { endpoint: u64, binds: bool },
    Judge,
    Wait(u64),
}

pub(super) fn any_step() -> impl Strategy<Value = Step> {
    let (pick, thread, endpoint) = (|| 0..16_usize, || 0..THREADS, || 0..ENDPOINTS);
    prop_oneof![
        12 => thread().prop_map(Step::Dispatch),
        1 => thread().prop_map(Step::DispatchAndDie),
        20 => pick().prop_map(Step::Deliver),
        3 => pick().prop_map(Step::Repeat),
        2 => pick().prop_map(Step::Lose),
        12 => (thread(), 1..6_usize, prop::bool::weighted(0.15))
            .prop_map(|(thread, steps, fails)| Step::Work { thread, steps, fails }),
        3 => thread().prop_map(Step::Resend),
        8 => thread().prop_map(Step::Obey),
        2 => Just(Step::Ask),
        2 => thread().prop_map(Step::PanicWorker),
        1 => thread().prop_map(Step::EndThread),
        4 => thread().prop_map(Step::Replace),
        1 => Just(Step::EndSupervisor),
        3 => Just(Step::StartSupervisor),
        3 => (pick(), any::<bool>()).prop_map(|(pick, keeps)| Step::EndListener { pick, keeps }),
        1 => endpoint().prop_map(Step::TakeAddress),
        1 => endpoint().prop_map(Step::ReturnAddress),
        1 => endpoint().prop_map(Step::Release),
        2 => (endpoint(), prop::option::of(0..400_u64))
            .prop_map(|(endpoint, millis)| Step::Suspend { endpoint, millis }),
        1 => endpoint().prop_map(Step::Drain),
        1 => endpoint().prop_map(Step::Drained),
        2 => endpoint().prop_map(Step::Resume),
        1 => endpoint().prop_map(Step::Add),
        1 => (endpoint(), any::<bool>())
            .prop_map(|(endpoint, binds)| Step::Reopen { endpoint, binds }),
        1 => prop::bool::weighted(0.3).prop_flat_map(|often| {
            let last = if often { ENDPOINTS } else { 1 };
            (0..last).prop_map(Step::Remove)
        }),
        3 => Just(Step::Judge),
        4 => (0..400_u64).prop_map(Step::Wait),
    ]
}
