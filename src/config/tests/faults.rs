//! What is refused, and what the refusal says.

use super::*;

#[test]
fn an_unknown_key_names_the_nearest_known_one() {
    let fault = only_fault("[session]\nidle_timeuot_secs = 5\n");
    assert_eq!(fault.message, "unknown key `session.idle_timeuot_secs`");
    assert_eq!(fault.help.as_deref(), Some("did you mean `session.idle_timeout_secs`?"));
    assert_eq!((fault.line, fault.column, marked(&fault)), (2, 1, "idle_timeuot_secs"));
}

#[test]
fn a_key_in_the_wrong_section_is_shown_the_right_one() {
    let fault = only_fault("[session]\njitter = 0.5\n");
    assert_eq!(fault.help.as_deref(), Some("did you mean `retry.jitter`?"));
    let fault = only_fault("workers = 5\n");
    assert_eq!(fault.help.as_deref(), Some("did you mean `threads.workers`?"));
}

#[test]
fn an_unknown_section_names_the_nearest_known_one() {
    let fault = only_fault("[sesion]\nx = 1\n");
    assert_eq!(fault.message, "unknown section or key \"sesion\"");
    assert_eq!(fault.help.as_deref(), Some("did you mean [session]?"));
    let fault = only_fault("[[listne]]\nx = 1\n");
    assert_eq!(fault.help.as_deref(), Some("did you mean [[listen]]?"));
}

#[test]
fn a_wrong_type_says_what_was_found_and_what_is_allowed() {
    let message = |text: &str| only_fault(text).message;
    assert_eq!(
        message("[threads]\nworkers = true\n"),
        "`threads.workers` must be \"auto\" or a whole number of threads from 1 to 1024, found true"
    );
    assert_eq!(
        message("[threads]\nfactor = \"2\"\n"),
        "`threads.factor` must be a number from 0.01 to 64, found \"2\""
    );
    assert_eq!(
        message("[listen_defaults]\nfreebind = \"yes\"\n"),
        "`listen_defaults.freebind` must be true or false, found \"yes\""
    );
    assert_eq!(
        message("[listen_defaults]\nmode = 1979-05-27\n"),
        "`listen_defaults.mode` must be one of \"echo\", \"discard\", found a date or time"
    );
    assert_eq!(message("threads = 5\n"), "`threads` is a table, found 5");
    assert_eq!(
        message("[listen]\nname = \"x\"\n"),
        "`listen` is an array of tables, found a table"
    );
    assert_eq!(message("listen = [5]\n"), "a group is a table, found 5");
}

#[test]
fn a_value_out_of_its_bounds_is_refused() {
    for set in [
        "threads.factor=0",
        "threads.factor=65",
        "threads.factor=nan",
        "threads.factor=inf",
        "threads.workers=0",
        "threads.workers=1025",
        "chunks.size=0",
        "retry.max_attempts=0",
        "retry.max_attempts=-1",
        "retry.max_attempts=99999999999999999999999999",
        "retry.initial_backoff_ms=0",
        "retry.multiplier=0.9",
        "retry.jitter=1.1",
        "coverage.min_bound=101%",
        "coverage.min_bound=-1%",
        "coverage.min_bound=%",
        "coverage.min_bound=1.5",
        "coverage.min_bound=1e1%",
        "session.keepalive_secs=32768",
        "session.idle_timeout_secs=1.5",
        "limits.max_endpoints=0",
        "udp.max_datagram_bytes=65508",
        "udp.refuse_source_ports=[\"80-70\"]",
        "udp.refuse_source_ports=[65536]",
        "udp.refuse_source_ports=[\"\"]",
        "udp.refuse_source_ports=[-1]",
        "listen_defaults.allow_from=[\"10.0.0.0/33\"]",
        "listen_defaults.allow_from=[5]",
        "listen_defaults.deny_from=10.0.0.256",
        "listen_defaults.backlog=0",
        "listen_defaults.backlog=65536",
        "log.level=loud",
    ] {
        let errors = load(&sets(&[set])).expect_err(set);
        assert_eq!(errors.faults().len(), 1, "{set}: {errors}");
        let (path, value) = set.split_once('=').expect("an assignment");
        assert!(errors.to_string().contains(path), "{errors}");
        assert!(value.contains(marked(&errors.faults()[0])), "{errors}");
    }
}

#[test]
fn a_source_with_host_bits_is_refused_with_the_block_that_was_meant() {
    let fault = only_fault("[listen_defaults]\nallow_from = [\"::1\", \"10.0.0.1/8\"]\n");
    assert_eq!(marked(&fault), "\"10.0.0.1/8\"");
    let help = fault.help.unwrap_or_default();
    assert!(help.ends_with("did you mean 10.0.0.0/8?"), "{help}");
}

#[test]
fn a_termination_sequence_of_4096_bytes_is_legal_and_one_more_is_not() {
    let text = |length| format!("[listen_defaults]\ntermination = \"{}\"\n", "x".repeat(length));
    assert!(load_str("test.toml", &text(4096)).is_ok());
    let fault = only_fault(&text(4097));
    let expected = "`listen_defaults.termination` must be a string of at most 4096 bytes, found a string of 4097 bytes";
    assert_eq!(fault.message, expected);
}

