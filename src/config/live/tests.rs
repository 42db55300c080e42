//! What can be set live, and that nothing else happens.

use super::*;
use crate::config::load_str;
use crate::config::log::LogLevel;
use crate::config::model::{MinBound, OnLimit};
use std::time::Duration;

/// A configuration with a value of its own for each live key.
const OTHERS: &str = r#"
[retry]
max_attempts = 7
initial_backoff_ms = 11
max_backoff_ms = 12
multiplier = 1.5
jitter = 0.25
quarantine_probe_secs = 0
[supervision]
max_restarts = 9
window_secs = 10
[coverage]
min_bound = "99.5%"
[session]
idle_timeout_secs = 0
max_lifetime_secs = 3
write_timeout_secs = 4
keepalive_secs = 5
[limits]
max_endpoints = 77
max_sessions = 6
max_sessions_per_source = 2
fd_reserve = 1
on_limit = "close"
[udp]
max_datagram_bytes = 0
rate_per_source = 0
rate_total = 8
refuse_source_ports = ["7-9", 53]
loop_breaker_per_sec = 1
[shutdown]
drain_timeout_secs = 0
quiet_ms = 1
[log]
level = "trace"
"#;

fn config(text: &str) -> Config {
    load_str("test", &format!("[[listen]]\nname = \"lab\"\nspec = \"127.0.0.1:1-9\"\n{text}"))
        .expect("legal")
        .config
}

fn live(text: &str) -> LiveConfig {
    LiveConfig::new(config(text), true)
}

