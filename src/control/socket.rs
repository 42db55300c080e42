//! The control socket as a file: bound, given to its owner, and removed if it is still ours.
//!
//! A dead socket, which `kill -9` leaves behind, is replaced; one that answers is not, and
//! neither is a file of another kind. Never reads a byte of a client.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::{Mode, fchmod};
use socket2::{Domain, SockAddr, Type};

/// Connections that wait to be accepted.
pub(super) const BACKLOG: i32 = 128;
/// How long another instance may take to bind in the same folder.
const TURN: Duration = Duration::from_secs(1);

/// The identity of no file.
const NOBODYS: (u64, u64) = (0, 0);

/// Who may use a control socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Access {
    /// Permissions of the file. Default 0600.
    pub mode: u32,
    /// The user that it is given to; `None` = it stays with the one who binds it.
    pub uid: Option<u32>,
    /// The group that it is given to; `None` = that of the one who binds it.
    pub gid: Option<u32>,
}

impl Default for Access {
    fn default() -> Self {
        Self { mode: 0o600, uid: None, gid: None }
    }
}

impl Access {
    /// These permissions, for this user and group.
    #[must_use]
    pub const fn new(mode: u32, uid: Option<u32>, gid: Option<u32>) -> Self {
        Self { mode, uid, gid }
    }
}

/// Why a control socket or an admin address was not bound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Somebody answers there.
    #[error("{place} is taken: another process answers there; stop it, or name another")]
    Taken {
        /// The path or address.
        place: String,
    },
    /// A file that is no socket is there.
    #[error("{} is not a socket, and it stays as it is; name another path, or remove it", .path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The kernel refused.
    #[error("{place} cannot be bound: {source}")]
    Io {
        /// The path or address.
        place: String,
        /// What it said.
        source: io::Error,
    },
}

impl BindError {
    /// Whether something else is there already.
    #[must_use]
    pub const fn is_taken(&self) -> bool {
        matches!(self, Self::Taken { .. } | Self::NotASocket { .. })
    }
}

/// A bound control socket. Dropping it removes its file, unless another has its place.
#[derive(Debug)]
pub struct Socket {
    listener: Option<UnixListener>,
    path: PathBuf,
    /// Device and inode of the file that was made.
    identity: (u64, u64),
    access: Access,
}

impl Socket {
    /// Binds `path`, and replaces a dead socket there.
    ///
    /// At no moment may anybody use it whom `access` does not let.
    ///
    /// # Errors
    /// [`BindError`]: somebody answers there, a file of another kind is there, or the
    /// kernel refuses (a folder that is not there, or that may not be written).
    pub fn bind(path: &Path, access: Access) -> Result<Self, BindError> {
        let failed = |source| BindError::Io { place: path.display().to_string(), source };
        // Two instances that start at once must not take each other's socket for a dead one.
        let _turn = turn(folder_of(path));
        vacate(path)?;
        let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed)?;
        // The file gets these permissions when it is made (unix_bind_bsd in net/unix/af_unix.c).
        let mode = Mode::from_bits_truncate(access.mode);
        fchmod(socket.as_fd(), mode).map_err(|errno| failed(errno.into()))?;
        socket.bind(&SockAddr::unix(path).map_err(failed)?).map_err(failed)?;
        let found = fs::symlink_metadata(path).map_err(failed)?;
        // From here on a failure removes the file.
        let mut bound =
            Self { listener: None, path: path.into(), identity: identity(&found), access };
        lchown(path, access.uid, access.gid).map_err(failed)?;
        // What the umask took away.
        fs::set_permissions(path, fs::Permissions::from_mode(access.mode)).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        socket.listen(BACKLOG).map_err(failed)?;
        bound.listener = Some(socket.into());
        Ok(bound)
    }

    /// Goes on with the socket of another instance, which `listener` is of: the file at
    /// `path` stays where it is, and is this one's to remove once it is served here.
    ///
    /// # Errors
    /// [`BindError`] where no socket is there any more, or the kernel refuses to give it
    /// to whom `access` names.
    pub fn adopt(path: &Path, listener: UnixListener, access: Access) -> Result<Self, BindError> {
        let failed = |source| BindError::Io { place: path.display().to_string(), source };
        let found = fs::symlink_metadata(path).map_err(failed)?;
        if !found.file_type().is_socket() {
            return Err(BindError::NotASocket { path: path.into() });
        }
        listener.set_nonblocking(true).map_err(failed)?;
        lchown(path, access.uid, access.gid).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(access.mode)).map_err(failed)?;
        Ok(Self { listener: Some(listener), path: path.into(), identity: NOBODYS, access })
    }

    /// It is served here: the file is this one's to remove from now on.
    pub(super) fn claim(&mut self) {
        let found = fs::symlink_metadata(&self.path).ok().filter(|_| self.identity == NOBODYS);
        if let Some(found) = found {
            self.identity = identity(&found);
        }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder that it is in: it must stay writable for the socket to be removed.
    #[must_use]
    pub fn folder(&self) -> &Path {
        folder_of(&self.path)
    }

    /// Leaves the file where it is: another process serves it now.
    pub fn leave(mut self) {
        self.identity = NOBODYS;
    }

    pub(super) const fn access(&self) -> Access {
        self.access
    }

    /// Another descriptor of the listening socket.
    pub(super) fn listener(&self) -> io::Result<UnixListener> {
        let gone = || io::Error::from(io::ErrorKind::NotConnected);
        self.listener.as_ref().ok_or_else(gone)?.try_clone()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let is_ours = |found: fs::Metadata| identity(&found) == self.identity;
        if fs::symlink_metadata(&self.path).is_ok_and(is_ours) {
            // Where the folder is not the process's any more, the next start replaces it.
            if let Err(error) = fs::remove_file(&self.path) {
                tracing::debug!(path = %self.path.display(), %error, "the control socket stays");
            }
        }
    }
}

