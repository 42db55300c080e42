//! The rooms of `src/`: who may use what, and how a file begins and ends.
//!
//! Reads source text only. A rule here is a sentence of ARCHITECTURE.md.

use std::path::{Path, PathBuf};

/// A room and the words that must not occur in its code.
struct Rule {
    room: &'static str,
    forbidden: &'static [&'static str],
    except: &'static [&'static str],
}

const NO_CLOCK_NO_SOCKET: &[&str] = &[
    "actix",
    "tokio",
    "socket2",
    // Error numbers are values; everything else of nix asks the system.
    "nix::sys",
    "nix::unistd",
    "nix::net",
    "nix::ifaddrs",
    "tracing::",
    "Instant::now",
    "SystemTime::now",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "thread::spawn",
    "std::process",
];
const NO_ENVIRONMENT: &[&str] = &["std::env", "env::var", "env::args", "signal::unix"];

const RULES: &[Rule] = &[
    Rule { room: "spec", forbidden: NO_CLOCK_NO_SOCKET, except: &[] },
    Rule { room: "config", forbidden: NO_CLOCK_NO_SOCKET, except: &[] },
    Rule { room: "plan", forbidden: NO_CLOCK_NO_SOCKET, except: &[] },
    Rule { room: "supervision", forbidden: NO_CLOCK_NO_SOCKET, except: &[] },
    Rule { room: "spec", forbidden: &["std::fs"], except: &[] },
    Rule { room: "plan", forbidden: &["std::fs"], except: &[] },
    Rule { room: "supervision", forbidden: &["std::fs"], except: &[] },
    Rule { room: "config", forbidden: &["std::fs"], except: &["config/sources.rs"] },
    Rule { room: "net", forbidden: &["actix"], except: &[] },
    Rule {
        room: "",
        forbidden: NO_ENVIRONMENT,
        except: &["main.rs", "cli/", "config/sources.rs", "service/signals.rs"],
    },
    Rule { room: "", forbidden: &["unsafe"], except: &["net/sys.rs", "net/sys/"] },
    Rule { room: "", forbidden: &["actix"], except: &["actors/", "control/", "service/"] },
];

/// The rooms of the crate from the top down: each may use those after it, and the core
/// rooms may use each other.
const CORE: &[&str] = &["spec", "config", "plan", "supervision"];
const ABOVE: &[(&str, &[&str])] = &[
    ("core", &["cli", "control", "admin", "handover", "service", "actors", "net", "process"]),
    ("net", &["cli", "control", "admin", "handover", "service", "actors", "process"]),
    // What holds for a whole process is for the program to ask for.
    ("process", &["cli", "control", "admin", "handover", "service", "actors", "net"]),
    ("actors", &["cli", "control", "admin", "handover", "service", "process"]),
    ("service", &["cli", "control", "admin", "handover", "process"]),
    ("handover", &["cli", "control", "admin", "actors", "process"]),
    ("control", &["cli"]),
    ("admin", &["cli"]),
];

fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("src is readable") {
            let path: PathBuf = entry.expect("src is readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).expect("below src").display().to_string();
                files.push((name, std::fs::read_to_string(&path).expect("UTF-8")));
            }
        }
    }
    files.sort();
    files
}

/// Files that hold tests only: they may open sockets and files as they like.
fn is_test(file: &str) -> bool {
    file.contains("/tests/") || file.ends_with("/tests.rs")
}

/// The code without its comments and its tests, which may do as they like.
fn code(text: &str) -> String {
    let before_tests = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let lines = before_tests.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// True where `word` stands in `code` and is not the middle of a longer name.
fn uses(code: &str, word: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        let open = word.ends_with(':');
        !before.is_some_and(part_of_name) && (open || !after.is_some_and(part_of_name))
    })
}

/// The rooms that `code` names after `crate::`, also inside `crate::{…}`.
fn rooms_named(code: &str) -> Vec<String> {
    let ident = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let mut named = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let Some(list) = rest.strip_prefix('{') else {
            named.push(ident(rest));
            continue;
        };
        let mut depth = 0;
        let mut begins = true;
        for (offset, c) in list.char_indices() {
            if begins && depth == 0 {
                named.push(ident(&list[offset..]));
            }
            begins = c == ',' || (begins && c.is_whitespace());
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                _ => {}
            }
        }
    }
    named
}

fn room_of(file: &str) -> &str {
    let room = file.split_once('/').map_or("", |(room, _)| room);
    if CORE.contains(&room) { "core" } else { room }
}

fn faults_of(file: &str, text: &str) -> Vec<String> {
    let code = code(text);
    let mut faults = Vec::new();
    for rule in RULES.iter().filter(|_| !is_test(file)) {
        let inside = rule.room.is_empty() || file.starts_with(&format!("{}/", rule.room));
        if inside && !rule.except.iter().any(|except| file.starts_with(except)) {
            let used = rule.forbidden.iter().filter(|word| uses(&code, word));
            faults.extend(used.map(|word| format!("{file} uses `{word}`")));
        }
    }
    if let Some((_, above)) = ABOVE.iter().find(|(room, _)| *room == room_of(file)) {
        let named = rooms_named(&code);
        let upward = above.iter().filter(|room| named.iter().any(|name| name == *room));
        faults.extend(upward.map(|room| format!("{file} imports upward from `{room}`")));
    }
    if !text.starts_with("//!") {
        faults.push(format!("{file} does not say what lives in it"));
    }
    if text.lines().count() > 350 {
        faults.push(format!("{file} has more than 350 lines"));
    }
    faults
}

#[test]
fn imports_go_downward_only_and_every_file_says_what_it_holds() {
    let files = sources();
    assert!(files.len() > 10, "the sources were found");
    let faults: Vec<_> = files.iter().flat_map(|(file, text)| faults_of(file, text)).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_breach_is_found_and_a_mention_in_a_comment_is_none() {
    let breaches = [
        ("spec/a.rs", "//! x\nuse tokio::net;"),
        ("plan/a.rs", "//! x\nuse crate::{config::Config, service::Service};"),
        ("net/a.rs", "//! x\nuse crate::actors::Worker;"),
        ("service/a.rs", "//! x\nlet here = std::env::current_dir();"),
        ("actors/a.rs", "//! x\nlet x = unsafe { y() };"),
        ("cli/a.rs", "//! x\nuse actix::Actor;"),
        ("plan/b.rs", "//! x\nuse nix::sys::socket::bind;"),
        ("cli/b.rs", "use crate::service::Service;"),
    ];
    for (file, text) in breaches {
        assert_eq!(faults_of(file, text).len(), 1, "{file}: {text}");
    }
    let fine = [
        ("spec/a.rs", "//! No tokio here.\nlet tokio_like = 1; // actix\n"),
        ("plan/a.rs", "//! x\nuse crate::{config::{Config, net}, spec};"),
        ("net/sys.rs", "//! x\nunsafe { y() }"),
        ("supervision/a.rs", "//! x\nuse nix::errno::Errno;"),
        ("config/tests/a.rs", "//! x\nuse std::fs;"),
        ("spec/b.rs", "//! x\n#[cfg(test)]\nmod tests { use std::net::TcpListener; }"),
    ];
    for (file, text) in fine {
        assert_eq!(faults_of(file, text), Vec::<String>::new(), "{file}: {text}");
    }
}
