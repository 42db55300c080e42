//! Findings about what the plan needs as a whole.
//!
//! Compares the budget with the demand. Never computes a budget.

use super::{Finding, Inputs, Kind, Level};

/// More endpoints than descriptors: the rest cannot be opened.
pub(super) fn fd_limit(inputs: &Inputs<'_>) -> Option<Finding> {
    let budget = inputs.budget;
    let endpoints = inputs.endpoints();
    let count = endpoints.saturating_sub(budget.listeners);
    if count == 0 {
        return None;
    }
    let (needed, have, reserve) = (budget.needed, budget.have, budget.reserve);
    Some(Finding {
        level: Level::Error,
        kind: Kind::FdLimit,
        count,
        message: format!(
            "{count} of {endpoints} endpoints do not fit: {needed} file descriptors are needed, \
             {have} is the hard limit, of which {reserve} are kept free (limits.fd_reserve)"
        ),
        fix: format!(
            "raise the hard limit of open files to {needed}: `ulimit -Hn {needed}` as root, \
             LimitNOFILE={needed} in a systemd unit, or `--ulimit nofile={needed}` of a container"
        ),
    })
}

/// Fewer workers than asked for: everything is served, by fewer threads.
pub(super) fn thread_limit(inputs: &Inputs<'_>) -> Option<Finding> {
    let workers = inputs.workers;
    let bound = workers.limited_by?;
    let (wanted, got) = (workers.wanted, workers.workers);
    Some(Finding {
        level: Level::Warning,
        kind: Kind::ThreadLimit,
        count: wanted.saturating_sub(got),
        message: format!("{got} workers instead of {wanted}: {bound} allows no more"),
        fix: format!("{}; or set threads.workers = {got}", bound.fix()),
    })
}

/// Endpoints that specs name again.
pub(super) fn duplicate(inputs: &Inputs<'_>) -> Option<Finding> {
    let count = inputs.duplicates;
    let subject = match count {
        0 => return None,
        1 => "1 endpoint is named twice and is served once".to_owned(),
        count => format!("{count} endpoints are named again and are served once"),
    };
    Some(Finding {
        level: Level::Warning,
        kind: Kind::Duplicate,
        count,
        message: subject,
        fix: "remove the overlap of addresses or ports from the specs".to_owned(),
    })
}
