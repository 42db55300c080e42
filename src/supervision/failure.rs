//! What can go wrong with an endpoint or a session, by kind and by class.
//!
//! Holds the classification of errors. Never decides what happens then: that
//! is `retry`'s. Numbers of errors are those of errno(3) on Linux.

use nix::errno::Errno;

/// What went wrong, as it is named in JSON, metrics and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// Another socket has the endpoint (`EADDRINUSE`).
    BindInUse,
    /// No interface has the address (`EADDRNOTAVAIL`), or there is none of its
    /// zone (`ENODEV`).
    BindAbsent,
    /// The kernel would bind it, but nobody could connect there.
    BindUnreachable,
    /// The process may not bind the port (`EACCES`, `EPERM`).
    BindPermission,
    /// The machine is out of something (`EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM`).
    BindResource,
    /// The endpoint makes no sense to the kernel (`EINVAL`, `EAFNOSUPPORT`, …).
    BindConfiguration,
    /// Any other error of socket(2), bind(2) or listen(2).
    BindOther,
    /// A sibling failed, and the group's `on_bind_error` is `rollback`.
    BindRolledBack,
    /// The process may not open enough files for it (`RLIMIT_NOFILE`).
    FdLimit,
    /// A listening socket failed.
    Listener,
    /// A connection was lost before it was accepted; see accept(2).
    AcceptLost,
    /// The machine had no room for a connection; it waits in the backlog.
    AcceptShortage,
    /// The actor of a listener panicked; its socket is fine.
    ListenerPanic,
    /// The actor of a worker panicked; its thread lives.
    WorkerPanic,
    /// The Supervisor's actor panicked; what it knew is kept.
    SupervisorPanic,
    /// The ErrorLog's actor panicked; what it knew is kept.
    ErrorLogPanic,
    /// A worker panicked while it opened the chunk.
    ChunkPanic,
    /// The thread of a worker ended.
    WorkerLost,
    /// The address of a listener left its interface; the socket waits for it.
    AddressLost,
    /// The actor of a session panicked.
    SessionPanic,
    /// The peer reset the connection.
    SessionReset,
    /// The peer took nothing for `session.write_timeout_secs`.
    SessionWriteTimeout,
    /// Any other end of a session that was not its own.
    SessionFailed,
}

/// How a fault is treated; see [`crate::supervision::RetryPolicy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultClass {
    /// Will not heal by itself.
    Configuration,
    /// Will not heal until somebody grants a right.
    Permission,
    /// Heals when another process lets go.
    InUse,
    /// Heals when an address arrives.
    Absent,
    /// Heals when the machine has more to give; no attempt is charged.
    Resource,
    /// Unknown: treated as transient.
    Transient,
}

/// One failure of one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fault {
    /// What it is called.
    pub kind: FaultKind,
    /// The kernel's number for it; 0 where the kernel was not asked.
    pub errno: i32,
}

impl FaultKind {
    /// Why an endpoint can fail to open, in the order of [`Self::index_of_opening`].
    pub const OF_OPENING: [Self; 9] = [
        Self::BindInUse,
        Self::BindAbsent,
        Self::BindUnreachable,
        Self::BindPermission,
        Self::BindResource,
        Self::BindConfiguration,
        Self::BindOther,
        Self::BindRolledBack,
        Self::FdLimit,
    ];

    /// The kind's place in an array with one slot for each of [`Self::OF_OPENING`];
    /// that of [`Self::BindOther`] for a kind that opening does not meet.
    #[must_use]
    pub fn index_of_opening(self) -> usize {
        let place = |wanted| Self::OF_OPENING.iter().position(|kind| *kind == wanted);
        place(self).or_else(|| place(Self::BindOther)).unwrap_or(0)
    }

