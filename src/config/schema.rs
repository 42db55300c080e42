//! Every key of the configuration: section, name, type, bounds, unit, meaning.
//!
//! One static table that checking, suggestions and `config show` all read.
//! Never holds a value; defaults live in `config/default.toml`.

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// `true` or `false`.
    Flag,
    /// A string of at most that many bytes.
    Text { max_bytes: usize },
    /// One word of a list.
    Choice { words: &'static [&'static str] },
    /// A whole number, bounds included.
    Whole { min: u64, max: u64, unit: &'static str },
    /// `"auto"` or a whole number, bounds included.
    AutoOrWhole { min: u64, max: u64, unit: &'static str },
    /// A number with a fraction, bounds included.
    Number { min: f64, max: f64 },
    /// A count of endpoints or a percentage.
    MinBound,
    /// Ports and ranges of ports, `0` included.
    PortRanges,
    /// Blocks of addresses.
    Cidrs,
    /// `"auto"`, `"none"` or the path of a Unix socket.
    SocketPath,
    /// Permissions of a file in octal: the owner's at least, never those of others.
    FileMode,
    /// `"none"` or an address with a port, without names.
    AddressOrNone,
    /// `"none"`, `"-"` or the path of a file.
    FilePath,
    /// Belongs to one group and is read with it.
    Group,
}

/// One key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Key {
    /// The table that holds it, without brackets.
    pub(crate) section: &'static str,
    /// Its name in that table.
    pub(crate) name: &'static str,
    /// What it takes.
    pub(crate) kind: Kind,
    /// One line for people.
    pub(crate) doc: &'static str,
}

impl Key {
    /// `section.name`, as `--set` writes it.
    pub(crate) fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// True where a value without quotes in the environment is text as it stands.
    pub(crate) fn takes_words(&self) -> bool {
        match self.kind {
            Kind::Text { .. } | Kind::Choice { .. } => true,
            kind => [Kind::SocketPath, Kind::FileMode, Kind::AddressOrNone, Kind::FilePath]
                .contains(&kind),
        }
    }
}

/// The section whose keys belong to single groups.
pub(crate) const LISTEN: &str = "listen";
/// The section that feeds every group.
pub(crate) const LISTEN_DEFAULTS: &str = "listen_defaults";

/// Longest termination sequence. Unit: bytes (interface, `[listen_defaults]`).
const MAX_TERMINATION: usize = 4096;
/// A name or number of a user or group.
const NAME: Kind = Kind::Text { max_bytes: 256 };
const DAY_SECS: u64 = 86_400;
const YEAR_SECS: u64 = 31_536_000;
const HOUR_MS: u64 = 3_600_000;
/// `MAX_TCP_KEEPIDLE` of tcp(7).
const MAX_KEEPALIVE_SECS: u64 = 32_767;
/// 65,535 less the headers of IPv4 and UDP (RFC 791, RFC 768).
const MAX_DATAGRAM: u64 = 65_507;
/// More than one machine answers.
const MAX_RATE: u64 = 10_000_000;

/// Most sessions that may be asked for.
const MAX_SESSIONS: u64 = 10_000_000;
/// Most bytes of a client that the access log keeps.
const MAX_CAPTURE: u64 = 65_536;
/// Sessions of one source; 0 = no limit.
const SOURCE_SESSIONS: Kind = whole(0, MAX_SESSIONS, "sessions");

const fn key(section: &'static str, name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { section, name, kind, doc }
}

const fn group(name: &'static str, doc: &'static str) -> Key {
    key(LISTEN, name, Kind::Group, doc)
}

const fn shared(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    key(LISTEN_DEFAULTS, name, kind, doc)
}

const fn words(words: &'static [&'static str]) -> Kind {
    Kind::Choice { words }
}

const fn whole(min: u64, max: u64, unit: &'static str) -> Kind {
    Kind::Whole { min, max, unit }
}

const fn auto(min: u64, max: u64, unit: &'static str) -> Kind {
    Kind::AutoOrWhole { min, max, unit }
}

const fn secs(min: u64, max: u64) -> Kind {
    whole(min, max, "seconds")
}

const fn millis(min: u64, max: u64) -> Kind {
    whole(min, max, "milliseconds")
}

const fn per_sec() -> Kind {
    whole(0, MAX_RATE, "datagrams a second")
}

const fn number(min: f64, max: f64) -> Kind {
    Kind::Number { min, max }
}

