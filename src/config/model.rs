//! The typed configuration: every value here is legal.
//!
//! Holds what the rest of the program reads. Never text, files or layers:
//! those are turned into this, or refused, by the rest of this room.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::access_log::AccessLog;
use super::log::Log;
use crate::spec::{Cidr, Spec};

/// The effective configuration of one service.
///
/// Time-outs and rates of zero in a file are `None` here ("off").
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// The groups to serve, in the order of the files that named them.
    pub groups: Vec<Group>,
    /// Specs whose endpoints are removed from every group (`--exclude`).
    pub excludes: Vec<Spec>,
    /// `[threads]`
    pub threads: Threads,
    /// `[chunks]`
    pub chunks: Chunks,
    /// `[retry]`
    pub retry: Retry,
    /// `[supervision]`
    pub supervision: Supervision,
    /// `[coverage]`
    pub coverage: Coverage,
    /// `[session]`
    pub session: Session,
    /// `[limits]`
    pub limits: Limits,
    /// `[udp]`
    pub udp: Udp,
    /// `[shutdown]`
    pub shutdown: Shutdown,
    /// `[process]`
    pub process: Process,
    /// `[control]`
    pub control: Control,
    /// `[admin]`
    pub admin: Admin,
    /// `[access_log]`
    pub access_log: AccessLog,
    /// `[log]`
    pub log: Log,
}

/// A named `[[listen]]` table.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Group {
    /// Unique; `[a-z0-9-]`, at most 64 characters.
    pub name: String,
    /// What it serves; specs that begin with `!` remove from every group.
    pub specs: Vec<Spec>,
    /// How it serves it.
    pub settings: ListenSettings,
}

/// The keys of `[listen_defaults]`, which every group may override.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenSettings {
    /// What a session does with what it reads. Default echo.
    pub mode: Mode,
    /// Ends a session when it is seen; empty = never. At most 4096 bytes.
    pub termination: Vec<u8>,
    /// Sources that are served, sorted; empty = any. Of the blocks of both lists
    /// that hold a source, the longest decides.
    pub allow_from: Vec<Cidr>,
    /// Sources that are not served, sorted; of two equal blocks this one wins.
    pub deny_from: Vec<Cidr>,
    /// Bind addresses that no interface has yet (`IP_FREEBIND`, ip(7)).
    pub freebind: bool,
    /// Length of the queue of established, not yet accepted connections;
    /// `None` = `net.core.somaxconn` (listen(2)). 1 to 65535.
    pub backlog: Option<u16>,
    /// One socket a worker for each endpoint (`SO_REUSEPORT`, socket(7)): the
    /// kernel spreads its clients. Default false.
    pub reuse_port: bool,
    /// What a bind failure means for the rest of its chunk.
    pub on_bind_error: OnBindError,
}

/// What a session does with what it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Every byte comes back.
    Echo,
    /// Bytes are counted and dropped.
    Discard,
}

/// What a bind failure means for the chunk's other endpoints of that group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnBindError {
    /// They serve; only the failed one is retried.
    Keep,
    /// All of them or none: bind all, then listen.
    Rollback,
}

/// `[threads]`
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Threads {
    /// Workers = max(1, round(available parallelism × factor)). 0.01 to 64.
    pub factor: f64,
    /// A fixed number of workers instead; 1 to 1024. `None` = auto.
    pub workers: Option<u16>,
}

/// `[chunks]`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Chunks {
    /// Endpoints a chunk; `None` = ceil(endpoints / workers). At least 1.
    pub size: Option<u32>,
}

/// `[retry]`: how often and how soon a failed endpoint is opened again.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Retry {
    /// Attempts before quarantine; 1 = no retry. 1 to 1000.
    pub max_attempts: u32,
    /// Delay after the first failure; at least 1 ms.
    pub initial_backoff: Duration,
    /// Upper bound of the delay; at least `initial_backoff`.
    pub max_backoff: Duration,
    /// Factor from one delay to the next; 1.0 to 100.0.
    pub multiplier: f64,
    /// Part of the delay that chance may take away; 0.0 to 1.0.
    pub jitter: f64,
    /// Pause between probes of a quarantined endpoint; `None` = never.
    pub quarantine_probe: Option<Duration>,
}

/// `[supervision]`: how many crashes of one part are forgiven.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Supervision {
    /// Restarts within the window before the part is quarantined; 0 to 1000.
    pub max_restarts: u32,
    /// For how long a crash counts; 1 s to a day.
    pub window: Duration,
}

