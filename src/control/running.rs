//! A configuration as one JSON document: of a file, and of a running service.

use serde_json::{Map, Value, json};

use super::reload::Reloader;
use crate::config::{EffectiveKey, EffectiveTable, LoadedConfig};

/// Every value in force, by section and key; `listen` is a list of groups. With `origin`
/// each value is `{"value":…,"origin":…}`.
#[must_use]
pub fn config_document(loaded: &LoadedConfig, origin: bool) -> Value {
    let mut groups = Vec::new();
    let mut document = Map::new();
    for table in loaded.effective() {
        let keys = keys(&table, origin);
        if table.name == "listen" {
            groups.push(keys);
        } else {
            document.insert(table.name.to_owned(), keys);
        }
    }
    document.insert("listen".to_owned(), groups.into());
    document.insert("exclude".to_owned(), excludes(loaded).into());
    document.into()
}

fn keys(table: &EffectiveTable, origin: bool) -> Value {
    let entry = |key: &EffectiveKey| {
        let value = match origin {
            true => json!({ "value": key.value, "origin": key.origin }),
            false => json!(key.value),
        };
        (key.name.to_owned(), value)
    };
    table.keys.iter().map(entry).collect::<Map<_, _>>().into()
}

/// What `--exclude` removed, without characters that move a terminal's cursor.
fn excludes(loaded: &LoadedConfig) -> Vec<String> {
    let shown = |spec: &crate::spec::Spec| spec.to_string().escape_debug().to_string();
    loaded.config.excludes.iter().map(shown).collect()
}

impl Reloader {
    /// The configuration that is in force: what the service was started with, of what it
    /// read since then that which needs no restart, and what was set over it. `None`
    /// where it had none.
    pub(super) fn running(&self) -> Option<Value> {
        let (first, last) = self.loaded()?;
        let mut running = config_document(&first, false);
        let mut last = config_document(&last, false);
        for key in ["listen", "exclude"] {
            running[key] = last[key].take();
        }
        for (path, value) in self.settings() {
            if let Some((section, key)) = path.split_once('.') {
                running[section][key] = json!(value);
            }
        }
        Some(running)
    }
}
