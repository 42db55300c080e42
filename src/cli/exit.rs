//! Exit codes (interface §4), and the one message that goes with each.

use ipcow::config::{ConfigErrors, Inputs, LoadedConfig};
use ipcow::plan::endpoints::{PlanError, SpecPlace};
use ipcow::process::ConfineError;
use ipcow::service::StartError;

use super::diagnostics;

/// Everything was done.
pub(crate) const DONE: u8 = 0;
/// A run-time failure, or a plan that cannot be reached.
pub(crate) const FAILED: u8 = 1;
/// A bad argument.
pub(crate) const USAGE: u8 = 2;
/// Nobody answers `ipcow status`.
pub(crate) const NOBODY: u8 = 3;
/// The drain's deadline cut sessions off.
pub(crate) const FORCED: u8 = 5;
/// Fewer endpoints listen than `coverage.min_bound`.
pub(crate) const BELOW_COVERAGE: u8 = 69;
/// A bad configuration file or variable.
pub(crate) const CONFIG: u8 = 78;

/// Says what failed at run time.
pub(crate) fn fail(error: &dyn std::error::Error) -> u8 {
    eprintln!("ipcow: {error}");
    FAILED
}

/// The code of a command that had nothing to do but to print. A reader that went away
/// is no failure.
pub(crate) fn printed(done: std::io::Result<()>) -> u8 {
    match done {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => fail(&error),
        _ => DONE,
    }
}

/// Says why this process can serve nothing.
pub(crate) fn cannot_serve(error: &StartError) -> u8 {
    eprintln!("ipcow: {error}");
    of_start_error(error)
}

/// Shows every fault of a configuration.
pub(crate) fn config_errors(errors: &ConfigErrors, color: bool) -> u8 {
    eprint!("{}", diagnostics::config_errors(errors, color));
    errors.exit_code()
}

/// Says what is wrong with a variable that is no setting.
pub(crate) fn config_error(error: &dyn std::error::Error) -> u8 {
    fail(error);
    CONFIG
}

/// Says that the journal cannot be had.
pub(crate) fn no_journal(error: &dyn std::error::Error) -> u8 {
    eprintln!(
        "ipcow: `log.format` is \"journald\", and no journal answers at \
         /run/systemd/journal/socket: {error}; write \"auto\", \"pretty\" or \"json\""
    );
    CONFIG
}

/// Says why the process could not be confined.
pub(crate) fn confine_error(error: &ConfineError) -> u8 {
    let failed = fail(error);
    if error.is_configuration() { CONFIG } else { failed }
}

/// Says why a service was not planned.
pub(crate) fn start_error(
    error: &StartError,
    loaded: &LoadedConfig,
    inputs: &Inputs,
    color: bool,
) -> u8 {
    match error {
        StartError::Plan(error) => plan_error(error, loaded, inputs, color),
        other => cannot_serve(other),
    }
}

/// Says why the endpoints make no plan.
pub(crate) fn plan_error(
    error: &PlanError,
    loaded: &LoadedConfig,
    inputs: &Inputs,
    color: bool,
) -> u8 {
    eprint!("{}", diagnostics::plan_error(error, loaded, color));
    of_plan_error(error, inputs)
}

/// The argument's fault if an argument named the endpoints or took the last of
/// them away, else the configuration's.
pub(crate) fn of_plan_error(error: &PlanError, inputs: &Inputs) -> u8 {
    let excluded = matches!(error.spec(), Some((SpecPlace::Exclude(_), _)));
    if excluded || !inputs.specs.is_empty() { USAGE } else { CONFIG }
}

/// The code of an error that was shown already.
pub(crate) const fn of_start_error(error: &StartError) -> u8 {
    match error {
        StartError::FdLimit { .. } | StartError::NoDescriptors(_) => BELOW_COVERAGE,
        StartError::Plan(_) => CONFIG,
        _ => FAILED,
    }
}
