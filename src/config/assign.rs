//! Single assignments: `IPCOW__SECTION__KEY=value`, `--set section.key=value`, `--workers N`.
//!
//! A value is read as TOML, else taken as text. The environment itself is read
//! in `sources`; here it is an argument.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::DeValue;

use super::fault::{Document, Fault, Faults, Origin, quoted, short};
use super::groups;
use super::layer::{Layer, Rank, Setting};
use super::load::Inputs;
use super::nearest::nearest;
use super::schema::{self, Key, LISTEN};
use super::strings::words;
use super::text::{Place, nearest_in, read_value, unknown_key};

/// What every variable of this program's configuration begins with.
pub(crate) const PREFIX: &str = "IPCOW__";

/// The variable that replaces all groups.
const LISTEN_VARIABLE: &str = "IPCOW__LISTEN";

/// The layer of the environment; names without [`PREFIX`] are not ours.
pub(crate) fn environment(variables: &[(String, String)], faults: &mut Faults) -> Layer {
    let mut layer = Layer { rank: Rank::Whole, ..Layer::default() };
    let mut ours: Vec<_> = variables.iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
    ours.sort();
    for (name, value) in ours {
        let origin = Origin::Environment(name.clone());
        let document = Document::new(origin, &format!("{name}={value}"));
        let base = name.len() + 1;
        if let Some(offset) = value.find('\u{fffd}') {
            faults.push(&document.origin, || {
                let at = base + offset;
                let message = "found bytes that are not UTF-8";
                document.fault(at..at + 3, message).help("set the variable to UTF-8 text")
            });
        } else if name == LISTEN_VARIABLE {
            layer.groups = listen(&document, base, faults);
        } else {
            match variable_key(name) {
                Some(key) => {
                    let path = key.path();
                    let place =
                        Place { document: &document, base, name: &path, name_span: 0..name.len() };
                    layer.settings.extend(read_text(&place, key, value, faults));
                }
                None => faults.push(&document.origin, || unknown_variable(&document, name)),
            }
        }
    }
    layer
}

/// The layer of all `--set` arguments, in their order.
pub(crate) fn sets(arguments: &[String], faults: &mut Faults) -> Layer {
    let mut layer = Layer::default();
    for argument in arguments {
        let document = Document::new(Origin::Set, argument);
        let Some((path, value)) = argument.split_once('=') else {
            faults.push(&document.origin, || {
                document
                    .fault(0..argument.len(), "`--set` needs a key and a value")
                    .help("write it as --set section.key=value")
            });
            continue;
        };
        let name_span = 0..path.len();
        let key = path.split_once('.').and_then(|(section, name)| settable(section, name));
        match key {
            Some(key) => {
                let base = path.len() + 1;
                let place = Place { document: &document, base, name: path, name_span };
                layer.settings.extend(read_text(&place, key, value, faults));
            }
            None => faults.push(&document.origin, || unknown_path(&document, path, name_span)),
        }
    }
    layer
}

/// The layer of arguments that are keys of their own, SPEC arguments included.
pub(crate) fn arguments(inputs: &Inputs, faults: &mut Faults) -> Layer {
    let mut layer = Layer { rank: Rank::Whole, ..Layer::default() };
    for (value, origin, name, section, key) in [
        (&inputs.workers, Origin::Workers, "--workers", "threads", "workers"),
        (&inputs.control, Origin::Control, "--control", "control", "path"),
        (&inputs.admin, Origin::Admin, "--admin", "admin", "listen"),
    ] {
        let (Some(value), Some(key)) = (value, schema::find(section, key)) else { continue };
        let document = Document::new(origin, value);
        let place = Place { document: &document, base: 0, name, name_span: 0..0 };
        layer.settings.extend(read_text(&place, key, value, faults));
    }
    if !inputs.specs.is_empty() {
        let whole = |spec: &String| (Document::new(Origin::Spec, spec), 0..spec.len());
        let documents: Vec<_> = inputs.specs.iter().map(whole).collect();
        layer.groups = Some(groups::of_specs(&documents, faults).into_iter().collect());
    }
    layer
}