    /// The name in `errors.by_kind`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BindInUse => "bind_in_use",
            Self::BindAbsent => "bind_absent",
            Self::BindUnreachable => "bind_unreachable",
            Self::BindPermission => "bind_permission",
            Self::BindResource => "bind_resource",
            Self::BindConfiguration => "bind_configuration",
            Self::BindOther => "bind_other",
            Self::BindRolledBack => "bind_rolled_back",
            Self::FdLimit => "fd_limit",
            Self::Listener => "listener",
            Self::AcceptLost => "accept_lost",
            Self::AcceptShortage => "accept_shortage",
            Self::ListenerPanic => "listener_panic",
            Self::WorkerPanic => "worker_panic",
            Self::SupervisorPanic => "supervisor_panic",
            Self::ErrorLogPanic => "error_log_panic",
            Self::ChunkPanic => "chunk_panic",
            Self::WorkerLost => "worker_lost",
            Self::AddressLost => "address_lost",
            Self::SessionPanic => "session_panic",
            Self::SessionReset => "session_reset",
            Self::SessionWriteTimeout => "session_write_timeout",
            Self::SessionFailed => "session_failed",
        }
    }

    /// Whether a part of this service crashed: nothing is wrong outside it.
    #[must_use]
    pub const fn is_crash(self) -> bool {
        match self {
            Self::ListenerPanic
            | Self::WorkerPanic
            | Self::SupervisorPanic
            | Self::ErrorLogPanic
            | Self::ChunkPanic
            | Self::WorkerLost
            | Self::SessionPanic => true,
            Self::BindInUse
            | Self::BindAbsent
            | Self::BindUnreachable
            | Self::BindPermission
            | Self::BindResource
            | Self::BindConfiguration
            | Self::BindOther
            | Self::BindRolledBack
            | Self::FdLimit
            | Self::Listener
            | Self::AcceptLost
            | Self::AcceptShortage
            | Self::AddressLost
            | Self::SessionReset
            | Self::SessionWriteTimeout
            | Self::SessionFailed => false,
        }
    }
}

impl Fault {
    /// The fault of a failed socket(2), bind(2) or listen(2).
    #[must_use]
    pub fn from_bind_errno(errno: i32) -> Self {
        let kind = match Errno::from_raw(errno) {
            Errno::EADDRINUSE => FaultKind::BindInUse,
            Errno::EADDRNOTAVAIL | Errno::ENODEV => FaultKind::BindAbsent,
            Errno::EACCES | Errno::EPERM => FaultKind::BindPermission,
            Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM => {
                FaultKind::BindResource
            }
            Errno::EINVAL
            | Errno::EAFNOSUPPORT
            | Errno::EPROTONOSUPPORT
            | Errno::EPROTOTYPE
            | Errno::EOPNOTSUPP => FaultKind::BindConfiguration,
            _ => FaultKind::BindOther,
        };
        Self { kind, errno }
    }

    /// A fault that the kernel has no number for.
    #[must_use]
    pub const fn without_errno(kind: FaultKind) -> Self {
        Self { kind, errno: 0 }
    }

    /// How the fault is treated.
    #[must_use]
    pub fn class(self) -> FaultClass {
        match self.kind {
            FaultKind::BindInUse => FaultClass::InUse,
            FaultKind::BindAbsent | FaultKind::BindUnreachable | FaultKind::AddressLost => {
                FaultClass::Absent
            }
            FaultKind::BindPermission => FaultClass::Permission,
            FaultKind::BindResource | FaultKind::AcceptShortage => FaultClass::Resource,
            FaultKind::BindConfiguration | FaultKind::FdLimit => FaultClass::Configuration,
            FaultKind::BindRolledBack => Self::from_bind_errno(self.errno).class(),
            FaultKind::BindOther
            | FaultKind::Listener
            | FaultKind::AcceptLost
            | FaultKind::ListenerPanic
            | FaultKind::WorkerPanic
            | FaultKind::SupervisorPanic
            | FaultKind::ErrorLogPanic
            | FaultKind::ChunkPanic
            | FaultKind::WorkerLost
            | FaultKind::SessionPanic
            | FaultKind::SessionReset
            | FaultKind::SessionWriteTimeout
            | FaultKind::SessionFailed => FaultClass::Transient,
        }
    }

    /// The symbol of the error (`"EADDRINUSE"`), `None` where the kernel gave none.
    #[must_use]
    pub fn errno_name(self) -> Option<String> {
        (self.errno != 0).then(|| format!("{:?}", Errno::from_raw(self.errno)))
    }

