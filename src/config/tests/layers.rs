//! Which layer wins, and what the built-in one says.

use std::time::Duration;

use super::*;

#[test]
fn the_built_in_text_and_the_built_in_values_are_the_same() {
    let loaded = load(&no_file()).expect("the built-in configuration is legal");
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.config.groups.len(), 1);
    assert_eq!(loaded.config.groups[0].name, "lab");
    assert_eq!(loaded.config.groups[0].specs[0].to_string(), "both://127.0.0.1:18000-18009");
}

#[test]
fn the_built_in_text_sets_and_explains_every_built_key() {
    let table: toml::Table = BUILT_IN.parse().expect("TOML");
    for key in schema::KEYS.iter().filter(|key| key.name != "spec") {
        let section = match &table[key.section] {
            toml::Value::Array(groups) => &groups[0],
            section => section,
        };
        assert!(section.get(key.name).is_some(), "{} is not set", key.path());
    }
    let lines: Vec<&str> = BUILT_IN.lines().collect();
    for (before, line) in lines.iter().zip(&lines[1..]) {
        let sets_something = !line.is_empty() && !line.starts_with('#');
        assert!(!sets_something || before.starts_with('#') || line.starts_with('['), "{line}");
    }
}

#[test]
fn the_environment_wins_over_a_file_and_set_over_both_and_an_argument_over_all() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("a.toml");
    std::fs::write(&file, "[threads]\nworkers = 2\n").expect("a file");
    let mut inputs = Inputs { config_files: vec![file], ..Inputs::default() };
    let workers = |inputs: &Inputs| load(inputs).expect("legal").config.threads.workers;
    assert_eq!(workers(&inputs), Some(2));
    inputs.env = vec![("IPCOW__THREADS__WORKERS".to_owned(), "3".to_owned())];
    assert_eq!(workers(&inputs), Some(3));
    inputs.sets = vec!["threads.workers=4".to_owned(), "threads.workers=5".to_owned()];
    assert_eq!(workers(&inputs), Some(5));
    inputs.workers = Some("6".to_owned());
    assert_eq!(workers(&inputs), Some(6));
    inputs.workers = Some("auto".to_owned());
    assert_eq!(workers(&inputs), None);
}

#[test]
fn a_later_file_wins_key_by_key() {
    let directory = tempfile::tempdir().expect("a directory");
    let (first, second) = (directory.path().join("a.toml"), directory.path().join("b.toml"));
    std::fs::write(&first, "[retry]\nmax_attempts = 7\njitter = 0\n").expect("a file");
    std::fs::write(&second, "[retry]\nmax_attempts = 8\n").expect("a file");
    let inputs = Inputs { config_files: vec![first, second], ..Inputs::default() };
    let retry = load(&inputs).expect("legal").config.retry;
    assert_eq!((retry.max_attempts, retry.jitter), (8, 0.0));
}

#[test]
fn a_variable_is_read_as_toml_and_else_as_text() {
    let min_bound = |value| {
        let inputs = variables(&[("IPCOW__COVERAGE__MIN_BOUND", value)]);
        load(&inputs).expect("legal").config.coverage.min_bound
    };
    assert_eq!(min_bound("100%"), MinBound::Percent(100.0));
    assert_eq!(min_bound("\"99.5%\""), MinBound::Percent(99.5));
    assert_eq!(min_bound("12"), MinBound::Count(12));
}

#[test]
fn text_that_looks_like_a_number_stays_text_where_text_is_wanted() {
    let inputs = sets(&["listen_defaults.termination=123", "log.level=debug"]);
    let config = load(&inputs).expect("legal").config;
    assert_eq!(config.groups[0].settings.termination, b"123");
    assert_eq!(config.log.level, LogLevel::Debug);
    let inputs = sets(&["listen_defaults.termination=\"\\r\\n\""]);
    assert_eq!(load(&inputs).expect("legal").config.groups[0].settings.termination, b"\r\n");
    let inputs = sets(&["listen_defaults.termination=a=b"]);
    assert_eq!(load(&inputs).expect("legal").config.groups[0].settings.termination, b"a=b");
}

#[test]
fn names_with_one_underscore_are_not_ours() {
    let inputs = variables(&[
        ("IPCOW_SERVICE_HOST", "10.0.0.1"),
        ("IPCOW_PORT", "tcp://10.0.0.1:80"),
        ("THREADS__WORKERS", "nonsense"),
    ]);
    assert_eq!(load(&inputs).expect("legal").config, Config::default());
}

#[test]
fn the_defaults_of_groups_come_from_every_layer() {
    let inputs = variables(&[
        ("IPCOW__LISTEN_DEFAULTS__MODE", "discard"),
        ("IPCOW__LISTEN_DEFAULTS__BACKLOG", "128"),
        ("IPCOW__LISTEN_DEFAULTS__ON_BIND_ERROR", "rollback"),
        ("IPCOW__LISTEN_DEFAULTS__FREEBIND", "true"),
        ("IPCOW__LISTEN_DEFAULTS__ALLOW_FROM", "2001:db8::/32, 10.0.0.0/8,10.0.0.0/8"),
        ("IPCOW__LISTEN_DEFAULTS__DENY_FROM", "[\"10.1.2.3\"]"),
    ]);
    let settings = load(&inputs).expect("legal").config.groups[0].settings.clone();
    assert_eq!(settings.mode, Mode::Discard);
    assert_eq!(settings.backlog, Some(128));
    assert_eq!(settings.on_bind_error, OnBindError::Rollback);
    assert!(settings.freebind);
    let shown = |blocks: &[crate::spec::Cidr]| -> Vec<String> {
        blocks.iter().map(ToString::to_string).collect()
    };
    assert_eq!(shown(&settings.allow_from), ["10.0.0.0/8", "2001:db8::/32"]);
    assert_eq!(shown(&settings.deny_from), ["10.1.2.3/32"]);
}

