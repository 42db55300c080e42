//! What a test needs of the machine, and what happens where it is missing: a skip
//! that says why, or a failure in CI, where nothing may be missing.

use std::path::Path;
use std::sync::Once;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Something that not every machine has.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Need {
    /// Effective user id 0, with the right to make network namespaces.
    Root,
    /// A program on the PATH.
    Tool(&'static str),
    /// A hard limit of at least that many file descriptors.
    Descriptors(u64),
}

impl Need {
    fn missing(self) -> Option<String> {
        match self {
            Self::Root if nix::unistd::geteuid().is_root() => None,
            Self::Root => Some("it needs root".to_owned()),
            Self::Tool(name) if on_path(name) => None,
            Self::Tool(name) => Some(format!("the program `{name}` is missing")),
            Self::Descriptors(least) => {
                let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit is readable");
                (hard < least).then(|| format!("it needs {least} descriptors, the limit is {hard}"))
            }
        }
    }
}

/// True where the test can run; else says that it skips and why.
///
/// # Panics
/// With `CI=true` in the environment, where everything must run.
pub(crate) fn needs(all: &[Need]) -> bool {
    let Some(why) = all.iter().find_map(|need| need.missing()) else { return true };
    assert!(std::env::var("CI").as_deref() != Ok("true"), "CI runs every test, but {why}");
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    eprintln!("{name} skips: {why}");
    false
}

fn on_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([Path::new("/usr/sbin").into(), Path::new("/sbin").into()])
        .any(|folder| folder.join(name).is_file())
}

/// Lets this test process hold hundreds of clients where the soft limit is 1,024.
pub(crate) fn raise_own_descriptor_limit() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit is readable");
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("the soft limit may rise");
    });
}