fn pairs(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// What is refused, as a person reads it, and whether a restart would do.
fn refused(settings: &[(&str, &str)]) -> (String, bool) {
    match live("").set(&pairs(settings)) {
        Ok((_, changed)) => panic!("{changed:?}"),
        Err(NotSet::NeedsRestart(errors)) => (errors.to_string(), true),
        Err(NotSet::Illegal(errors)) => (errors.to_string(), false),
    }
}

#[test]
fn every_live_key_is_written_as_it_is_read() {
    let (others, before) = (live(OTHERS), live(""));
    let written: Vec<(String, String)> = others
        .values()
        .iter()
        .map(|(key, value)| (key.path(), value.to_string().trim_matches('"').to_owned()))
        .collect();
    assert!(written.contains(&("coverage.min_bound".to_owned(), "99.5%".to_owned())));
    let (after, changed) = before.set(&written).expect("legal");
    assert_eq!(after.config(), others.config());
    assert_eq!(changed.len(), written.len(), "each differs: {changed:?}");
    assert_eq!(after.values(), others.values());
}

#[test]
fn what_a_reload_takes_over_is_what_can_be_set() {
    let before = live("");
    let (after, followed) = before.follow(&config(OTHERS)).expect("legal");
    assert_eq!(after.config(), &config(OTHERS));
    assert_eq!(followed.changed.len(), before.values().len());
    assert_eq!(before.needs_restart(&config(OTHERS)), Vec::<&str>::new());
}

#[test]
fn a_change_says_from_what_to_what() {
    let settings = [("limits.max_sessions", "10"), ("session.keepalive_secs", "60")];
    let (after, changed) = live("").set(&pairs(&settings)).expect("legal");
    let expected = SettingChange {
        key: "limits.max_sessions".to_owned(),
        from: "auto".to_owned().into(),
        to: EffectiveValue::Number(10),
    };
    assert_eq!(changed, [expected], "the other is as it was");
    assert_eq!(after.config().limits.max_sessions, Some(10));
}

#[test]
fn values_are_written_as_after_set() {
    let settings = [
        ("udp.refuse_source_ports", "[\"0-7\", 9]"),
        ("limits.on_limit", "close"),
        ("coverage.min_bound", "50%"),
        ("limits.max_sessions", "auto"),
        ("session.idle_timeout_secs", "0"),
        ("session.idle_timeout_secs", "2"),
    ];
    let (after, _) = live("").set(&pairs(&settings)).expect("legal");
    let config = after.config();
    assert_eq!(config.udp.refuse_source_ports, [(0, 7), (9, 9)]);
    assert_eq!(config.limits.on_limit, OnLimit::Close);
    assert_eq!(config.coverage.min_bound, MinBound::Percent(50.0));
    assert_eq!(config.session.idle_timeout, Some(Duration::from_secs(2)), "the last wins");
}

#[test]
fn a_refusal_names_the_key_what_was_found_and_what_is_allowed() {
    for (key, value, words) in [
        (
            "limits.max_sessions",
            "0",
            &["`limits.max_sessions`", "\"auto\"", "10000000", "found 0"][..],
        ),
        ("session.idle_timeout_secs", "soon", &["seconds from 0 to 31536000", "found \"soon\""]),
        ("limits.on_limit", "closed", &["\"wait\", \"close\"", "did you mean \"close\"?"]),
        ("udp.refuse_source_ports", "99999", &["`udp.refuse_source_ports`", "0 to 65535"]),
        ("limits.max_session", "1", &["unknown key `limits.max_session`", "limits.max_sessions"]),
        ("", "1", &["unknown key"]),
        ("listen_defaults.mode", "discard", &["`listen_defaults.mode`", "reload"]),
        ("listen.ports", "1", &["`listen.ports`", "reload"]),
        ("listen.nonsense", "1", &["`listen.nonsense`", "reload"]),
        ("retry.max_backoff_ms", "50", &["found 50 (set live) and 100 (the configuration)"]),
        ("retry.initial_backoff_ms", "6000", &["5000 (the configuration) and 6000 (set live)"]),
    ] {
        let (message, by_restart) = refused(&[("limits.max_sessions", "5"), (key, value)]);
        assert!(!by_restart, "{message}");
        for word in words {
            assert!(message.contains(word), "{key}={value}: {word} is not in {message}");
        }
    }
}

#[test]
fn what_takes_a_restart_says_so() {
    let keys = [
        "threads.workers",
        "chunks.size",
        "process.user",
        "coverage.wait_secs",
        "udp.receive_buffer_bytes",
        "log.format",
    ];
    for key in keys {
        let (message, by_restart) = refused(&[(key, "1")]);
        assert!(
            by_restart && message.contains(key) && message.contains("start again"),
            "{message}"
        );
    }
    let (message, by_restart) = refused(&[("threads.workers", "1"), ("limits.max_sessions", "0")]);
    assert!(!by_restart && message.lines().count() == 2, "both faults: {message}");
    let mut changed = config("[udp]\nreceive_buffer_bytes = 4096\n[coverage]\nwait_secs = 1");
    changed.threads.workers = Some(1);
    changed.log.level = LogLevel::Trace;
    let expected = ["threads", "coverage.wait_secs", "udp.receive_buffer_bytes"];
    assert_eq!(live("").needs_restart(&changed), expected);
    let (after, _) = live("").follow(&changed).expect("legal");
    assert_eq!(after.config().udp.receive_buffer_bytes, None, "sockets have it already");
    assert_eq!(after.config().threads.workers, None);
}

#[test]
fn nobody_who_has_no_log_is_asked_for_its_level() {
    let deaf = LiveConfig::new(config(""), false);
    let level = [("log.level".to_owned(), "debug".to_owned())];
    assert!(matches!(deaf.set(&level), Err(NotSet::NeedsRestart(_))));
    assert!(deaf.values().iter().all(|(key, _)| key.section != "log"));
    let louder = config("[log]\nlevel = \"debug\"");
    assert_eq!(deaf.needs_restart(&louder), ["log.level"]);
    let (after, followed) = deaf.follow(&louder).expect("legal");
    assert_eq!((after.config().log.level, followed.changed.len()), (LogLevel::Info, 0));
}

#[test]
fn what_was_set_wins_over_a_new_configuration_and_is_named() {
    let settings = [("limits.max_sessions", "10"), ("session.idle_timeout_secs", "9")];
    let (set, _) = live("").set(&pairs(&settings)).expect("legal");
    let text = "[limits]\nmax_sessions = 20\n[session]\nidle_timeout_secs = 9\nkeepalive_secs = 7";
    let (after, followed) = set.follow(&config(text)).expect("legal");
    let kept = KeptSetting {
        key: "limits.max_sessions".to_owned(),
        value: EffectiveValue::Number(10),
        configured: EffectiveValue::Number(20),
    };
    assert_eq!(followed.kept, [kept]);
    let keys: Vec<_> = followed.changed.iter().map(|change| change.key.as_str()).collect();
    assert_eq!(keys, ["session.keepalive_secs"]);
    assert_eq!(after.config().limits.max_sessions, Some(10));
    let (again, _) = after.follow(&config("")).expect("legal");
    assert_eq!(again.config().session.idle_timeout, Some(Duration::from_secs(9)), "still set");
}

#[test]
fn a_configuration_that_contradicts_what_was_set_is_refused() {
    let (set, _) = live("").set(&pairs(&[("retry.max_backoff_ms", "200")])).expect("legal");
    let slower = config("[retry]\ninitial_backoff_ms = 300");
    let errors = set.follow(&slower).expect_err("200 is less than 300").to_string();
    assert!(errors.contains("found 200 (set live) and 300 (the configuration)"), "{errors}");
}
