//! From inputs to a configuration: all layers in their order, all faults at once.
//!
//! Merging is the `config` crate's, checking is each layer's; here is the order.
//! Reads files through `sources` only.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::fault::{ConfigErrors, Document, Fault, Faults, Origin};
use super::groups::{self, Group};
use super::layer::{self, Layer, Rank, Setting};
use super::model::Config;
use super::{assign, sources, text, typed};

/// The lowest layer, compiled in.
pub const BUILT_IN: &str = include_str!("../../config/default.toml");

/// Everything a configuration is made of, lowest layer first.
///
/// The default reads the machine's own files and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inputs {
    /// `--config`: files, the later over the earlier; `none` is no file. When
    /// empty, `IPCOW_CONFIG` of `env` counts, else `/etc/ipcow`.
    pub config_files: Vec<PathBuf>,
    /// Variables, as [`sources::environment`] gives them; others than
    /// `IPCOW_CONFIG` and `IPCOW__…` are ignored.
    pub env: Vec<(String, String)>,
    /// `--set`: `section.key=value`.
    pub sets: Vec<String>,
    /// SPEC arguments: they replace all groups by one named `cli`.
    pub specs: Vec<String>,
    /// `--exclude`: specs whose endpoints are removed from every group.
    pub excludes: Vec<String>,
    /// `--workers`: a number or `auto`.
    pub workers: Option<String>,
    /// `--control`: a path or `none`.
    pub control: Option<String>,
    /// `--admin`: an address with a port, or `none`.
    pub admin: Option<String>,
}

/// A legal configuration, and where each value came from.
#[derive(Debug, Clone)]
pub struct LoadedConfig {
    /// What the rest of the program reads.
    pub config: Config,
    pub(super) merged: ::config::Config,
    pub(super) groups: Vec<Group>,
}

impl LoadedConfig {
    /// True where nobody said what to serve: the groups are those compiled in.
    #[must_use]
    pub fn serves_built_in(&self) -> bool {
        let built_in = Origin::BuiltIn.to_string();
        self.groups.iter().all(|group| group.origin == built_in)
    }

    /// Where the group at `index` of [`Config::groups`] was written, such as
    /// `lab.toml:7` or `SPEC argument`.
    #[must_use]
    pub fn group_origin(&self, index: usize) -> Option<&str> {
        self.groups.get(index).map(|group| group.origin.as_str())
    }
}

/// Loads the configuration that `inputs` describe.
///
/// # Errors
/// Every fault of every layer, at most [`super::MAX_FAULTS`] of them shown.
pub fn load(inputs: &Inputs) -> Result<LoadedConfig, ConfigErrors> {
    let mut faults = Faults::new();
    let documents = sources::read(&inputs.config_files, &inputs.env, &mut faults);
    load_texts(&documents, inputs, faults)
}

/// Loads a configuration from one TOML text over the built-in values; reads no
/// file and no environment.
///
/// # Errors
/// As [`load`]; faults name the file `name`.
pub fn load_str(name: &str, text: &str) -> Result<LoadedConfig, ConfigErrors> {
    let document = Document::new(Origin::File(name.to_owned()), text);
    load_texts(&[document], &Inputs::default(), Faults::new())
}

fn load_texts(
    documents: &[Document],
    inputs: &Inputs,
    mut faults: Faults,
) -> Result<LoadedConfig, ConfigErrors> {
    let built_in = Document::new(Origin::BuiltIn, BUILT_IN);
    let mut layers = vec![Layer { rank: Rank::Whole, ..text::read(&built_in, &mut faults) }];
    layers.extend(documents.iter().map(|document| text::read(document, &mut faults)));
    layers.push(assign::environment(&inputs.env, &mut faults));
    layers.push(assign::sets(&inputs.sets, &mut faults));
    layers.push(assign::arguments(inputs, &mut faults));
    let excludes = assign::excludes(&inputs.excludes, &mut faults);
    let places = layer::places(&layers);
    backoffs(&places, &mut faults);
    remote_admin(&places, &mut faults);

    let groups = groups::join(&layers);
    let last_file = documents.last();
    if let (true, Some(document)) = (groups.is_empty() && faults.is_empty(), last_file) {
        faults.push(&document.origin, || no_group(document));
    }
    faults.into_result()?;
    let merged = merge(layers).and_then(|merged| {
        typed::config(&merged, &groups, excludes).map(|config| (config, merged))
    });
    match merged {
        Ok((config, merged)) => Ok(LoadedConfig { config, merged, groups }),
        Err(error) => Err(ConfigErrors::one(Fault::placeless(
            Origin::BuiltIn,
            format!("a checked value was not understood: {error}"),
        ))),
    }
}

pub(super) fn merge(layers: Vec<Layer>) -> Result<::config::Config, ::config::ConfigError> {
    let builder = ::config::Config::builder();
    layers.into_iter().fold(builder, |builder, layer| builder.add_source(layer)).build()
}

fn no_group(document: &Document) -> Fault {
    document
        .fault(0..0, "there is no group to serve")
        .about("listen")
        .help("add a [[listen]] table, or give SPEC arguments")
}

/// Where the effective value of each key was written.
pub(super) type Places = BTreeMap<String, Setting>;

/// Whoever opens the admin address to others says so, whatever layers say it.
fn remote_admin(places: &Places, faults: &mut Faults) {
    const LISTEN: &str = "admin.listen";
    let (Some(listen), Some(allowed)) = (places.get(LISTEN), places.get("admin.allow_remote"))
    else {
        return;
    };
    let address = listen.text().and_then(|text| text.parse::<SocketAddr>().ok());
    let Some(address) = address.filter(|it| !it.ip().to_canonical().is_loopback()) else { return };
    if allowed.is_true() || faults.concern(LISTEN) || faults.concern("admin.allow_remote") {
        return;
    }
    faults.push(&listen.document.origin, || {
        let message = format!(
            "`{LISTEN}` is {address}, which others than this machine can reach, and \
             `admin.allow_remote` is false"
        );
        listen
            .document
            .fault(listen.span.clone(), message)
            .about(LISTEN)
            .help("listen on 127.0.0.1 or [::1], or set admin.allow_remote = true")
    });
}

/// The longest delay is no shorter than the first.
pub(super) fn backoffs(places: &Places, faults: &mut Faults) {
    const INITIAL: &str = "retry.initial_backoff_ms";
    const MAX: &str = "retry.max_backoff_ms";
    let (Some(initial), Some(max)) = (places.get(INITIAL), places.get(MAX)) else { return };
    let (Some(least), Some(most)) = (initial.whole(), max.whole()) else { return };
    if least <= most || faults.concern(INITIAL) || faults.concern(MAX) {
        return;
    }
    // The fault is shown at the one that somebody wrote.
    let given = matches!(max.document.origin, Origin::BuiltIn | Origin::Given);
    let place = if given { initial } else { max };
    faults.push(&place.document.origin, || {
        let message = format!(
            "`{MAX}` must be at least `{INITIAL}`, found {most} ({}) and {least} ({})",
            max.origin(),
            initial.origin()
        );
        place
            .document
            .fault(place.span.clone(), message)
            .about(place.key.path())
            .help("raise the one or lower the other")
    });
}