fn identity(found: &fs::Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A lock on the folder; `None` where it cannot be had in time.
fn turn(folder: &Path) -> Option<Flock<File>> {
    let mut folder = File::open(folder).ok()?;
    let end = Instant::now() + TURN;
    loop {
        match Flock::lock(folder, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => return Some(locked),
            Err((again, _)) if Instant::now() < end => folder = again,
            Err(_) => return None,
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Removes a socket that nobody serves.
fn vacate(path: &Path) -> Result<(), BindError> {
    let failed = |source| BindError::Io { place: path.display().to_string(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::NotASocket { path: path.into() });
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // It answers, is too busy to, or is not ours to ask.
        _ => Err(BindError::Taken { place: path.display().to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a folder")
    }

    #[test]
    fn a_socket_has_its_permissions_and_is_gone_with_its_owner() {
        let folder = folder();
        let path = folder.path().join("a.sock");
        for mode in [0o600, 0o660] {
            let bound = Socket::bind(&path, Access { mode, ..Access::default() }).expect("free");
            let found = fs::metadata(&path).expect("it is there");
            assert_eq!(found.permissions().mode() & 0o7777, mode);
            assert_eq!(bound.folder(), folder.path());
            drop(bound);
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_dead_socket_is_replaced_and_a_live_one_or_a_file_is_not() {
        let folder = folder();
        let path = folder.path().join("a.sock");
        drop(UnixListener::bind(&path).expect("free"));
        let live = Socket::bind(&path, Access::default()).expect("it was dead");
        let second = Socket::bind(&path, Access::default()).expect_err("it lives");
        assert!(matches!(second, BindError::Taken { .. }) && second.is_taken(), "{second}");
        drop(live);
        fs::write(&path, "precious").expect("a file");
        let third = Socket::bind(&path, Access::default()).expect_err("it is a file");
        assert!(matches!(third, BindError::NotASocket { .. }), "{third}");
        assert_eq!(fs::read_to_string(&path).expect("untouched"), "precious");
    }

    #[test]
    fn a_socket_that_took_its_place_is_not_removed() {
        let folder = folder();
        let path = folder.path().join("a.sock");
        let first = Socket::bind(&path, Access::default()).expect("free");
        fs::rename(&path, folder.path().join("elsewhere")).expect("the folder is ours");
        let _second = UnixListener::bind(&path).expect("free again");
        drop(first);
        assert!(path.exists());
    }

    #[test]
    fn a_socket_that_is_left_stays() {
        let folder = folder();
        let path = folder.path().join("a.sock");
        Socket::bind(&path, Access::default()).expect("free").leave();
        assert!(path.exists());
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let path = folder().path().join("gone").join("a.sock");
        let error = Socket::bind(&path, Access::default()).expect_err("no folder");
        assert!(!error.is_taken() && error.to_string().contains("a.sock"), "{error}");
    }
}
