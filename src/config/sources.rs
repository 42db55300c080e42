//! Which files are read, and reading them: the only place of this room that
//! touches the file system and the environment.
//!
//! Turns paths into texts of bounded size. Never looks into a text.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::fault::{Document, Fault, Faults, Origin};

/// Longest file that is read. Unit: bytes.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

/// Most files of `conf.d`.
const MAX_FILES: usize = 256;

/// Where a machine's own configuration is.
const SYSTEM: &str = "/etc/ipcow";

/// The variable that names a file when no `--config` does.
const VARIABLE: &str = "IPCOW_CONFIG";

/// The path that stands for "read no file".
const NONE: &str = "none";

/// The variables of the environment whose names begin with `IPCOW`.
///
/// Bytes that are not UTF-8 become U+FFFD, which is refused where it matters.
#[must_use]
pub fn environment() -> Vec<(String, String)> {
    let text = |bytes: &OsStr| bytes.to_string_lossy().into_owned();
    std::env::vars_os()
        .map(|(name, value)| (text(&name), text(&value)))
        .filter(|(name, _)| name.starts_with("IPCOW"))
        .collect()
}

/// The texts of all files to load, lowest first.
pub(crate) fn read(
    config_files: &[PathBuf],
    environment: &[(String, String)],
    faults: &mut Faults,
) -> Vec<Document> {
    read_below(Path::new(SYSTEM), config_files, environment, faults)
}

/// As [`read`], with the machine's configuration in `system`.
pub(super) fn read_below(
    system: &Path,
    config_files: &[PathBuf],
    environment: &[(String, String)],
    faults: &mut Faults,
) -> Vec<Document> {
    let variable = environment.iter().find(|(name, value)| name == VARIABLE && !value.is_empty());
    let paths = match variable {
        _ if !config_files.is_empty() => config_files.to_vec(),
        Some((_, path)) => vec![PathBuf::from(path)],
        None => system_files(system, faults),
    };
    let named = paths.iter().filter(|path| path.as_path() != Path::new(NONE));
    named.filter_map(|path| read_file(path, faults)).collect()
}

/// `ipcow.toml` and `conf.d/*.toml` in the order of their names, where they exist.
fn system_files(system: &Path, faults: &mut Faults) -> Vec<PathBuf> {
    let main = system.join("ipcow.toml");
    let mut paths: Vec<PathBuf> = Vec::new();
    // A dangling link or a forbidden file is reported when it is read.
    if exists(&main) {
        paths.push(main);
    }
    let directory = system.join("conf.d");
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) => {
            if !is_absent(&error) {
                unreadable(&directory, &error.to_string(), faults);
            }
            return paths;
        }
    };
    let is_ours = |path: &PathBuf| {
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        !hidden && path.extension() == Some(OsStr::new("toml"))
    };
    let mut found: Vec<PathBuf> =
        entries.filter_map(Result::ok).map(|entry| entry.path()).filter(is_ours).collect();
    found.sort();
    if found.len() > MAX_FILES {
        unreadable(&directory, &format!("it holds more than {MAX_FILES} files"), faults);
        found.truncate(MAX_FILES);
    }
    paths.extend(found);
    paths
}

/// True for what is there, readable or not.
fn exists(path: &Path) -> bool {
    path.symlink_metadata().err().is_none_or(|error| !is_absent(&error))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn read_file(path: &Path, faults: &mut Faults) -> Option<Document> {
    let mut bytes = Vec::new();
    let outcome =
        File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    if let Err(error) = outcome {
        unreadable(path, &error.to_string(), faults);
        return None;
    }
    if bytes.len() as u64 > MAX_FILE_BYTES {
        unreadable(path, &format!("it is longer than {MAX_FILE_BYTES} bytes"), faults);
        return None;
    }
    let origin = Origin::File(path.to_string_lossy().into_owned());
    match String::from_utf8(bytes) {
        Ok(text) => Some(Document::new(origin, &text)),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes());
            let document = Document::new(origin, &text);
            faults.push(&document.origin, || {
                document
                    .fault(valid..valid + 3, "found bytes that are not UTF-8")
                    .help("a configuration is TOML text in UTF-8")
            });
            None
        }
    }
}

fn unreadable(path: &Path, why: &str, faults: &mut Faults) {
    let origin = Origin::File(path.to_string_lossy().into_owned());
    faults.push(&origin, || {
        Fault::placeless(origin.clone(), format!("cannot read this configuration: {why}"))
            .help("name a readable file, or `--config none` to read no file")
    });
}