#[test]
fn all_faults_of_all_layers_are_reported_at_once() {
    let mut inputs = variables(&[("IPCOW__THREADS__WORKERS", "many"), ("IPCOW__CHUNK__SIZE", "1")]);
    inputs.sets = vec!["log.level=loud".to_owned(), "nonsense".to_owned()];
    inputs.specs = vec!["127.0.0.1:65536".to_owned()];
    inputs.excludes = vec!["10.0.0.256:80".to_owned(), "!127.0.0.1:80".to_owned()];
    inputs.workers = Some("-1".to_owned());
    let errors = load(&inputs).expect_err("all of it is wrong");
    let origins: Vec<String> =
        errors.faults().iter().map(|fault| fault.origin.to_string()).collect();
    assert_eq!(
        origins,
        [
            "environment IPCOW__CHUNK__SIZE",
            "environment IPCOW__THREADS__WORKERS",
            "--set",
            "--set",
            "--workers",
            "SPEC argument",
            "--exclude",
            "--exclude"
        ]
    );
}

#[test]
fn faults_of_arguments_alone_are_wrong_usage_and_any_other_is_wrong_configuration() {
    let code = |inputs: &Inputs| load(inputs).expect_err("a fault").exit_code();
    let specs = Inputs { specs: vec!["127.0.0.1:80x".to_owned()], ..no_file() };
    assert_eq!(code(&specs), 2);
    assert_eq!(code(&sets(&["log.level=loud"])), 2);
    assert_eq!(code(&Inputs { excludes: vec![String::new()], ..no_file() }), 2);
    assert_eq!(code(&Inputs { workers: Some("x".to_owned()), ..no_file() }), 2);
    let mut both = variables(&[("IPCOW__LOG__LEVEL", "loud")]);
    assert_eq!(code(&both), 78);
    both.specs = specs.specs;
    assert_eq!(code(&both), 78);
    let missing = Inputs { config_files: vec!["/nonexistent/a.toml".into()], ..Inputs::default() };
    assert_eq!(code(&missing), 78);
}

#[test]
fn an_unknown_variable_names_the_nearest_known_one() {
    for (name, near) in [
        ("IPCOW__SESSION__IDLE_TIMEOUT", "IPCOW__SESSION__IDLE_TIMEOUT_SECS"),
        ("IPCOW__THREADS_WORKERS", "IPCOW__THREADS__WORKERS"),
        ("IPCOW__threads__workers", "IPCOW__THREADS__WORKERS"),
        ("IPCOW__LISTENS", "IPCOW__LISTEN"),
    ] {
        let errors = load(&variables(&[(name, "1")])).expect_err(name);
        let expected = format!("did you mean `{near}`?");
        assert_eq!(errors.faults()[0].help.as_deref(), Some(expected.as_str()));
    }
    let errors = load(&variables(&[("IPCOW__", "1")])).expect_err("no key");
    assert_eq!(errors.faults()[0].message, "unknown variable `IPCOW__`");
    let errors = load(&variables(&[("IPCOW__LISTEN", " ")])).expect_err("no spec");
    assert_eq!(errors.faults()[0].message, "`IPCOW__LISTEN` names no endpoint");
}

#[test]
fn groups_are_not_set_one_by_one() {
    for set in ["listen.name=x", "listen=x"] {
        let errors = load(&sets(&[set])).expect_err(set);
        assert!(errors.faults()[0].message.starts_with("groups are not set with `--set`"));
    }
}

#[test]
fn the_longest_delay_is_at_least_the_first() {
    let fault = only_fault("[retry]\ninitial_backoff_ms = 9000\n");
    assert_eq!(
        fault.message,
        "`retry.max_backoff_ms` must be at least `retry.initial_backoff_ms`, \
         found 5000 (built-in) and 9000 (test.toml:2)"
    );
    assert_eq!((fault.line, marked(&fault)), (2, "9000"));
    let both = "[retry]\ninitial_backoff_ms = 10\nmax_backoff_ms = 9\n";
    assert_eq!(only_fault(both).line, 3);
}

#[test]
fn no_more_than_fifty_faults_are_kept_and_the_rest_is_counted() {
    let text: String = (0..120).map(|index| format!("unknown{index} = 1\n")).collect();
    let errors = load_str("test.toml", &text).expect_err("all unknown");
    assert_eq!((errors.faults().len(), errors.omitted()), (50, 70));
    assert_eq!(errors.exit_code(), 78);
    assert!(errors.to_string().ends_with("\n… 70 more"));
}

#[test]
fn a_file_that_serves_nothing_is_refused() {
    assert_eq!(only_fault("listen = []\n").message, "there is no group to serve");
}

#[test]
fn control_characters_of_a_person_never_reach_the_terminal() {
    let fault = only_fault("\"\\u001b[31m\" = 1\n");
    assert!(!fault.to_string().contains('\u{1b}'), "{fault}");
    let errors = load(&sets(&["\u{1b}[31m=\u{7}"])).expect_err("unknown");
    assert!(!errors.to_string().chars().any(|char| char.is_control() && char != '\n'), "{errors}");
}
