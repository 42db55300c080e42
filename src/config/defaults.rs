//! The values that `config/default.toml` sets, for code that reads no text.
//!
//! A test holds the two equal. Never reads or parses anything but one spec.

use std::num::NonZeroU32;
use std::time::Duration;

use super::access_log::AccessLog;
use super::log::{Log, LogFormat, LogLevel};
use super::model::{
    Admin, Chunks, Config, Control, ControlPath, Coverage, Group, Limits, ListenSettings, MinBound,
    Mode, OnBindError, OnLimit, Process, Retry, SandboxMode, Session, Shutdown, Supervision,
    Threads, Udp,
};
use crate::spec::{Protocol, Spec};

impl Default for Config {
    /// The built-in configuration: the group `lab`, loopback only.
    fn default() -> Self {
        // The lists are constants, so there is no error to report; a test holds that.
        let lab = Spec::from_parts(&["127.0.0.1"], &["18000-18009"], &Protocol::ALL);
        Self {
            groups: lab.into_iter().map(|spec| Group::new("lab", vec![spec])).collect(),
            excludes: Vec::new(),
            threads: Threads::default(),
            chunks: Chunks::default(),
            retry: Retry::default(),
            supervision: Supervision::default(),
            coverage: Coverage::default(),
            session: Session::default(),
            limits: Limits::default(),
            udp: Udp::default(),
            shutdown: Shutdown::default(),
            process: Process::default(),
            control: Control::default(),
            admin: Admin::default(),
            access_log: AccessLog::default(),
            log: Log::default(),
        }
    }
}

impl Group {
    /// A group with the default settings; names are not checked here.
    #[must_use]
    pub fn new(name: impl Into<String>, specs: Vec<Spec>) -> Self {
        Self { name: name.into(), specs, settings: ListenSettings::default() }
    }
}

impl Default for ListenSettings {
    fn default() -> Self {
        Self {
            mode: Mode::Echo,
            termination: b"!!quit!!".to_vec(),
            allow_from: Vec::new(),
            deny_from: Vec::new(),
            freebind: false,
            backlog: None,
            reuse_port: false,
            on_bind_error: OnBindError::Keep,
        }
    }
}

impl Default for Threads {
    fn default() -> Self {
        Self { factor: 1.0, workers: None }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            max_attempts: 5,
            initial_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_millis(5000),
            multiplier: 2.0,
            jitter: 0.5,
            quarantine_probe: Some(Duration::from_secs(15)),
        }
    }
}

impl Default for Supervision {
    fn default() -> Self {
        Self { max_restarts: 5, window: Duration::from_secs(60) }
    }
}

impl Default for Coverage {
    fn default() -> Self {
        Self { min_bound: MinBound::Count(1), wait: Some(Duration::from_secs(30)) }
    }
}

impl Default for Session {
    fn default() -> Self {
        Self {
            idle_timeout: Some(Duration::from_secs(3600)),
            max_lifetime: None,
            write_timeout: Some(Duration::from_secs(60)),
            keepalive: Some(Duration::from_secs(60)),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_endpoints: 1_000_000,
            max_sessions: None,
            max_sessions_per_source: None,
            fd_reserve: 64,
            on_limit: OnLimit::Wait,
        }
    }
}

impl Default for Udp {
    fn default() -> Self {
        Self {
            max_datagram_bytes: 65_507,
            receive_buffer_bytes: None,
            rate_per_source: NonZeroU32::new(10_000),
            rate_total: None,
            refuse_source_ports: vec![(0, 1023), (2049, 2049)],
            loop_breaker_per_sec: NonZeroU32::new(1000),
        }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self {
            drain_timeout: Some(Duration::from_secs(10)),
            quiet: Some(Duration::from_millis(1000)),
        }
    }
}

impl Default for Process {
    fn default() -> Self {
        Self { user: None, group: None, sandbox: SandboxMode::Auto }
    }
}

impl Default for Control {
    fn default() -> Self {
        Self { path: ControlPath::Auto, mode: 0o600, group: None }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: LogLevel::Info, format: LogFormat::Auto }
    }
}