    /// What happened and how to mend it, in one sentence for a person.
    #[must_use]
    pub fn explain(self) -> String {
        let fix = match self.kind {
            FaultKind::BindInUse => "another socket has it; `ss -lntup` names the holder",
            FaultKind::BindAbsent => {
                "no interface has the address; add it (`ip addr add`) or set freebind = true"
            }
            FaultKind::BindUnreachable => {
                "nobody can connect there: it is a broadcast, multicast or foreign address"
            }
            FaultKind::BindPermission => {
                "ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE"
            }
            FaultKind::BindResource => "the machine is short of files or memory for sockets",
            FaultKind::BindConfiguration => "the kernel does not support this endpoint",
            FaultKind::BindOther => "the kernel refused the socket",
            FaultKind::BindRolledBack => {
                "rolled back: another endpoint of its chunk failed and on_bind_error is rollback"
            }
            FaultKind::FdLimit => {
                "the process may not open enough files; raise RLIMIT_NOFILE (`ulimit -n`)"
            }
            FaultKind::Listener => "the listening socket failed",
            FaultKind::AcceptLost => "a connection was lost before it was accepted",
            FaultKind::AcceptShortage => {
                "no room for a connection; it waits, and is taken when there is (`ulimit -n`)"
            }
            FaultKind::ListenerPanic => {
                "its listener crashed, a defect of ipcow; it is served again from the same socket"
            }
            FaultKind::SupervisorPanic | FaultKind::ErrorLogPanic => {
                "an actor of ipcow crashed, a defect; its successor knows what it knew"
            }
            FaultKind::WorkerPanic => {
                "its worker crashed, a defect of ipcow; a new one takes over its listeners"
            }
            FaultKind::ChunkPanic => {
                "its chunk crashed the worker that opened it, a defect of ipcow"
            }
            FaultKind::WorkerLost => {
                "the thread of its worker ended; another serves it from the same socket"
            }
            FaultKind::AddressLost => {
                "its address left the interface; it is served again once the address is back"
            }
            FaultKind::SessionPanic => "the session crashed, a defect of ipcow",
            FaultKind::SessionReset => "the peer reset the connection",
            FaultKind::SessionWriteTimeout => "the peer stopped reading",
            FaultKind::SessionFailed => "the session failed",
        };
        if self.errno == 0 {
            fix.to_owned()
        } else {
            format!("{} ({fix})", Errno::from_raw(self.errno).desc())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_classed_by_what_heals_them() {
        let class = |errno: Errno| Fault::from_bind_errno(errno as i32).class();
        assert_eq!(class(Errno::EADDRINUSE), FaultClass::InUse);
        assert_eq!(class(Errno::EADDRNOTAVAIL), FaultClass::Absent);
        assert_eq!(class(Errno::ENODEV), FaultClass::Absent);
        assert_eq!(class(Errno::EACCES), FaultClass::Permission);
        assert_eq!(class(Errno::EMFILE), FaultClass::Resource);
        assert_eq!(class(Errno::EAFNOSUPPORT), FaultClass::Configuration);
        assert_eq!(class(Errno::EIO), FaultClass::Transient);
    }

    #[test]
    fn every_kind_of_opening_counts_in_its_own_place_and_no_other_kind_is_lost() {
        for (place, kind) in FaultKind::OF_OPENING.into_iter().enumerate() {
            assert_eq!(kind.index_of_opening(), place);
        }
        let other = FaultKind::BindOther.index_of_opening();
        assert_eq!(FaultKind::Listener.index_of_opening(), other);
    }

    #[test]
    fn a_rolled_back_endpoint_is_treated_as_the_sibling_that_failed() {
        let fault = Fault { kind: FaultKind::BindRolledBack, errno: Errno::EACCES as i32 };
        assert_eq!(fault.class(), FaultClass::Permission);
    }

    #[test]
    fn a_permission_fault_names_the_capability() {
        let text = Fault::from_bind_errno(Errno::EACCES as i32).explain();
        assert!(text.contains("CAP_NET_BIND_SERVICE"), "{text}");
    }
}