#[test]
fn zero_turns_a_timeout_off() {
    let config = load(&sets(&[
        "session.idle_timeout_secs=0",
        "session.write_timeout_secs=0",
        "session.keepalive_secs=0",
        "retry.quarantine_probe_secs=0",
        "coverage.wait_secs=0",
        "shutdown.drain_timeout_secs=0",
        "shutdown.quiet_ms=0",
    ]))
    .expect("legal")
    .config;
    assert_eq!(config.session.idle_timeout, None);
    assert_eq!(config.session.write_timeout, None);
    assert_eq!(config.session.keepalive, None);
    assert_eq!(config.retry.quarantine_probe, None);
    assert_eq!(config.coverage.wait, None);
    assert_eq!(config.shutdown.drain_timeout, None);
    assert_eq!(config.shutdown.quiet, None);
}

#[test]
fn numbers_lists_and_words_arrive_with_their_types() {
    let text = "
        [threads]
        factor = 2
        [chunks]
        size = 0x10
        [retry]
        max_backoff_ms = 10_000
        [limits]
        max_sessions = 7
        max_sessions_per_source = 3
        on_limit = 'close'
        [udp]
        refuse_source_ports = [\"0-99\", 123, \"7, 9\"]
        receive_buffer_bytes = 4096
        [log]
        format = 'json'
    ";
    let config = load_str("test.toml", text).expect("legal").config;
    assert_eq!(config.threads.factor, 2.0);
    assert_eq!(config.chunks.size, Some(16));
    assert_eq!(config.retry.max_backoff, Duration::from_secs(10));
    assert_eq!(config.limits.max_sessions, Some(7));
    assert_eq!(config.limits.max_sessions_per_source, Some(3));
    assert_eq!(config.limits.on_limit, OnLimit::Close);
    assert_eq!(Config::default().limits.max_sessions_per_source, None);
    assert_eq!(config.udp.refuse_source_ports, [(0, 99), (123, 123), (7, 7), (9, 9)]);
    assert_eq!(config.udp.receive_buffer_bytes, Some(4096));
    assert_eq!(config.log.format, LogFormat::Json);
}

#[test]
fn what_is_shown_loads_to_the_same_configuration() {
    let mut inputs = sets(&[
        "listen_defaults.termination=\"\\u0000\\\"é\\n\"",
        "coverage.min_bound=99.5%",
        "threads.factor=0.5",
        "chunks.size=9",
        "udp.refuse_source_ports=[]",
        "listen_defaults.allow_from=[\"10.0.0.0/8\", \"::ffff:192.0.2.0/120\"]",
    ]);
    inputs.specs = vec!["127.0.0.1:1-9".to_owned(), "!127.0.0.1:5".to_owned()];
    let examples = [include_str!("../../../config/lab.toml"), BUILT_IN];
    let mut loaded: Vec<LoadedConfig> =
        examples.iter().map(|text| load_str("a.toml", text).expect("legal")).collect();
    loaded.push(load(&inputs).expect("legal"));
    for loaded in loaded {
        let mut text = String::new();
        for table in loaded.effective() {
            let header = format!("[{}]\n", table.name);
            text += &if table.name == "listen" { format!("[{}]\n", header.trim()) } else { header };
            for key in table.keys {
                text += &format!("{} = {}\n", key.name, key.to_toml());
            }
        }
        let again =
            load_str("shown.toml", &text).unwrap_or_else(|faults| panic!("{faults}\n{text}"));
        assert_eq!(again.config, loaded.config, "{text}");
    }
}

#[test]
fn every_value_says_where_it_came_from() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("a.toml");
    let text = "# a comment\n[retry]\njitter = 0.1\n[[listen]]\nname = \"x\"\nspec = \":80\"\nmode = \"discard\"\n";
    std::fs::write(&file, text).expect("a file");
    let inputs = Inputs {
        config_files: vec![file.clone()],
        env: vec![("IPCOW__CHUNKS__SIZE".to_owned(), "5".to_owned())],
        sets: vec!["retry.multiplier=3.0".to_owned()],
        workers: Some("2".to_owned()),
        ..Inputs::default()
    };
    let tables = load(&inputs).expect("legal").effective();
    let origin = |table: &str, key: &str| {
        let table = tables.iter().find(|found| found.name == table).expect("the table");
        table.keys.iter().find(|found| found.name == key).expect("the key").origin.clone()
    };
    let path = file.display();
    assert_eq!(origin("retry", "jitter"), format!("{path}:3"));
    assert_eq!(origin("retry", "max_attempts"), "built-in");
    assert_eq!(origin("retry", "multiplier"), "--set");
    assert_eq!(origin("chunks", "size"), "environment IPCOW__CHUNKS__SIZE");
    assert_eq!(origin("threads", "workers"), "--workers");
    assert_eq!(origin("listen", "spec"), format!("{path}:4"));
    assert_eq!(origin("listen", "mode"), format!("{path}:7"));
    assert_eq!(origin("listen", "termination"), "built-in");
}
