//! The effective configuration as it would be written, with origins.
//!
//! What `config show` prints: sections, keys, values, where each came from.
//! Loading what this writes gives the same configuration. Never prints.

use std::fmt;

use ::config::{Map, Value, ValueKind};
use serde::Serialize;

use super::groups::{Form, Group};
use super::load::LoadedConfig;
use super::schema::{KEYS, LISTEN, LISTEN_DEFAULTS, sections};
use super::typed::{group_settings, section};

/// One table of the effective configuration.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct EffectiveTable {
    /// Its name without brackets; `listen` is written with two.
    pub name: &'static str,
    /// Its keys in the order of the documentation.
    pub keys: Vec<EffectiveKey>,
}

/// One value of the effective configuration.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct EffectiveKey {
    /// The key's name in its table.
    pub name: &'static str,
    /// The value; [`EffectiveKey::to_toml`] writes it on one line.
    pub value: EffectiveValue,
    /// `file:line`, `environment NAME`, `--set`, `built-in` and the like.
    pub origin: String,
}

/// A value as a file would say it. Serialises as what it holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum EffectiveValue {
    /// `true` or `false`.
    Flag(bool),
    /// A whole number.
    Number(i64),
    /// Any other number; finite.
    Fraction(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Self>),
}

impl From<String> for EffectiveValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl FromIterator<String> for EffectiveValue {
    fn from_iter<T: IntoIterator<Item = String>>(texts: T) -> Self {
        Self::List(texts.into_iter().map(Self::Text).collect())
    }
}

/// As TOML, on one line.
impl fmt::Display for EffectiveValue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&on_one_line(self))
    }
}

impl EffectiveKey {
    /// The value as TOML, always on one line.
    #[must_use]
    pub fn to_toml(&self) -> String {
        on_one_line(&self.value)
    }
}

impl LoadedConfig {
    /// Every value in force: the groups, then each section.
    ///
    /// What `--exclude` removed has no key and is not among them.
    #[must_use]
    pub fn effective(&self) -> Vec<EffectiveTable> {
        let mut tables: Vec<EffectiveTable> =
            self.groups.iter().map(|group| self.group_table(group)).collect();
        for name in sections().into_iter().filter(|name| *name != LISTEN) {
            let values = section(&self.merged, name);
            tables.push(EffectiveTable {
                name,
                keys: values.map_or_else(Vec::new, |v| keys(name, v)),
            });
        }
        tables
    }

    fn group_table(&self, group: &Group) -> EffectiveTable {
        let own = |name, value| EffectiveKey { name, value, origin: group.origin.clone() };
        let mut table = vec![own("name", group.name.clone().into())];
        match &group.form {
            Form::Specs(specs) => match specs.as_slice() {
                [spec] => table.push(own("spec", spec.clone().into())),
                several => table.push(own("spec", several.iter().cloned().collect())),
            },
            Form::Parts { addresses, ports, protocols } => {
                let protocols = protocols.iter().map(|known| known.as_str().to_owned());
                table.push(own("addresses", addresses.iter().cloned().collect()));
                table.push(own("ports", ports.iter().cloned().collect()));
                table.push(own("protocols", protocols.collect()));
            }
        }
        if let Ok(settings) = group_settings(&self.merged, group)
            && let ValueKind::Table(values) = &settings.cache.kind
        {
            table.extend(keys(LISTEN_DEFAULTS, values));
        }
        EffectiveTable { name: LISTEN, keys: table }
    }
}

fn keys(section: &str, values: &Map<String, Value>) -> Vec<EffectiveKey> {
    let ours = KEYS.iter().filter(|key| key.section == section);
    ours.filter_map(|key| {
        let value = values.get(key.name)?;
        let origin = value.origin().unwrap_or("built-in").to_owned();
        Some(EffectiveKey { name: key.name, value: effective_value(&value.kind), origin })
    })
    .collect()
}

/// Values of layers are flags, numbers, strings and lists of strings.
pub(super) fn effective_value(value: &ValueKind) -> EffectiveValue {
    match value {
        ValueKind::Boolean(flag) => EffectiveValue::Flag(*flag),
        ValueKind::U64(number) => {
            EffectiveValue::Number(i64::try_from(*number).unwrap_or(i64::MAX))
        }
        ValueKind::Float(number) => EffectiveValue::Fraction(*number),
        ValueKind::Array(values) => {
            EffectiveValue::List(values.iter().map(|value| effective_value(&value.kind)).collect())
        }
        other => EffectiveValue::Text(other.to_string()),
    }
}

fn on_one_line(value: &EffectiveValue) -> String {
    match value {
        EffectiveValue::Flag(flag) => flag.to_string(),
        EffectiveValue::Number(number) => number.to_string(),
        // With its point, or it would be read as a whole number.
        EffectiveValue::Fraction(number) => format!("{number:?}"),
        EffectiveValue::Text(text) => basic_string(text),
        EffectiveValue::List(values) => {
            let items: Vec<String> = values.iter().map(on_one_line).collect();
            format!("[{}]", items.join(", "))
        }
    }
}

/// A basic string of TOML: quotes, backslashes and control characters escaped.
fn basic_string(text: &str) -> String {
    let mut written = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => written.extend(['\\', char]),
            _ if char.is_control() => written += &format!("\\u{:04X}", u32::from(char)),
            _ => written.push(char),
        }
    }
    written.push('"');
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_string_is_written_on_one_line_and_read_back(text in any::<String>()) {
            let written = format!("x = {}", basic_string(&text));
            prop_assert_eq!(written.lines().count(), 1);
            let read: toml::Table = written.parse().expect("TOML");
            prop_assert_eq!(read["x"].as_str(), Some(text.as_str()));
        }
    }
}