/// `[coverage]`: how much must listen for the service to count as up.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Coverage {
    /// Least endpoints that must listen.
    pub min_bound: MinBound,
    /// How long `ready` waits for undecided endpoints; `None` = until all are decided.
    pub wait: Option<Duration>,
}

/// A count of endpoints or a part of all of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MinBound {
    /// That many endpoints; 0 = never exit for it.
    Count(u64),
    /// That many percent, rounded up; 0.0 to 100.0.
    Percent(f64),
}

/// `[session]`
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Session {
    /// Ends a session that reads and writes nothing for that long.
    pub idle_timeout: Option<Duration>,
    /// Ends a session of that age.
    pub max_lifetime: Option<Duration>,
    /// Ends a session whose peer takes nothing for that long.
    pub write_timeout: Option<Duration>,
    /// Idle time before the kernel probes the peer (`TCP_KEEPIDLE`, tcp(7)).
    pub keepalive: Option<Duration>,
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Most endpoints of a plan.
    pub max_endpoints: u64,
    /// Most sessions at once; `None` = what the fd budget leaves.
    pub max_sessions: Option<u32>,
    /// Most sessions at once of one source: an IPv4 address, or an IPv6 network of
    /// 64 bits; `None` = any number. What is beyond is accepted and closed.
    pub max_sessions_per_source: Option<u32>,
    /// File descriptors that are kept free for everything else.
    pub fd_reserve: u32,
    /// What clients beyond `max_sessions` meet.
    pub on_limit: OnLimit,
}

/// What clients beyond `limits.max_sessions` meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnLimit {
    /// They wait in the kernel's backlog, first come first served.
    Wait,
    /// They are accepted and closed.
    Close,
}

/// `[udp]`
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Udp {
    /// Longest datagram that is answered; 0 to 65507 bytes (RFC 768, RFC 791).
    pub max_datagram_bytes: u16,
    /// `SO_RCVBUF` of each UDP socket (socket(7)); `None` = the kernel's default.
    pub receive_buffer_bytes: Option<u32>,
    /// Most datagrams a second that are answered to one IPv4 address or one /64;
    /// `None` = no limit. At most 10,000,000. Loopback is exempt.
    pub rate_per_source: Option<NonZeroU32>,
    /// Most datagrams a second that are answered to all sources together;
    /// `None` = no limit. At most 10,000,000.
    pub rate_total: Option<NonZeroU32>,
    /// Source ports that are never answered, as inclusive ranges.
    pub refuse_source_ports: Vec<(u16, u16)>,
    /// A source whose one datagram comes more often than this a second, for two
    /// seconds, is muted for 60 s; `None` = never. At most 10,000,000. Loopback is exempt.
    pub loop_breaker_per_sec: Option<NonZeroU32>,
}

/// `[shutdown]`
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shutdown {
    /// How long sessions may run on once a drain began; `None` = for ever.
    pub drain_timeout: Option<Duration>,
    /// A draining session with nothing in flight for that long is closed;
    /// `None` = quiet sessions run on to the deadline.
    pub quiet: Option<Duration>,
}

/// `[process]`: who the process is and what the kernel denies it.
///
/// Read by `process::confine` (feature `process`) alone: a service confines nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Process {
    /// Who the process becomes, by name or number; `None` = it stays who it is.
    pub user: Option<String>,
    /// Its group, by name or number; `None` = the user's own.
    pub group: Option<String>,
    /// What the kernel shall deny. Default auto.
    pub sandbox: SandboxMode,
}

/// Whether the kernel shall deny what the program never needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SandboxMode {
    /// As much as the kernel can; what it cannot is said.
    Auto,
    /// Landlock and seccomp, or the program does not start.
    On,
    /// Nothing.
    Off,
}

/// `[control]`: where the control API is, and who may use it.
///
/// A service opens none by itself; see [`control`](crate::control).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Control {
    /// The Unix socket. Default auto.
    pub path: ControlPath,
    /// Its permissions; nothing for others. Default 0600.
    pub mode: u32,
    /// Its group, by name or number; `None` = the process's own.
    pub group: Option<String>,
}

/// Where the control socket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlPath {
    /// Where the environment says, under the name of the instance.
    Auto,
    /// Nowhere.
    Off,
    /// At this path, at most 107 bytes.
    At(PathBuf),
}

/// `[admin]`: the read-only HTTP address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Admin {
    /// Where it listens; `None` = nowhere. Loopback, unless `allow_remote`.
    pub listen: Option<SocketAddr>,
    /// Whether others than this machine may reach it. Default false.
    pub allow_remote: bool,
}
