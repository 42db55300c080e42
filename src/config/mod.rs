//! Typed configuration, and how layers of text become it.
//!
//! [`load()`] takes [`Inputs`] and gives a [`LoadedConfig`] or every fault at
//! once. Only `sources` reads files and the environment; nothing here knows a
//! socket, a clock or a terminal.

mod access_log;
mod assign;
mod defaults;
mod effective;
mod fault;
mod group_table;
mod groups;
mod layer;
mod live;
mod load;
mod log;
mod model;
mod nearest;
mod restart;
mod schema;
mod sources;
mod strings;
mod text;
mod typed;
mod value;

#[cfg(test)]
mod tests;

pub use access_log::{AccessLog, AccessLogPath};
pub use effective::{EffectiveKey, EffectiveTable, EffectiveValue};
pub use fault::{ConfigErrors, Fault, MAX_FAULTS, Origin};
pub(crate) use live::{Followed, LiveConfig, NotSet};
pub use live::{KeptSetting, SettingChange};
pub use load::{BUILT_IN, Inputs, LoadedConfig, load, load_str};
pub use log::{Log, LogFormat, LogLevel};
pub use model::*;
pub use sources::{MAX_FILE_BYTES, environment};
