//! From merged, checked values to the typed [`Config`].
//!
//! Rules between keys live here. Never sees a text: a value that arrives here
//! was checked against the schema, so an error from serde is a defect of ours.

use std::num::NonZeroU32;
use std::time::Duration;

use ::config::{ConfigError, Map, Value, ValueKind};
use serde::Deserialize;

use super::access_log::RawAccessLog;
use super::groups;
use super::layer::{Flat, flat};
use super::log::{Log, LogFormat, LogLevel};
use super::model::{
    Admin, Chunks, Config, Control, ControlPath, Coverage, Group, Limits, ListenSettings, MinBound,
    Mode, OnBindError, OnLimit, Process, Retry, SandboxMode, Session, Shutdown, Supervision,
    Threads, Udp,
};
use super::schema::LISTEN_DEFAULTS;
use super::value::{file_mode, percent, port_range};
use crate::spec::{Cidr, Spec};

/// `"auto"` or a value.
#[derive(Deserialize)]
#[serde(untagged)]
enum Auto<T> {
    Given(T),
    #[allow(dead_code, reason = "the word itself says nothing")]
    Word(String),
}

impl<T> Auto<T> {
    fn given(self) -> Option<T> {
        match self {
            Self::Given(value) => Some(value),
            Self::Word(_) => None,
        }
    }
}

#[derive(Deserialize)]
struct Sections {
    threads: RawThreads,
    chunks: RawChunks,
    retry: RawRetry,
    supervision: RawSupervision,
    coverage: RawCoverage,
    session: RawSession,
    limits: RawLimits,
    udp: RawUdp,
    shutdown: RawShutdown,
    process: RawProcess,
    control: RawControl,
    admin: RawAdmin,
    access_log: RawAccessLog,
    log: RawLog,
}

#[derive(Deserialize)]
struct RawListen {
    mode: Mode,
    termination: String,
    allow_from: Vec<String>,
    deny_from: Vec<String>,
    freebind: bool,
    backlog: Auto<u16>,
    reuse_port: bool,
    on_bind_error: OnBindError,
}

#[derive(Deserialize)]
struct RawThreads {
    factor: f64,
    workers: Auto<u16>,
}

#[derive(Deserialize)]
struct RawChunks {
    size: Auto<u32>,
}

#[derive(Deserialize)]
struct RawRetry {
    max_attempts: u32,
    initial_backoff_ms: u64,
    max_backoff_ms: u64,
    multiplier: f64,
    jitter: f64,
    quarantine_probe_secs: u64,
}

#[derive(Deserialize)]
struct RawSupervision {
    max_restarts: u32,
    window_secs: u64,
}

#[derive(Deserialize)]
struct RawCoverage {
    min_bound: RawMinBound,
    wait_secs: u64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawMinBound {
    Count(u64),
    Percent(String),
}

#[derive(Deserialize)]
struct RawSession {
    idle_timeout_secs: u64,
    max_lifetime_secs: u64,
    write_timeout_secs: u64,
    keepalive_secs: u64,
}

#[derive(Deserialize)]
struct RawLimits {
    max_endpoints: u64,
    max_sessions: Auto<u32>,
    max_sessions_per_source: u32,
    fd_reserve: u32,
    on_limit: OnLimit,
}

#[derive(Deserialize)]
struct RawUdp {
    max_datagram_bytes: u16,
    receive_buffer_bytes: Auto<u32>,
    rate_per_source: u32,
    rate_total: u32,
    refuse_source_ports: Vec<String>,
    loop_breaker_per_sec: u32,
}

#[derive(Deserialize)]
struct RawShutdown {
    drain_timeout_secs: u64,
    quiet_ms: u64,
}

#[derive(Deserialize)]
struct RawProcess {
    user: String,
    group: String,
    sandbox: SandboxMode,
}

#[derive(Deserialize)]
struct RawControl {
    path: String,
    mode: String,
    group: String,
}

#[derive(Deserialize)]
struct RawAdmin {
    listen: String,
    allow_remote: bool,
}

#[derive(Deserialize)]
struct RawLog {
    level: LogLevel,
    format: LogFormat,
}

/// The typed configuration of merged sections and joined groups.
///
/// # Errors
/// A value that the schema let through and the model does not take.
pub(crate) fn config(
    merged: &::config::Config,
    groups: &[groups::Group],
    excludes: Vec<Spec>,
) -> Result<Config, ConfigError> {
    let raw: Sections = merged.clone().try_deserialize()?;
    Ok(Config {
        groups: groups.iter().map(|group| typed_group(merged, group)).collect::<Result<_, _>>()?,
        excludes,
        threads: Threads { factor: raw.threads.factor, workers: raw.threads.workers.given() },
        chunks: Chunks { size: raw.chunks.size.given() },
        retry: retry(&raw.retry),
        supervision: Supervision {
            max_restarts: raw.supervision.max_restarts,
            window: Duration::from_secs(raw.supervision.window_secs),
        },
        coverage: coverage(raw.coverage)?,
        session: session(&raw.session),
        limits: Limits {
            max_endpoints: raw.limits.max_endpoints,
            max_sessions: raw.limits.max_sessions.given(),
            max_sessions_per_source: Some(raw.limits.max_sessions_per_source)
                .filter(|most| *most > 0),
            fd_reserve: raw.limits.fd_reserve,
            on_limit: raw.limits.on_limit,
        },
        udp: udp(raw.udp)?,
        shutdown: Shutdown {
            drain_timeout: secs(raw.shutdown.drain_timeout_secs),
            quiet: off_or(Duration::from_millis(raw.shutdown.quiet_ms)),
        },
        process: Process {
            user: given(raw.process.user),
            group: given(raw.process.group),
            sandbox: raw.process.sandbox,
        },
        control: control(raw.control)?,
        admin: admin(&raw.admin)?,
        access_log: raw.access_log.into(),
        log: Log { level: raw.log.level, format: raw.log.format },
    })
}

/// The settings of a group over the defaults, each with its origin.
///
/// # Errors
/// None while the sources are tables.
pub(crate) fn group_settings(
    merged: &::config::Config,
    group: &groups::Group,
) -> Result<::config::Config, ConfigError> {
    let defaults = section(merged, LISTEN_DEFAULTS).cloned().unwrap_or_default();
    ::config::Config::builder().add_source(Flat(defaults)).add_source(flat(&group.settings)).build()
}

/// A section of the merged values, with their origins.
pub(crate) fn section<'a>(
    merged: &'a ::config::Config,
    name: &str,
) -> Option<&'a Map<String, Value>> {
    let ValueKind::Table(sections) = &merged.cache.kind else { return None };
    match &sections.get(name)?.kind {
        ValueKind::Table(table) => Some(table),
        _ => None,
    }
}