/// Every key, in the order in which people read them.
pub(crate) static KEYS: &[Key] = &[
    group("name", "The group's unique name."),
    group("addresses", "The addresses to listen on, in the grammar of specs."),
    group("ports", "The ports to listen on, in the grammar of specs."),
    group("protocols", "A list of \"tcp\" and \"udp\"."),
    group("spec", "Whole specs, instead of addresses, ports and protocols."),
    shared("mode", words(&["echo", "discard"]), "What a session does with what it reads."),
    shared(
        "termination",
        Kind::Text { max_bytes: MAX_TERMINATION },
        "Ends a session; \"\" = none.",
    ),
    shared("allow_from", Kind::Cidrs, "Sources that are served; [] = any."),
    shared("deny_from", Kind::Cidrs, "Sources that are not served."),
    shared("freebind", Kind::Flag, "Binds addresses that are not there yet."),
    shared("backlog", auto(1, 65_535, "connections"), "The accept queue of a listener."),
    shared("reuse_port", Kind::Flag, "One socket a worker for each endpoint."),
    shared("on_bind_error", words(&["keep", "rollback"]), "What one failure means for its chunk."),
    key("threads", "factor", number(0.01, 64.0), "Workers for each unit of available parallelism."),
    key("threads", "workers", auto(1, 1024, "threads"), "How many workers."),
    key("chunks", "size", auto(1, 1_000_000_000, "endpoints"), "Endpoints a chunk."),
    key("retry", "max_attempts", whole(1, 1000, "attempts"), "Attempts; 1 = no retry."),
    key("retry", "initial_backoff_ms", millis(1, HOUR_MS), "The delay after the first failure."),
    key("retry", "max_backoff_ms", millis(1, HOUR_MS), "The longest delay."),
    key("retry", "multiplier", number(1.0, 100.0), "From one delay to the next."),
    key("retry", "jitter", number(0.0, 1.0), "The part of a delay that chance may take away."),
    key("retry", "quarantine_probe_secs", secs(0, DAY_SECS), "Between slow probes; 0 = never."),
    key("supervision", "max_restarts", whole(0, 1000, "restarts"), "Crashes before quarantine."),
    key("supervision", "window_secs", secs(1, DAY_SECS), "The time in which crashes count."),
    key("coverage", "min_bound", Kind::MinBound, "Least endpoints that must listen; 0 = none."),
    key("coverage", "wait_secs", secs(0, DAY_SECS), "How long `ready` waits; 0 = no limit."),
    key("session", "idle_timeout_secs", secs(0, YEAR_SECS), "Ends silent sessions; 0 = never."),
    key("session", "max_lifetime_secs", secs(0, YEAR_SECS), "Ends old sessions; 0 = never."),
    key("session", "write_timeout_secs", secs(0, DAY_SECS), "Ends stuck writes; 0 = never."),
    key("session", "keepalive_secs", secs(0, MAX_KEEPALIVE_SECS), "TCP keep-alive; 0 = off."),
    key("limits", "max_endpoints", whole(1, 1_000_000_000, "endpoints"), "The largest plan."),
    key("limits", "max_sessions", auto(1, MAX_SESSIONS, "sessions"), "Sessions at once."),
    key("limits", "max_sessions_per_source", SOURCE_SESSIONS, "Of one source; 0 = no limit."),
    key("limits", "fd_reserve", whole(0, 1_000_000, "descriptors"), "Descriptors kept free."),
    key("limits", "on_limit", words(&["wait", "close"]), "What clients beyond the limit meet."),
    key("udp", "max_datagram_bytes", whole(0, MAX_DATAGRAM, "bytes"), "The longest one answered."),
    key("udp", "receive_buffer_bytes", auto(1024, 1 << 30, "bytes"), "SO_RCVBUF of a socket."),
    key("udp", "rate_per_source", per_sec(), "Answers to one /32 or /64; 0 = no limit."),
    key("udp", "rate_total", per_sec(), "Answers to all sources; 0 = no limit."),
    key("udp", "refuse_source_ports", Kind::PortRanges, "Source ports that are never answered."),
    key("udp", "loop_breaker_per_sec", per_sec(), "One datagram more often is a loop; 0 = off."),
    key("shutdown", "drain_timeout_secs", secs(0, DAY_SECS), "The drain deadline; 0 = for ever."),
    key("shutdown", "quiet_ms", millis(0, HOUR_MS), "Ends quiet sessions of a drain; 0 = never."),
    key("process", "user", NAME, "Who the process becomes; \"\" = stay who you are."),
    key("process", "group", NAME, "Its group; \"\" = the user's own."),
    key("process", "sandbox", words(&["auto", "on", "off"]), "What the kernel shall deny it."),
    key("control", "path", Kind::SocketPath, "The control socket; \"none\" = none."),
    key("control", "mode", Kind::FileMode, "Its permissions."),
    key("control", "group", NAME, "Its group; \"\" = the process's own."),
    key("admin", "listen", Kind::AddressOrNone, "Read-only HTTP; \"none\" = none."),
    key("admin", "allow_remote", Kind::Flag, "Lets it listen beyond loopback."),
    key("access_log", "path", Kind::FilePath, "A line a session; \"none\" = none, \"-\" = stderr."),
    key(
        "access_log",
        "capture_bytes",
        whole(0, MAX_CAPTURE, "bytes"),
        "First bytes of a client's.",
    ),
    key("log", "level", words(&["error", "warn", "info", "debug", "trace"]), "Least severe level."),
    key("log", "format", words(&["auto", "pretty", "json", "journald"]), "How a line looks."),
];

/// The key `section.name`.
pub(crate) fn find(section: &str, name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.section == section && key.name == name)
}

/// The key `name` of a `[[listen]]` table: its own or one of the defaults.
pub(crate) fn find_in_group(name: &str) -> Option<&'static Key> {
    find(LISTEN, name).or_else(|| find(LISTEN_DEFAULTS, name))
}

/// True where `section` holds keys.
pub(crate) fn is_section(section: &str) -> bool {
    KEYS.iter().any(|key| key.section == section)
}

/// All sections, in the table's order.
pub(crate) fn sections() -> Vec<&'static str> {
    let mut sections: Vec<&'static str> = Vec::new();
    for key in KEYS {
        if !sections.contains(&key.section) {
            sections.push(key.section);
        }
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_listed_once() {
        for (index, key) in KEYS.iter().enumerate() {
            let again = KEYS[index + 1..].iter().any(|other| other.path() == key.path());
            assert!(!again, "{} is listed twice", key.path());
        }
    }

    #[test]
    fn every_key_says_what_it_means() {
        for key in KEYS {
            assert!(key.doc.len() > 5, "{} has no meaning", key.path());
        }
    }

    #[test]
    fn a_group_takes_the_keys_of_the_defaults() {
        assert_eq!(find_in_group("mode").map(Key::path).as_deref(), Some("listen_defaults.mode"));
        assert_eq!(find_in_group("ports").map(Key::path).as_deref(), Some("listen.ports"));
        assert_eq!(find_in_group("factor"), None);
    }
}
