//! The SELECTOR argument, which is judged here before anybody is asked.

use clap::Args;
use ipcow::spec::{Selector, Spec};

use super::super::diagnostics;
use super::failure::Failure;

/// How selectors are written, for the help of each command that takes one.
pub(super) const EXAMPLES: &str = "\
SELECTORS
  *                             every endpoint
  tcp://127.0.0.1:8000-8010     a spec: TCP where no protocol is written
  *://10.0.0.0/24:*             its parts may be *: both protocols, any port
  udp://*,!10.0.0.1:53          and exclude
  group:lab                     the endpoints of a group
  chunk:3                       of a chunk
  state:quarantined             in a state: pending, listening, retrying, quarantined,
                                draining, suspended
  Quote them: the shell knows * and ! too. An @FILE is read by the service: write an
  absolute path. One that names no endpoint exits 1.";

/// A selector that must be given.
#[derive(Debug, Clone, Args)]
pub(super) struct SelectorArg {
    /// Which endpoints: a spec whose parts may be '*', chunk:N, group:NAME or state:S.
    #[arg(value_name = "SELECTOR")]
    pub(super) selector: String,
}

/// The selector's text, if it is one.
///
/// # Errors
/// [`Failure::Usage`] with a caret under the fault.
pub(super) fn judged(text: &str, color: bool) -> Result<&str, Failure> {
    match Selector::parse(text) {
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::Usage(diagnostics::bad_argument("", &error, color))),
    }
}

/// The spec's text, if it is one that adds endpoints.
///
/// # Errors
/// As for [`judged`].
pub(super) fn judged_spec(text: &str, color: bool) -> Result<&str, Failure> {
    let error = match Spec::parse(text) {
        Ok(spec) if !spec.is_exclusion() => return Ok(text),
        Ok(_) => ipcow::spec::SpecError {
            text: text.to_owned(),
            span: 0..text.find('!').map_or(0, |at| at + 1),
            message: "a spec that only excludes adds nothing".to_owned(),
            help: Some("leave the `!` out; `ipcow remove` takes endpoints away".to_owned()),
        },
        Err(error) => error,
    };
    Err(Failure::Usage(diagnostics::bad_argument("", &error, color)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(judged: Result<&str, Failure>) -> String {
        match judged {
            Err(failure @ Failure::Usage(_)) => failure.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_faulty_selector_shows_a_caret() {
        let text = usage(judged("state:listning", false));
        assert!(text.contains(" | state:listning\n |       ^^^^^^^^"), "{text}");
        assert!(judged("*://10.0.0.0/24:*", false).is_ok());
    }

    #[test]
    fn what_adds_nothing_is_no_spec_to_add() {
        assert!(judged_spec("tcp://127.0.0.1:80,!81", false).is_ok());
        let text = usage(judged_spec("!127.0.0.1:80", false));
        assert!(text.contains(" | !127.0.0.1:80\n | ^\n"), "{text}");
        usage(judged_spec("127.0.0.1:65536", false));
    }

    #[test]
    fn the_examples_of_the_help_are_selectors() {
        let lines = EXAMPLES.lines().skip(1).take(7);
        for line in lines {
            let selector = line.trim().split("  ").next().expect("a word");
            assert!(Selector::parse(selector).is_ok(), "{selector}");
        }
    }
}
