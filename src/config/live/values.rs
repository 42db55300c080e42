//! The keys that a running service takes over, as the file writes their values.
//!
//! The one list of them: what is written here can be set live.

use std::num::NonZeroU32;
use std::time::Duration;

use ::config::ValueKind;

use crate::config::effective::{EffectiveValue, effective_value};
use crate::config::log::LogLevel;
use crate::config::model::{Config, MinBound, OnLimit};
use crate::config::schema::{KEYS, Key};

/// The value of each live key, in the order of the documentation.
pub(super) fn of(config: &Config) -> Vec<(&'static Key, EffectiveValue)> {
    kinds(config).map(|(key, kind)| (key, effective_value(&kind))).collect()
}

/// The same as layers carry them.
pub(super) fn kinds(config: &Config) -> impl Iterator<Item = (&'static Key, ValueKind)> + '_ {
    KEYS.iter().filter_map(|key| Some((key, of_key(config, key)?)))
}

/// The value of a key; `None` where it is not live.
pub(super) fn of_key(config: &Config, key: &Key) -> Option<ValueKind> {
    let Config { retry, supervision, session, limits, udp, shutdown, .. } = config;
    Some(match (key.section, key.name) {
        ("retry", "max_attempts") => whole(retry.max_attempts),
        ("retry", "initial_backoff_ms") => millis(Some(retry.initial_backoff)),
        ("retry", "max_backoff_ms") => millis(Some(retry.max_backoff)),
        ("retry", "multiplier") => ValueKind::Float(retry.multiplier),
        ("retry", "jitter") => ValueKind::Float(retry.jitter),
        ("retry", "quarantine_probe_secs") => secs(retry.quarantine_probe),
        ("supervision", "max_restarts") => whole(supervision.max_restarts),
        ("supervision", "window_secs") => secs(Some(supervision.window)),
        ("coverage", "min_bound") => match config.coverage.min_bound {
            MinBound::Count(count) => whole(count),
            MinBound::Percent(share) => ValueKind::String(format!("{share}%")),
        },
        ("session", "idle_timeout_secs") => secs(session.idle_timeout),
        ("session", "max_lifetime_secs") => secs(session.max_lifetime),
        ("session", "write_timeout_secs") => secs(session.write_timeout),
        ("session", "keepalive_secs") => secs(session.keepalive),
        ("limits", "max_endpoints") => whole(limits.max_endpoints),
        ("limits", "max_sessions") => limits.max_sessions.map_or_else(|| word("auto"), whole),
        ("limits", "max_sessions_per_source") => whole(limits.max_sessions_per_source.unwrap_or(0)),
        ("limits", "fd_reserve") => whole(limits.fd_reserve),
        ("limits", "on_limit") => word(match limits.on_limit {
            OnLimit::Wait => "wait",
            OnLimit::Close => "close",
        }),
        ("udp", "max_datagram_bytes") => whole(udp.max_datagram_bytes),
        ("udp", "rate_per_source") => rate(udp.rate_per_source),
        ("udp", "rate_total") => rate(udp.rate_total),
        ("udp", "refuse_source_ports") => ports(&udp.refuse_source_ports),
        ("udp", "loop_breaker_per_sec") => rate(udp.loop_breaker_per_sec),
        ("shutdown", "drain_timeout_secs") => secs(shutdown.drain_timeout),
        ("shutdown", "quiet_ms") => millis(shutdown.quiet),
        ("log", "level") => word(match config.log.level {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }),
        _ => return None,
    })
}

fn whole(number: impl Into<u64>) -> ValueKind {
    ValueKind::U64(number.into())
}

fn word(word: &str) -> ValueKind {
    ValueKind::String(word.to_owned())
}

/// Off is written as 0.
fn secs(time: Option<Duration>) -> ValueKind {
    whole(time.map_or(0, |time| time.as_secs()))
}

fn millis(time: Option<Duration>) -> ValueKind {
    whole(time.map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
}

fn rate(rate: Option<NonZeroU32>) -> ValueKind {
    whole(rate.map_or(0, NonZeroU32::get))
}

fn ports(ranges: &[(u16, u16)]) -> ValueKind {
    let range = |(first, last): &(u16, u16)| match first == last {
        true => first.to_string().into(),
        false => format!("{first}-{last}").into(),
    };
    ValueKind::Array(ranges.iter().map(range).collect())
}
