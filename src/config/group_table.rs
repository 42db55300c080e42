//! Reading `[[listen]]` tables: names, lists, and specs inside strings.
//!
//! Every fault is shown where it was written, a bad spec inside its string.
//! Joining the groups of several files is `groups`' business.

use std::collections::HashMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{Document, Faults, quoted};
use super::groups::{Form, Group, spec_fault};
use super::layer::Setting;
use super::nearest::nearest;
use super::schema::{self, Kind, LISTEN, LISTEN_DEFAULTS};
use super::strings::written;
use super::text::{Place, in_order, read_value, unknown_key};
use super::value;
use crate::spec::{PartsError, PartsList, Protocol, Spec};

/// Longest name of a group. Unit: characters.
const MAX_NAME: usize = 64;

/// Most faults that are looked for in the lists of one group.
const MAX_PART_FAULTS: usize = 20;

/// Reads the value of `listen`, an array of tables.
pub(crate) fn read(
    document: &Document,
    listen: &Spanned<DeValue<'_>>,
    faults: &mut Faults,
) -> Vec<Group> {
    let wrong = |span: Range<usize>, message: String| {
        document
            .fault(span, message)
            .about(LISTEN)
            .help("write each group under a line [[listen]], with two brackets")
    };
    let DeValue::Array(tables) = listen.get_ref() else {
        let found = value::found(listen.get_ref());
        let message = format!("`listen` is an array of tables, found {found}");
        faults.push(&document.origin, || wrong(listen.span(), message));
        return Vec::new();
    };
    let mut groups = Vec::new();
    let mut names: HashMap<String, usize> = HashMap::new();
    for table in tables {
        match table.get_ref() {
            DeValue::Table(entries) => {
                let mut reader = Reader { document, faults, place: table.span() };
                let name = reader.name(entries, &mut names);
                groups.extend(reader.group(entries, name));
            }
            other => {
                let message = format!("a group is a table, found {}", value::found(other));
                faults.push(&document.origin, || wrong(table.span(), message));
            }
        }
    }
    groups
}

/// One string or number of a list, and where it was written.
struct Item {
    text: String,
    span: Range<usize>,
}

/// A list of strings, and where it was written.
struct List {
    items: Vec<Item>,
    span: Range<usize>,
}

impl List {
    fn texts(&self) -> Vec<String> {
        self.items.iter().map(|item| item.text.clone()).collect()
    }
}

struct Reader<'a> {
    document: &'a Document,
    faults: &'a mut Faults,
    /// The table's header.
    place: Range<usize>,
}

