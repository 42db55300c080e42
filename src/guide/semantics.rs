//! What an embedder may rely on: order, drain, stop, panic, retry and restart.
//! Documentation alone.
//!
//! # Order
//!
//! - The bytes of a session are in order, each once. Sessions are independent of each
//!   other, and run on several threads; one session stays on one thread.
//! - Answers to datagrams of one socket leave in the order in which the datagrams came;
//!   UDP promises nothing beyond.
//! - An event is told after what it tells of, and events of one service have ascending
//!   numbers. A [`Snapshot`](crate::service::Snapshot) and an event may tell of the same
//!   thing at different times: counts are read without a lock, and one may be newer than
//!   another. The [`Summary`](crate::service::Summary) is exact.
//! - `ready` comes once: when every endpoint is decided for the first time (it listens, or
//!   is quarantined), or after `coverage.wait_secs`.
//! - Orders of one handle are carried out in the order in which they are awaited. Each
//!   changes an endpoint wholly or not at all; one that names many is carried out in
//!   slices of about a thousand.
//!
//! # Drain
//!
//! [`shutdown`](crate::service::ServiceHandle::shutdown) drains the service,
//! [`drain`](crate::service::ServiceHandle::drain) the endpoints of a selector:
//!
//! 1. Listeners close. Clients that the backlog held are accepted, datagrams that were
//!    queued are answered. New clients are refused.
//! 2. Sessions of your own hear of it
//!    ([`SessionContext::draining`](crate::service::SessionContext::draining)), within
//!    100 ms.
//! 3. A session in which nothing moves for `shutdown.quiet_ms`, and whose peer has
//!    acknowledged everything, is ended with FIN: it counts as closed, for the reason
//!    `drain`. [`SessionContext::busy`](crate::service::SessionContext::busy) puts that off.
//! 4. After `shutdown.drain_timeout_secs` those that are left are cut off, and count as
//!    `forced`.
//!
//! # Stop
//!
//! [`stop`](crate::service::ServiceHandle::stop), and dropping the handle, cut off every
//! session at once, join every thread and free every port; a drop waits for that. Futures
//! of your sessions are dropped where they wait; actors get no message any more, and
//! `stopped` is called. A thread that hangs in code of yours, so that no session ends for two
//! seconds, is logged and left behind: only its own end closes what it holds.
//!
//! # Panic
//!
//! A panic is contained in the smallest part that it can be in, counted, logged with its
//! message, and told as an event:
//!
//! | in | what follows |
//! |---|---|
//! | a session, of whatever kind | that connection ends; `session_panic` |
//! | a datagram handler | that datagram gets no (further) answer; dropped as `handler` |
//! | a failure policy | `[retry]` decides; a line in the log |
//! | an actor of yours outside the service | it is yours: what it subscribed to forgets it |
//! | a listener, worker, Supervisor or ErrorLog | it comes back, with the same sockets; sessions stay |
//!
//! This needs `panic = "unwind"`, which is the default. With `panic = "abort"` any panic
//! ends the process.
//!
//! # Retry
//!
//! An endpoint that cannot be opened is judged by the class of its error. In use, absent and
//! unknown errors are retried after `initial_backoff_ms × multiplier^n` up to
//! `max_backoff_ms`, less a jitter; after `max_attempts` it is quarantined, and probed each
//! `quarantine_probe_secs`. A missing right and a spec that makes no sense are quarantined
//! at once. A shortage of the machine charges nobody: everything waits. Attempts are
//! counted for each endpoint, and listening resets them. A policy of your own is asked
//! instead, but never about shortages: [`Decision`](crate::service::Decision).
//!
//! # Restart
//!
//! What crashed is started again: the first time within `supervision.window_secs` at once,
//! then after delays as in `[retry]`. More than `supervision.max_restarts` within the window
//! quarantine that part alone. A listener's crash is charged to its endpoint, one while a
//! chunk is opened to that chunk, any other to the worker. Its siblings go on.
//!
//! # Several services, one process
//!
//! Services share nothing but what belongs to the process: its descriptors, which the plan
//! of each divides as if it were alone (`limits.fd_reserve` and `limits.max_sessions` say
//! otherwise), its ephemeral ports, and `tracing`'s subscriber. Two services in one
//! process do not know each other's UDP endpoints: where one might answer the other for
//! ever, the rates and the loop breaker end it.