/// The specs of `--exclude`, those that are legal.
pub(crate) fn excludes(arguments: &[String], faults: &mut Faults) -> Vec<crate::spec::Spec> {
    let mut specs = Vec::new();
    for argument in arguments {
        let document = Document::new(Origin::Exclude, argument);
        let Some(spec) = groups::parse(&document, &(0..argument.len()), faults) else { continue };
        if spec.is_exclusion() {
            faults.push(&document.origin, || {
                document
                    .fault(0..1, "`--exclude` takes a spec without \"!\"")
                    .help("leave the \"!\" out; what --exclude names is removed already")
            });
            continue;
        }
        specs.push(spec);
    }
    specs
}

fn listen(document: &Document, base: usize, faults: &mut Faults) -> Option<Vec<groups::Group>> {
    let text = &document.text[base..];
    let specs: Vec<(Document, Range<usize>)> = words(text)
        .into_iter()
        .map(|(start, word)| (document.clone(), base + start..base + start + word.len()))
        .collect();
    if specs.is_empty() {
        faults.push(&document.origin, || {
            document
                .fault(base..base, format!("`{LISTEN_VARIABLE}` names no endpoint"))
                .help("set it to specs separated by blanks, or unset it")
        });
    }
    Some(groups::of_specs(&specs, faults).into_iter().collect())
}

/// A key that an assignment may set; the keys of single groups are not.
fn settable(section: &str, name: &str) -> Option<&'static Key> {
    schema::find(section, name).filter(|key| key.section != LISTEN)
}

/// The name of the variable that sets `key`.
fn variable(key: &Key) -> String {
    format!("{PREFIX}{}__{}", key.section, key.name).to_ascii_uppercase()
}

fn variable_key(name: &str) -> Option<&'static Key> {
    schema::KEYS.iter().find(|key| key.section != LISTEN && variable(key) == name)
}

fn unknown_variable(document: &Document, name: &str) -> Fault {
    let built = schema::KEYS.iter().filter(|key| key.section != LISTEN);
    let mut known: Vec<String> = built.map(variable).collect();
    known.push(LISTEN_VARIABLE.to_owned());
    let rest = |name: &str| name.strip_prefix(PREFIX).unwrap_or(name).to_owned();
    let (own, names): (String, Vec<String>) = (rest(name), known.iter().map(|n| rest(n)).collect());
    let upper = own.to_ascii_uppercase();
    let near = nearest(&upper, names.iter().map(String::as_str));
    let fault = document
        .fault(0..name.len(), format!("unknown variable `{}`", short(name)))
        .about(short(name));
    match near {
        Some(near) => fault.help(format!("did you mean `{PREFIX}{near}`?")),
        None => fault.help("the form is IPCOW__SECTION__KEY, with two underscores"),
    }
}

pub(super) fn unknown_path(document: &Document, path: &str, span: Range<usize>) -> Fault {
    let (section, name) = path.split_once('.').unwrap_or(("", path));
    if section == LISTEN || path == LISTEN {
        return document
            .fault(span, format!("groups are not set with `--set`, found {}", quoted(path)))
            .about(short(path))
            .help("give SPEC arguments, or `listen_defaults.KEY` for every group");
    }
    let near = nearest_in(section, name).or_else(|| {
        let built = schema::KEYS.iter().filter(|key| key.section != LISTEN);
        let paths: Vec<String> = built.map(Key::path).collect();
        nearest(path, paths.iter().map(String::as_str)).map(str::to_owned)
    });
    unknown_key(document, span, path, near)
}

/// Reads a value without a file's quotes: TOML if it is, else text.
pub(super) fn read_text(
    place: &Place<'_>,
    key: &'static Key,
    text: &str,
    faults: &mut Faults,
) -> Option<Setting> {
    let as_text = || Spanned::new(0..text.len(), DeValue::String(Cow::Borrowed(text)));
    let value = match DeValue::parse(text) {
        Ok(value) if !key.takes_words() || value.get_ref().is_str() => value,
        _ => as_text(),
    };
    read_value(place, key, &value, faults)
}
