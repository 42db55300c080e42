//! Groups: what a `[[listen]]` table or a list of specs became, and the join.
//!
//! Reading the table is `group_table`'s. Nothing is looked up here: host names
//! and interfaces are the plan's.

use std::collections::HashMap;
use std::ops::Range;

use super::fault::{Document, Fault, Faults};
use super::layer::{Layer, Rank, Setting};
use crate::spec::{Protocol, Spec, SpecError};

/// The group that SPEC arguments and `IPCOW__LISTEN` make.
const CLI: &str = "cli";

/// A checked group.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) name: String,
    /// Where it was written, as `config show --origin` says it.
    pub(crate) origin: String,
    pub(crate) form: Form,
    pub(crate) specs: Vec<Spec>,
    /// Keys of `[listen_defaults]` that the group sets itself.
    pub(crate) settings: Vec<Setting>,
}

/// How a group says what it serves; kept so that it can be written again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// `addresses`, `ports` and `protocols`.
    Parts { addresses: Vec<String>, ports: Vec<String>, protocols: Vec<Protocol> },
    /// `spec`.
    Specs(Vec<String>),
}

/// The group `cli` of specs that were typed; `None` after a fault.
pub(crate) fn of_specs(specs: &[(Document, Range<usize>)], faults: &mut Faults) -> Option<Group> {
    let (first, _) = specs.first()?;
    let texts = specs.iter().map(|(document, span)| document.text[span.clone()].to_owned());
    let parsed: Vec<Spec> =
        specs.iter().filter_map(|(document, span)| parse(document, span, faults)).collect();
    (parsed.len() == specs.len()).then(|| Group {
        name: CLI.to_owned(),
        origin: first.origin.to_string(),
        form: Form::Specs(texts.collect()),
        specs: parsed,
        settings: Vec::new(),
    })
}

/// The spec that `document` holds, unquoted, at `span`; `None` after a fault.
pub(crate) fn parse(document: &Document, span: &Range<usize>, faults: &mut Faults) -> Option<Spec> {
    match Spec::parse(&document.text[span.clone()]) {
        Ok(spec) => Some(spec),
        Err(error) => {
            let at = error.span.start + span.start..error.span.end + span.start;
            faults.push(&document.origin, || spec_fault(document, at, "", error));
            None
        }
    }
}

/// A refused spec, shown at `span` of the text that holds it.
pub(crate) fn spec_fault(
    document: &Document,
    span: Range<usize>,
    prefix: &str,
    error: SpecError,
) -> Fault {
    let fault = document.fault(span, format!("{prefix}{}", error.message));
    match error.help {
        Some(help) => fault.help(help),
        None => fault,
    }
}

/// The groups of all layers, lowest first.
///
/// Those of files join by name, the later replacing the whole group in its
/// place; any other layer's are all the groups there are.
pub(crate) fn join(layers: &[Layer]) -> Vec<Group> {
    let mut joined: Vec<Group> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut below = Rank::Whole;
    for layer in layers {
        let Some(groups) = &layer.groups else { continue };
        if below == Rank::Whole || layer.rank == Rank::Whole {
            joined.clear();
            places.clear();
        }
        below = layer.rank;
        for group in groups {
            match places.get(&group.name) {
                Some(place) => joined[*place] = group.clone(),
                None => {
                    places.insert(group.name.clone(), joined.len());
                    joined.push(group.clone());
                }
            }
        }
    }
    joined
}
