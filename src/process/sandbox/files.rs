//! Landlock: no program is started, no file written, nobody dialled or signalled.
//!
//! Reading stays free, because `@FILE`, name services and `/proc` may be anywhere; so do
//! binding, UDP and Unix sockets. What was open before stays open. In the folders that the
//! caller names, files and Unix sockets may be made, written and removed.

use std::path::PathBuf;

use landlock::{
    ABI, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, NetPort,
    PathBeneath, PathFd, PathFdError, RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope,
};

use super::Sandbox;
use crate::process::ConfineError;

/// Where long answers of a name server are fetched (RFC 7766).
const DOMAIN: u16 = 53;

/// What each right is called, and the first ABI that can deny it.
const DENIED: [(&str, ABI); 4] = [
    ("starting programs, writing files", ABI::V1),
    ("emptying files", ABI::V3),
    ("TCP connections but to port 53", ABI::V4),
    ("signals to other processes", ABI::V6),
];

/// The folders in which files may be made and removed, as Landlock wants them.
///
/// # Errors
/// One that cannot be opened.
pub(super) fn open(folders: &[PathBuf]) -> Result<Vec<PathFd>, ConfineError> {
    let opened = folders.iter().map(|folder| {
        PathFd::new(folder).map_err(|error| match error {
            PathFdError::OpenCall { source, .. } => {
                ConfineError::Folder { folder: folder.clone(), source }
            }
            other => ConfineError::Folder {
                folder: folder.clone(),
                source: std::io::Error::other(other.to_string()),
            },
        })
    });
    opened.collect()
}

/// Denies it for this thread and those that it starts, but for files in `folders`.
///
/// # Errors
/// Why the kernel denies nothing of it.
pub(super) fn deny(folders: Vec<PathFd>) -> Result<Sandbox, String> {
    match restrict(folders) {
        Ok(RestrictionStatus { ruleset: RulesetStatus::NotEnforced, landlock, .. }) => {
            Err(match landlock {
                LandlockStatus::NotEnabled => "Landlock is not enabled in this kernel",
                _ => "this kernel has no Landlock",
            }
            .to_owned())
        }
        Ok(RestrictionStatus {
            landlock: LandlockStatus::Available { effective_abi, .. }, ..
        }) => Ok(told(effective_abi)),
        Ok(_) => Err("this kernel does not say what its Landlock can".to_owned()),
        Err(error) => Err(format!("Landlock is not to be had: {error}")),
    }
}

/// What stays allowed inside a folder: to make, write and remove files and Unix sockets.
fn in_a_folder() -> BitFlags<AccessFs> {
    AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeSock
        | AccessFs::RemoveFile
}

fn restrict(folders: Vec<PathFd>) -> Result<RestrictionStatus, RulesetError> {
    // The rights of ABI 9 would cut name services off, which speak through Unix sockets.
    let files = AccessFs::from_write(ABI::V8) | AccessFs::Execute;
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(files)?
        .handle_access(AccessNet::ConnectTcp)?
        .scope(Scope::Signal)?
        .create()?
        .add_rule(NetPort::new(DOMAIN, AccessNet::ConnectTcp))?
        .add_rules(
            folders
                .into_iter()
                .map(|folder| Ok::<_, RulesetError>(PathBeneath::new(folder, in_a_folder()))),
        )?
        .restrict_self()
}

/// What a kernel of that ABI denies now.
fn told(abi: ABI) -> Sandbox {
    let (can, cannot): (Vec<_>, Vec<_>) = DENIED.into_iter().partition(|(_, since)| *since <= abi);
    let lacks = |(what, since): (&str, ABI)| {
        format!("{what}: Landlock has it from ABI {}, this kernel has {}", since as u32, abi as u32)
    };
    Sandbox {
        denied: can.into_iter().map(|(what, _)| what.to_owned()).collect(),
        missing: cannot.into_iter().map(lacks).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
    use std::process::Command;

    use super::*;

    /// True where this kernel has it all; else says that the test skips.
    fn denied_here(folders: Vec<PathFd>) -> bool {
        let done = deny(folders);
        let all = done.as_ref().is_ok_and(|sandbox| sandbox.missing.is_empty());
        if !all {
            eprintln!("a test of Landlock skips: {done:?}");
        }
        all
    }

    #[test]
    fn a_thread_that_denies_itself_files_can_read_bind_and_resolve_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let old = folder.path().join("old");
        fs::write(&old, "there").expect("a file");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let dialled = listener.local_addr().expect("its address");
        // It holds for the thread that asks for it: the test's other threads stay free.
        let inside = std::thread::spawn(move || {
            let free = vec![old.with_file_name("free")];
            fs::create_dir(&free[0]).expect("room for a folder");
            if !denied_here(open(&free).expect("it is there")) {
                return;
            }
            let denied = |kind| kind == ErrorKind::PermissionDenied;
            let new = old.with_file_name("new");
            assert!(File::create(&new).is_err_and(|error| denied(error.kind())), "creates");
            let appends = File::options().append(true).open(&old);
            assert!(appends.is_err_and(|error| denied(error.kind())), "appends");
            let emptied = nix::unistd::truncate(&old, 0);
            assert_eq!(emptied, Err(nix::errno::Errno::EACCES), "empties");
            assert!(fs::remove_file(&old).is_err_and(|error| denied(error.kind())), "removes");
            let started = Command::new("/bin/true").spawn();
            assert!(started.is_err_and(|error| denied(error.kind())), "starts a program");
            let connected = TcpStream::connect(dialled);
            assert!(connected.is_err_and(|error| denied(error.kind())), "dials");

            assert_eq!(fs::read_to_string(&old).expect("readable"), "there");
            let inside = free[0].join("file");
            fs::write(&inside, "written").expect("a named folder is free");
            fs::write(&inside, "again").expect("emptied and written");
            fs::rename(&inside, free[0].join("rotated")).expect("renamed within it");
            fs::remove_file(free[0].join("rotated")).expect("removed");
            let socket = free[0].join("socket");
            drop(std::os::unix::net::UnixListener::bind(&socket).expect("a socket is made"));
            fs::remove_file(&socket).expect("and removed");
            let started = fs::create_dir(free[0].join("folder"));
            assert!(started.is_err_and(|error| denied(error.kind())), "makes a folder");

            TcpListener::bind("127.0.0.1:0").expect("TCP is bound");
            UdpSocket::bind("127.0.0.1:0").expect("UDP is bound");
            assert!(
                ("localhost", 80).to_socket_addrs().is_ok_and(|mut found| found.next().is_some())
            );
            // Nobody needs to listen there: what counts is that the kernel asks.
            let domain = TcpStream::connect(("127.0.0.1", DOMAIN));
            assert!(!domain.is_err_and(|error| denied(error.kind())), "asks a name server");
        });
        inside.join().expect("every claim holds");
        drop(listener);
    }

    #[test]
    fn an_old_landlock_says_what_it_cannot_deny() {
        let old = told(ABI::V2);
        assert_eq!((old.denied.len(), old.missing.len()), (1, 3));
        assert!(old.missing[1].contains("from ABI 4, this kernel has 2"), "{old:?}");
        assert!(told(ABI::V6).missing.is_empty());
    }
}