fn typed_group(merged: &::config::Config, group: &groups::Group) -> Result<Group, ConfigError> {
    let raw: RawListen = group_settings(merged, group)?.try_deserialize()?;
    Ok(Group {
        name: group.name.clone(),
        specs: group.specs.clone(),
        settings: ListenSettings {
            mode: raw.mode,
            termination: raw.termination.into_bytes(),
            allow_from: cidrs(raw.allow_from)?,
            deny_from: cidrs(raw.deny_from)?,
            freebind: raw.freebind,
            backlog: raw.backlog.given(),
            reuse_port: raw.reuse_port,
            on_bind_error: raw.on_bind_error,
        },
    })
}

/// Sorted and without repetitions, so that groups which mean the same are equal.
fn cidrs(texts: Vec<String>) -> Result<Vec<Cidr>, ConfigError> {
    let block = |text: String| text.parse().map_err(|_| ConfigError::Message(text));
    let mut blocks = texts.into_iter().map(block).collect::<Result<Vec<Cidr>, _>>()?;
    blocks.sort_unstable();
    blocks.dedup();
    Ok(blocks)
}

fn retry(raw: &RawRetry) -> Retry {
    Retry {
        max_attempts: raw.max_attempts,
        initial_backoff: Duration::from_millis(raw.initial_backoff_ms),
        max_backoff: Duration::from_millis(raw.max_backoff_ms),
        multiplier: raw.multiplier,
        jitter: raw.jitter,
        quarantine_probe: secs(raw.quarantine_probe_secs),
    }
}

fn coverage(raw: RawCoverage) -> Result<Coverage, ConfigError> {
    let min_bound = match raw.min_bound {
        RawMinBound::Count(count) => MinBound::Count(count),
        RawMinBound::Percent(text) => {
            let share = percent(&text).ok_or(ConfigError::Message(text))?;
            MinBound::Percent(share)
        }
    };
    Ok(Coverage { min_bound, wait: secs(raw.wait_secs) })
}

fn session(raw: &RawSession) -> Session {
    Session {
        idle_timeout: secs(raw.idle_timeout_secs),
        max_lifetime: secs(raw.max_lifetime_secs),
        write_timeout: secs(raw.write_timeout_secs),
        keepalive: secs(raw.keepalive_secs),
    }
}

fn udp(raw: RawUdp) -> Result<Udp, ConfigError> {
    let range = |text: String| port_range(&text).ok_or(ConfigError::Message(text));
    Ok(Udp {
        max_datagram_bytes: raw.max_datagram_bytes,
        receive_buffer_bytes: raw.receive_buffer_bytes.given(),
        rate_per_source: NonZeroU32::new(raw.rate_per_source),
        rate_total: NonZeroU32::new(raw.rate_total),
        refuse_source_ports: raw
            .refuse_source_ports
            .into_iter()
            .map(range)
            .collect::<Result<_, _>>()?,
        loop_breaker_per_sec: NonZeroU32::new(raw.loop_breaker_per_sec),
    })
}

fn control(raw: RawControl) -> Result<Control, ConfigError> {
    Ok(Control {
        path: match raw.path.as_str() {
            "auto" => ControlPath::Auto,
            "none" => ControlPath::Off,
            path => ControlPath::At(path.into()),
        },
        mode: file_mode(&raw.mode).ok_or(ConfigError::Message(raw.mode))?,
        group: given(raw.group),
    })
}

fn admin(raw: &RawAdmin) -> Result<Admin, ConfigError> {
    let listen = match raw.listen.as_str() {
        "none" => None,
        address => Some(address.parse().map_err(|_| ConfigError::Message(raw.listen.clone()))?),
    };
    Ok(Admin { listen, allow_remote: raw.allow_remote })
}

/// An empty text means "none".
fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn secs(seconds: u64) -> Option<Duration> {
    off_or(Duration::from_secs(seconds))
}

/// 0 means "off".
fn off_or(duration: Duration) -> Option<Duration> {
    (!duration.is_zero()).then_some(duration)
}
