//! One TOML text: its tables against the schema, into a layer.
//!
//! Refuses what is no TOML, unknown, of a later version or of the wrong type,
//! each at its place. Never reads a file; `[[listen]]` is read in `group_table`.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::fault::{Document, Fault, Faults, Origin, escaped, quoted, short};
use super::group_table;
use super::layer::{Layer, Setting};
use super::nearest::nearest;
use super::schema::{self, Key, LISTEN};
use super::value;

/// Texts up to this size report every syntax fault, longer ones the first.
/// Unit: bytes. Recovery costs memory for each fault that it finds.
const MAX_RECOVERED: usize = 64 * 1024;

/// Reads the text of a file.
pub(crate) fn read(document: &Document, faults: &mut Faults) -> Layer {
    let mut layer = Layer::default();
    if let Some(offset) = document.text.find('\0') {
        faults.push(&document.origin, || {
            document
                .fault(offset..offset + 1, "found a NUL byte; a configuration is TOML text")
                .help("is this the right file?")
        });
        return layer;
    }
    if document.text.trim().is_empty() && matches!(document.origin, Origin::File(_)) {
        faults.push(&document.origin, || {
            document
                .fault(0..0, "the file is empty; it says nothing about what to serve")
                .help("write at least a comment in it, or use --config none to read no file")
        });
        return layer;
    }
    let table = match DeTable::parse(&document.text) {
        Ok(table) => table,
        Err(first) => {
            syntax_faults(document, first, faults);
            return layer;
        }
    };
    let first = faults.len();
    for (name, value) in in_order(table.get_ref()) {
        read_section(document, name, value, &mut layer, faults);
    }
    faults.sort_from(first);
    layer
}

fn syntax_faults(document: &Document, first: toml::de::Error, faults: &mut Faults) {
    let errors = match document.text.len() {
        0..=MAX_RECOVERED => DeTable::parse_recoverable(&document.text).1,
        _ => vec![first],
    };
    for error in errors {
        faults.push(&document.origin, || {
            let at = error.span().unwrap_or(0..0);
            document.fault(at, format!("this is not TOML: {}", escaped(error.message().trim())))
        });
    }
}

fn read_section(
    document: &Document,
    name: &Spanned<DeString<'_>>,
    value: &Spanned<DeValue<'_>>,
    layer: &mut Layer,
    faults: &mut Faults,
) {
    let section = name.get_ref().as_ref();
    match value.get_ref() {
        _ if section == LISTEN => {
            layer.groups.get_or_insert_default().extend(group_table::read(document, value, faults));
        }
        DeValue::Table(table) if schema::is_section(section) => {
            for (key, value) in in_order(table) {
                read_key(document, section, key, value, layer, faults);
            }
        }
        _ if schema::is_section(section) => faults.push(&document.origin, || {
            let found = value::found(value.get_ref());
            document
                .fault(value.span(), format!("`{section}` is a table, found {found}"))
                .about(section)
                .help(format!("write its keys under a line [{section}]"))
        }),
        _ => faults.push(&document.origin, || unknown_section(document, section, name.span())),
    }
}

fn read_key(
    document: &Document,
    section: &str,
    name: &Spanned<DeString<'_>>,
    value: &Spanned<DeValue<'_>>,
    layer: &mut Layer,
    faults: &mut Faults,
) {
    let path = format!("{section}.{}", name.get_ref());
    match schema::find(section, name.get_ref()) {
        None => faults.push(&document.origin, || {
            let near = nearest_in(section, name.get_ref());
            unknown_key(document, name.span(), &path, near)
        }),
        Some(key) => {
            let place = Place { document, base: 0, name: &path, name_span: name.span() };
            layer.settings.extend(read_value(&place, key, value, faults));
        }
    }
}

/// A key as it was written: where, and under which name.
pub(crate) struct Place<'a> {
    pub(crate) document: &'a Document,
    /// Where the parsed text begins in the document. Unit: bytes.
    pub(crate) base: usize,
    pub(crate) name: &'a str,
    pub(crate) name_span: Range<usize>,
}

/// The checked value of a known key; `None` after a fault.
pub(crate) fn read_value(
    place: &Place<'_>,
    key: &'static Key,
    value: &Spanned<DeValue<'_>>,
    faults: &mut Faults,
) -> Option<Setting> {
    let Place { document, base, name, .. } = place;
    let shifted = |span: Range<usize>| span.start + base..span.end + base;
    match value::check(key, name, value) {
        Ok(kind) => Some(Setting::new(key, kind, document, shifted(value.span()))),
        Err(all) => {
            for wrong in all {
                faults.push(&document.origin, || {
                    let help = wrong.help.unwrap_or_else(|| key.doc.to_owned());
                    document.fault(shifted(wrong.span), wrong.message).about(key.path()).help(help)
                });
            }
            None
        }
    }
}

pub(crate) fn unknown_key(
    document: &Document,
    span: Range<usize>,
    path: &str,
    near: Option<String>,
) -> Fault {
    let fault = document.fault(span, format!("unknown key `{}`", short(path))).about(short(path));
    match near {
        Some(near) => fault.help(format!("did you mean `{near}`?")),
        None => fault.help("`ipcow config show` lists the keys that this version knows"),
    }
}

/// The known key that is nearest to `section.name`: in its own section first,
/// then one of that very name elsewhere.
pub(crate) fn nearest_in(section: &str, name: &str) -> Option<String> {
    let built = || schema::KEYS.iter().filter(|key| key.section != LISTEN);
    let own = built().filter(|key| key.section == section).map(|key| key.name);
    if let Some(near) = nearest(name, own) {
        return Some(format!("{section}.{near}"));
    }
    let elsewhere = built().find(|key| key.name == name).map(Key::path);
    elsewhere.or_else(|| {
        let near = nearest(name, built().map(|key| key.name))?;
        built().find(|key| key.name == near).map(Key::path)
    })
}

fn unknown_section(document: &Document, section: &str, span: Range<usize>) -> Fault {
    let fault = document
        .fault(span, format!("unknown section or key {}", quoted(section)))
        .about(short(section));
    if let Some(near) = nearest(section, schema::sections()) {
        let written = if near == LISTEN { "[[listen]]".to_owned() } else { format!("[{near}]") };
        return fault.help(format!("did you mean {written}?"));
    }
    match nearest_in(section, section) {
        Some(near) => fault.help(format!("did you mean `{near}`?")),
        None => fault.help(format!("known sections: {}", schema::sections().join(", "))),
    }
}

/// The entries of a table in the order in which they were written.
pub(crate) fn in_order<'t, 'i>(
    table: &'t DeTable<'i>,
) -> Vec<(&'t Spanned<DeString<'i>>, &'t Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
}
