//! A layer: checked values of one origin, as the `config` crate merges them.
//!
//! Values carry where they came from through every merge. Holds nothing that
//! was not checked before; groups are joined in `groups`, not here.

use std::collections::BTreeMap;
use std::ops::Range;

use ::config::{ConfigError, Map, Source, Value, ValueKind};

use super::fault::Document;
use super::groups::Group;
use super::schema::Key;

/// A checked value of a key, and where it was written.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) key: &'static Key,
    pub(crate) value: Value,
    pub(crate) document: Document,
    pub(crate) span: Range<usize>,
}

impl Setting {
    /// A value that `document` holds at `span`.
    pub(crate) fn new(
        key: &'static Key,
        kind: ValueKind,
        document: &Document,
        span: Range<usize>,
    ) -> Self {
        let value = Value::new(Some(&document.origin_at(span.start)), kind);
        Self { key, value, document: document.clone(), span }
    }

    /// The value as a whole number, if it is one.
    pub(crate) fn whole(&self) -> Option<u64> {
        match self.value.kind {
            ValueKind::U64(number) => Some(number),
            _ => None,
        }
    }

    /// The value as text, if it is text.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value.kind {
            ValueKind::String(text) => Some(text),
            _ => None,
        }
    }

    /// Whether the value is `true`.
    pub(crate) fn is_true(&self) -> bool {
        matches!(self.value.kind, ValueKind::Boolean(true))
    }

    /// Where it was written, as `config show --origin` says it.
    pub(crate) fn origin(&self) -> &str {
        self.value.origin().unwrap_or_default()
    }
}

/// How a layer's groups meet those of the layers below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Rank {
    /// They drop the built-in group and join those of other files by name.
    #[default]
    File,
    /// They are all the groups there are.
    Whole,
}

/// What one file, the environment, or the arguments set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layer {
    pub(crate) rank: Rank,
    /// Values of sections; of two for one key the later wins.
    pub(crate) settings: Vec<Setting>,
    /// Its groups, where it says which groups there are.
    pub(crate) groups: Option<Vec<Group>>,
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        let mut sections: Map<String, Value> = Map::new();
        for setting in &self.settings {
            let section = sections
                .entry(setting.key.section.to_owned())
                .or_insert_with(|| Value::new(None, Map::<String, Value>::new()));
            if let ValueKind::Table(table) = &mut section.kind {
                table.insert(setting.key.name.to_owned(), setting.value.clone());
            }
        }
        Ok(sections)
    }
}

/// One flat table as a source: the settings of a group over the defaults.
#[derive(Debug, Clone)]
pub(crate) struct Flat(pub(crate) Map<String, Value>);

impl Source for Flat {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}

/// The settings of one group as a flat table.
pub(crate) fn flat(settings: &[Setting]) -> Flat {
    let entry = |setting: &Setting| (setting.key.name.to_owned(), setting.value.clone());
    Flat(settings.iter().map(entry).collect())
}

/// Where the effective value of each key was written, the highest layer's.
pub(crate) fn places(layers: &[Layer]) -> BTreeMap<String, Setting> {
    let settings = layers.iter().flat_map(|layer| &layer.settings);
    settings.map(|setting| (setting.key.path(), setting.clone())).collect()
}