impl Reader<'_> {
    fn fault(&mut self, span: Range<usize>, key: &str, message: String, help: &str) {
        let document = self.document;
        self.faults.push(&document.origin, || {
            document.fault(span, message).about(format!("{LISTEN}.{key}")).help(help)
        });
    }

    /// The group's name, if it is legal and not taken.
    fn name(
        &mut self,
        entries: &DeTable<'_>,
        taken: &mut HashMap<String, usize>,
    ) -> Option<String> {
        let Some(value) = entries.get("name") else {
            let message = "a group needs a `name`".to_owned();
            self.fault(self.place.clone(), "name", message, "add a line such as name = \"lab\"");
            return None;
        };
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let name = match value.get_ref() {
            DeValue::String(name)
                if (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(allowed) =>
            {
                name.to_string()
            }
            other => {
                let found = value::found(other);
                let message = format!("`name` of a group cannot be {found}");
                let help = "use 1 to 64 characters of a-z, 0-9 and -";
                self.fault(value.span(), "name", message, help);
                return None;
            }
        };
        let line = self.document.line(value.span().start);
        if let Some(first) = taken.insert(name.clone(), line) {
            let message = format!("the group {} is named twice", quoted(&name));
            let help = format!("the first is on line {first}; give each group its own name");
            self.fault(value.span(), "name", message, &help);
            return None;
        }
        Some(name)
    }

    /// Everything but the name; `None` after a fault.
    fn group(&mut self, entries: &DeTable<'_>, name: Option<String>) -> Option<Group> {
        let mut settings: Vec<Setting> = Vec::new();
        let mut lists: HashMap<&str, Option<List>> = HashMap::new();
        for (written, value) in in_order(entries) {
            let key_name = written.get_ref().as_ref();
            match schema::find_in_group(key_name) {
                None => self.unknown(written.span(), key_name),
                Some(key) if key.kind == Kind::Group => {
                    if key.name != "name" {
                        lists.insert(key.name, self.list(key.name, value));
                    }
                }
                Some(key) => {
                    let document = self.document;
                    let name_span = written.span();
                    let place = Place { document, base: 0, name: key_name, name_span };
                    settings.extend(read_value(&place, key, value, self.faults));
                }
            }
        }
        let (form, specs) = self.form(&lists)?;
        let origin = self.document.origin_at(self.place.start);
        Some(Group { name: name?, origin, form, specs, settings })
    }

    fn unknown(&mut self, span: Range<usize>, name: &str) {
        let document = self.document;
        self.faults.push(&document.origin, || {
            let known = schema::KEYS
                .iter()
                .filter(|key| key.section == LISTEN || key.section == LISTEN_DEFAULTS);
            let near = nearest(name, known.map(|key| key.name));
            unknown_key(document, span, &format!("{LISTEN}.{name}"), near.map(str::to_owned))
        });
    }

    /// A string, or an array of strings (and numbers, for ports).
    fn list(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<List> {
        let single = std::slice::from_ref(value);
        let values = match value.get_ref() {
            DeValue::Array(values) => values.iter().as_slice(),
            _ => single,
        };
        let mut items = Vec::new();
        for item in values {
            let text = match item.get_ref() {
                DeValue::String(text) => text.to_string(),
                DeValue::Integer(number) if key == "ports" && number.radix() == 10 => {
                    number.as_str().to_owned()
                }
                other => {
                    let message =
                        format!("`{key}` is a list of strings, found {}", value::found(other));
                    let help = schema::find(LISTEN, key).map_or("", |key| key.doc);
                    self.fault(item.span(), key, message, help);
                    return None;
                }
            };
            items.push(Item { text, span: item.span() });
        }
        Some(List { items, span: value.span() })
    }

    fn form(&mut self, lists: &HashMap<&str, Option<List>>) -> Option<(Form, Vec<Spec>)> {
        const HELP: &str = "give `addresses` and `ports`, or `spec`, not both";
        match (lists.get("spec"), lists.get("addresses"), lists.get("ports")) {
            (Some(spec), None, None) if !lists.contains_key("protocols") => {
                self.specs(spec.as_ref()?)
            }
            (Some(spec), ..) => {
                let span = spec.as_ref().map_or(self.place.clone(), |list| list.span.clone());
                let message = "`spec` stands beside `addresses`, `ports` or `protocols`".to_owned();
                self.fault(span, "spec", message, HELP);
                None
            }
            (None, Some(addresses), Some(ports)) => {
                let protocols = match lists.get("protocols") {
                    None => vec![Protocol::Tcp],
                    Some(list) => self.protocols(list.as_ref()?)?,
                };
                self.parts(addresses.as_ref()?, ports.as_ref()?, protocols)
            }
            (None, addresses, _) => {
                let missing = if addresses.is_none() { "addresses" } else { "ports" };
                let message = format!("a group needs `{missing}`");
                self.fault(self.place.clone(), missing, message, HELP);
                None
            }
        }
    }

    fn protocols(&mut self, list: &List) -> Option<Vec<Protocol>> {
        let mut protocols = Vec::new();
        for item in &list.items {
            match Protocol::ALL.iter().find(|known| known.as_str() == item.text) {
                Some(protocol) if protocols.contains(protocol) => {}
                Some(protocol) => protocols.push(*protocol),
                None => {
                    let message = format!("unknown protocol {}", quoted(&item.text));
                    self.fault(item.span.clone(), "protocols", message, "use \"tcp\" and \"udp\"");
                    return None;
                }
            }
        }
        Some(protocols)
    }

    /// Each string is one spec.
    fn specs(&mut self, list: &List) -> Option<(Form, Vec<Spec>)> {
        let mut specs = Vec::new();
        for item in &list.items {
            match Spec::parse(&item.text) {
                Ok(spec) => specs.push(spec),
                Err(error) => {
                    let span = error.span.clone();
                    self.refused("spec", item, &span, error);
                }
            }
        }
        if list.items.is_empty() {
            let message = "`spec` names no endpoint".to_owned();
            self.fault(list.span.clone(), "spec", message, "write it as \"tcp://127.0.0.1:8000\"");
            return None;
        }
        (specs.len() == list.items.len()).then(|| (Form::Specs(list.texts()), specs))
    }

    /// Reports each faulty item: those found are replaced by legal ones, until
    /// the rest is legal.
    fn parts(
        &mut self,
        addresses: &List,
        ports: &List,
        protocols: Vec<Protocol>,
    ) -> Option<(Form, Vec<Spec>)> {
        let (mut address_texts, mut port_texts) = (addresses.texts(), ports.texts());
        for found in 0..MAX_PART_FAULTS {
            let PartsError { list, index, error, .. } =
                match Spec::from_parts(&borrow(&address_texts), &borrow(&port_texts), &protocols) {
                    Ok(spec) if found == 0 => {
                        let (addresses, ports) = (address_texts, port_texts);
                        return Some((Form::Parts { addresses, ports, protocols }, vec![spec]));
                    }
                    Ok(_) => return None,
                    Err(fault) => fault,
                };
            let (source, texts, legal) = match list {
                PartsList::Addresses => (addresses, &mut address_texts, "127.0.0.1"),
                PartsList::Ports => (ports, &mut port_texts, "1"),
                PartsList::Protocols => {
                    let message = format!("`protocols`: {}", error.message);
                    self.fault(self.place.clone(), "protocols", message, "use \"tcp\" and \"udp\"");
                    return None;
                }
            };
            match (source.items.get(index), texts.get_mut(index)) {
                (Some(item), Some(text)) => {
                    let span = error.span.clone();
                    self.refused(list.as_str(), item, &span, error);
                    *text = legal.to_owned();
                    if self.faults.is_full() {
                        return None;
                    }
                }
                _ => {
                    let message = format!("`{list}`: {}", error.message);
                    let help = error.help.unwrap_or_default();
                    self.fault(source.span.clone(), list.as_str(), message, &help);
                    return None;
                }
            }
        }
        None
    }

    /// A bad spec, shown at the bytes of the string that wrote it.
    fn refused(
        &mut self,
        key: &str,
        item: &Item,
        span: &Range<usize>,
        error: crate::spec::SpecError,
    ) {
        let document = self.document;
        let inside = written(&document.text[item.span.clone()], span);
        let at = item.span.start + inside.start..item.span.start + inside.end;
        self.faults.push(&document.origin, || {
            spec_fault(document, at, &format!("`{key}`: "), error).about(format!("{LISTEN}.{key}"))
        });
    }
}

fn borrow(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}
