//! Where control sockets lie (interface §3, `[control]`): one rule for the service that
//! makes one and for the clients that look for it.
//!
//! Names paths only: never makes a folder, never opens a socket.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

/// Where root's services lie, whoever asks.
const SYSTEM: &str = "/run/ipcow";

/// What decides where control sockets lie.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    /// `$RUNTIME_DIRECTORY`, which systemd gives; the first of a list counts.
    runtime_directory: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR`.
    user_directory: Option<PathBuf>,
    /// The effective user.
    uid: u32,
}

impl Places {
    /// Those of this process. Variables that are empty or no absolute path count as absent.
    pub(crate) fn of_this_process() -> Self {
        let runtime = std::env::var_os("RUNTIME_DIRECTORY");
        let user = std::env::var_os("XDG_RUNTIME_DIR");
        Self::new(runtime, user, geteuid().as_raw())
    }

    fn new(runtime: Option<OsString>, user: Option<OsString>, uid: u32) -> Self {
        let first = |list: OsString| std::env::split_paths(&list).next();
        let absolute = |path: &PathBuf| path.is_absolute();
        Self {
            runtime_directory: runtime.and_then(first).filter(absolute),
            user_directory: user.map(PathBuf::from).filter(absolute),
            uid,
        }
    }

    /// The folder in which this process would make its socket.
    pub(crate) fn folder(&self) -> PathBuf {
        self.own().next().unwrap_or_else(|| self.fallback())
    }

    /// Where a client looks for the instance `name`, in the order of trial. Root's folder is
    /// among them for everybody: a socket's mode may let others in.
    pub(crate) fn candidates(&self, name: &str) -> Vec<PathBuf> {
        let system = (self.uid != 0).then(|| PathBuf::from(SYSTEM));
        let mut paths: Vec<PathBuf> = Vec::new();
        for folder in self.own().chain(system).chain([self.fallback()]) {
            let path = socket(&folder, name);
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        paths
    }

    /// Whether this folder was made for the process, as it is; every other one the service
    /// makes, or makes sure that it is its own user's.
    pub(crate) fn is_given(&self, folder: &Path) -> bool {
        self.runtime_directory.as_deref() == Some(folder)
    }

    /// Whether this folder's name could be taken by somebody else, so that whoever uses it
    /// must make sure that it is a folder of its own user.
    pub(crate) fn is_shared(&self, folder: &Path) -> bool {
        folder == self.fallback()
    }

    fn own(&self) -> impl Iterator<Item = PathBuf> {
        let user = self.user_directory.as_ref().map(|folder| folder.join("ipcow"));
        let system = (self.uid == 0).then(|| PathBuf::from(SYSTEM));
        self.runtime_directory.clone().into_iter().chain(user).chain(system)
    }

    fn fallback(&self) -> PathBuf {
        PathBuf::from(format!("/tmp/ipcow-{}", self.uid))
    }
}

/// The socket of the instance `name` in `folder`.
pub(crate) fn socket(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.sock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(runtime: &str, user: &str, uid: u32) -> Places {
        Places::new(Some(runtime.into()), Some(user.into()), uid)
    }

    #[test]
    fn a_service_takes_the_first_folder_that_its_environment_gives() {
        let folder = |runtime, user, uid| places(runtime, user, uid).folder();
        assert_eq!(folder("/run/a:/run/b", "/run/user/7", 7), Path::new("/run/a"));
        assert_eq!(folder("", "/run/user/7", 7), Path::new("/run/user/7/ipcow"));
        assert_eq!(folder("", "", 0), Path::new("/run/ipcow"));
        assert_eq!(folder("", "not/absolute", 7), Path::new("/tmp/ipcow-7"));
    }

    #[test]
    fn a_client_looks_everywhere_a_service_could_have_put_it_and_nowhere_twice() {
        let shown = |places: Places| {
            let paths = places.candidates("lab").into_iter();
            paths.map(|path| path.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(
            shown(places("/run/ipcow", "/run/user/0", 0)),
            ["/run/ipcow/lab.sock", "/run/user/0/ipcow/lab.sock", "/tmp/ipcow-0/lab.sock"]
        );
        assert_eq!(
            shown(Places::new(None, None, 7)),
            ["/run/ipcow/lab.sock", "/tmp/ipcow-7/lab.sock"]
        );
    }

    #[test]
    fn what_a_service_chooses_is_what_its_clients_try() {
        for (runtime, user, uid) in [("/a", "/b", 0), ("", "/b", 7), ("", "", 0), ("", "", 7)] {
            let places = places(runtime, user, uid);
            let chosen = socket(&places.folder(), "default");
            assert!(places.candidates("default").contains(&chosen), "{chosen:?}");
        }
    }

    #[test]
    fn only_the_folder_below_tmp_could_be_another_users() {
        let places = places("", "/run/user/7", 7);
        assert!(!places.is_shared(&places.folder()));
        assert!(places.is_shared(Path::new("/tmp/ipcow-7")));
    }

    #[test]
    fn only_the_folder_that_systemd_makes_is_taken_as_it_is() {
        let given = |runtime: &str| {
            let places = places(runtime, "/run/user/7", 7);
            places.is_given(&places.folder())
        };
        assert!(given("/run/a") && !given(""));
    }
}
