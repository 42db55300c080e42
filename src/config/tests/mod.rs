//! Tests of the whole room: texts, variables and arguments in, configuration or faults out.

mod anything;
mod faults;
mod files;
mod groups;
mod layers;
mod places;
mod readme;

use super::*;

/// Inputs that read no file.
fn no_file() -> Inputs {
    Inputs { config_files: vec!["none".into()], ..Inputs::default() }
}

fn variables(pairs: &[(&str, &str)]) -> Inputs {
    let env = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Inputs { env: env.collect(), ..no_file() }
}

fn sets(arguments: &[&str]) -> Inputs {
    let sets = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    Inputs { sets, ..no_file() }
}

/// The faults of a text that must be refused.
fn refused(text: &str) -> Vec<Fault> {
    load_str("test.toml", text).expect_err("the text must be refused").faults().to_vec()
}

/// The one fault of a text that must be refused.
fn only_fault(text: &str) -> Fault {
    let faults = refused(text);
    assert_eq!(faults.len(), 1, "{faults:#?}");
    faults[0].clone()
}

/// The text under the caret.
fn marked(fault: &Fault) -> &str {
    &fault.source[fault.span.clone()]
}
