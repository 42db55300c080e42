//! Where a run of `serve` is spoken to: its control socket and admin address.
//!
//! Bound on the main thread while it still has every right, before it confines itself.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use ipcow::config::{Config, ControlPath};
use ipcow::control::{Access, Admin, BindError, Socket};
use ipcow::process::{self, ConfineError};
use nix::unistd::{Group, geteuid};

use super::control_path::{Places, socket};
use super::exit;
use super::take_over::TakeOver;

/// What was bound.
#[derive(Debug, Default)]
pub(super) struct Doors {
    pub(super) socket: Option<Socket>,
    pub(super) admin: Option<Admin>,
    /// Why there is no control socket where one was to be expected.
    pub(super) missing: Option<String>,
}

/// Why a run of `serve` ends here.
#[derive(Debug, thiserror::Error)]
pub(super) enum DoorError {
    #[error("{key}: {error}")]
    Bind { key: &'static str, error: BindError },
    #[error(
        "control.group = {0:?}: this machine has no such group; give the name or number of one"
    )]
    UnknownGroup(String),
    #[error(transparent)]
    Identity(#[from] ConfineError),
}

impl DoorError {
    pub(super) const fn exit_code(&self) -> u8 {
        match self {
            Self::Bind { error, .. } if error.is_taken() => exit::BELOW_COVERAGE,
            Self::Bind { .. } => exit::FAILED,
            Self::UnknownGroup(_) => exit::CONFIG,
            Self::Identity(error) if error.is_configuration() => exit::CONFIG,
            Self::Identity(_) => exit::FAILED,
        }
    }
}

impl Doors {
    /// Binds what the configuration asks for, as the user that the process will be. A
    /// default path that cannot be had is done without; what was named must be had.
    ///
    /// Where another instance is taken over, its sockets are these, as far as they are
    /// meant.
    pub(super) fn open(
        config: &Config,
        name: &str,
        mut take_over: Option<&mut TakeOver>,
    ) -> Result<Self, DoorError> {
        let mut doors = Self::default();
        let (uid, gid) = process::identity(&config.process)?;
        let group = config.control.group.as_deref().map(group).transpose()?;
        let access = Access::new(config.control.mode, uid, group.or(gid));
        match &config.control.path {
            ControlPath::Off => {}
            ControlPath::At(path) => {
                let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                let bound = control(&path, access, take_over.as_deref_mut());
                doors.socket = Some(bound.map_err(|error| bind("control.path", error))?);
            }
            ControlPath::Auto => match by_default(name, access, group.is_some(), &mut take_over) {
                Ok(bound) => doors.socket = Some(bound),
                Err(why) => doors.missing = Some(why),
            },
        }
        if let Some(address) = config.admin.listen {
            let theirs = take_over.and_then(|it| it.admin(address));
            let bound = theirs.map_or_else(|| Admin::bind(address), Admin::adopt);
            doors.admin = Some(bound.map_err(|error| bind("admin.listen", error))?);
        }
        Ok(doors)
    }

    /// The folder that must stay writable, so that the socket can be removed.
    pub(super) fn folders(&self) -> Vec<PathBuf> {
        self.socket.iter().map(|socket| socket.folder().into()).collect()
    }

    /// Writes to the log what a person should know of them.
    pub(super) fn log(&self) {
        if let Some(why) = &self.missing {
            tracing::warn!(
                why,
                "no control socket: this instance cannot be asked or told anything"
            );
        }
        if let Some(admin) = &self.admin
            && !admin.address().ip().to_canonical().is_loopback()
        {
            let address = admin.address().to_string();
            tracing::warn!(address, "whoever reaches the admin address may read everything there");
        }
    }
}

const fn bind(key: &'static str, error: BindError) -> DoorError {
    DoorError::Bind { key, error }
}

/// The control socket at this path: that of the instance that is taken over, or a new one.
fn control(
    path: &Path,
    access: Access,
    take_over: Option<&mut TakeOver>,
) -> Result<Socket, BindError> {
    let Some(take_over) = take_over else { return Socket::bind(path, access) };
    let Some(theirs) = take_over.control(path) else { return Socket::bind(path, access) };
    Socket::adopt(path, theirs, access).or_else(|_removed| {
        take_over.forget_control();
        Socket::bind(path, access)
    })
}

fn by_default(
    name: &str,
    access: Access,
    for_a_group: bool,
    take_over: &mut Option<&mut TakeOver>,
) -> Result<Socket, String> {
    let places = Places::of_this_process();
    let folder = places.folder();
    let mode = if for_a_group { 0o710 } else { 0o700 };
    if !places.is_given(&folder) {
        prepare(&folder, mode, access).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let path = socket(&folder, name);
    control(&path, access, take_over.as_deref_mut()).map_err(|error| error.to_string())
}

/// Makes the folder, or makes sure that nobody else could have put something into it.
fn prepare(folder: &Path, mode: u32, access: Access) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(folder)?;
    if !found.is_dir() {
        return Err(io::Error::other("it is no folder"));
    }
    let us = geteuid().as_raw();
    if found.uid() != us && Some(found.uid()) != access.uid {
        return Err(io::Error::other(format!("it belongs to the user {}, not to us", found.uid())));
    }
    if found.mode() & 0o7777 != mode {
        fs::set_permissions(folder, fs::Permissions::from_mode(mode))?;
    }
    // Who will remove the socket must be able to.
    chown(folder, access.uid, access.gid)
}

fn group(text: &str) -> Result<u32, DoorError> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map_err(|_| DoorError::UnknownGroup(text.to_owned()));
    }
    match Group::from_name(text) {
        Ok(Some(found)) => Ok(found.gid.as_raw()),
        _ => Err(DoorError::UnknownGroup(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_made_for_its_owner_alone_and_narrowed_where_it_is_wider() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join("ipcow");
        let mode = || fs::metadata(&folder).expect("it is there").mode() & 0o7777;
        prepare(&folder, 0o700, Access::default()).expect("made");
        assert_eq!(mode(), 0o700);
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("ours");
        prepare(&folder, 0o700, Access::default()).expect("ours");
        assert_eq!(mode(), 0o700);
        prepare(&folder, 0o710, Access::default()).expect("ours");
        assert_eq!(mode(), 0o710);
    }

    #[test]
    fn a_link_a_file_and_a_folder_of_another_user_are_refused() {
        let parent = tempfile::tempdir().expect("a folder");
        let link = parent.path().join("link");
        std::os::unix::fs::symlink(parent.path(), &link).expect("a link");
        assert!(prepare(&link, 0o700, Access::default()).is_err());
        let file = parent.path().join("file");
        fs::write(&file, "").expect("a file");
        assert!(prepare(&file, 0o700, Access::default()).is_err());
        if geteuid().is_root() {
            let foreign = parent.path().join("foreign");
            fs::create_dir(&foreign).expect("a folder");
            chown(&foreign, Some(65_534), None).expect("root may");
            let error = prepare(&foreign, 0o700, Access::default()).expect_err("another's");
            assert!(error.to_string().contains("65534"), "{error}");
            let theirs = Access::new(0o600, Some(65_534), None);
            prepare(&foreign, 0o700, theirs).expect("the process becomes that user");
        }
    }

    #[test]
    fn a_group_that_nobody_knows_is_named_with_the_key() {
        let error = group("no-such-group").expect_err("unknown");
        assert!(error.to_string().contains("control.group"), "{error}");
        assert_eq!(error.exit_code(), exit::CONFIG);
        assert_eq!(group("7").expect("a number"), 7);
    }
}
