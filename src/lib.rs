//! IPCow answers on every address and port you give it, TCP and UDP, and keeps answering.
//!
//! A [`Service`](service::Service) is described, planned, started, awaited and drained:
//!
//! ```
//! # use std::io::{Read, Write};
//! use ipcow::service::Service;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let service = Service::builder().listen("both://127.0.0.1:0")?.build()?;
//! println!("{} endpoints in {} chunks", service.plan().endpoints.len(), service.plan().chunk_count());
//! let handle = service.start()?;
//! let ready = handle.wait_ready().await?;
//! assert!(ready.is_complete(), "{:?}", ready.failures);
//! println!("TCP and UDP got one number: {} and {}", ready.bound[0], ready.bound[1]);
//! # let mut client = std::net::TcpStream::connect(ready.bound[0].socket_addr())?;
//! # client.write_all(b"hello")?;
//! # client.shutdown(std::net::Shutdown::Write)?;
//! # let mut answer = String::new();
//! # client.read_to_string(&mut answer)?;
//! # assert_eq!(answer, "hello");
//! // … clients come and go …
//! let summary = handle.shutdown().await?;
//! println!("{} connections processed", summary.totals.accepted);
//! # assert_eq!((summary.totals.accepted, summary.totals.closed), (1, 1));
//! # Ok(())
//! # }
//! ```
//!
//! [`guide`] walks through embedding, from these lines to sessions, datagrams and a failure
//! policy of your own; [`guide::semantics`] says what you may rely on.
//!
//! # The map
//!
//! Imports go downward only; a test of the repository holds that.
//!
//! | room | holds |
//! |---|---|
//! | `control` (feature `http`) | the control API of a service over HTTP; metrics for Prometheus |
//! | [`service`] | [`Service`](service::Service), its handle, snapshot and summary; signals (feature `signals`), for programs that want them |
//! | `handover` (feature `http`) | a new instance gets the sockets of the running one, and serves from them |
//! | `actors` (private) | the tree: Supervisor, Workers, Listeners, EchoSessions, ErrorLog, and every message between them |
//! | `net` (private) | the only bind, accept and its error classes, the pump that echoes, datagrams, what the machine says of itself |
//! | `process` (feature `process`) | user, group, capabilities and sandbox of a whole process, for programs that want them |
//! | [`supervision`] | the life of chunks under leases, endpoint states, retries and their verdicts, deadlines, counters |
//! | [`plan`] | the endpoints of all groups as one lazy list, resources and how they are divided, findings with their fixes |
//! | [`config`](mod@config) | typed configuration, and how files, variables and arguments become it |
//! | [`spec`] | the language of endpoints: parsing, lazy sets, selectors, compressed lists |
//!
//! The last four are the core: plain values and decisions. No actor, no runtime, no socket
//! and no clock is found there; time is an argument.
//!
//! # What it does to a process
//!
//! Each service runs on threads of its own (`ipcow-service`, and `ipcow-worker-N` for each
//! worker), so that any async runtime may hold its handle, or none. Starting one raises the
//! process's soft limit of open files to the hard one, and makes room in its table of
//! descriptors; [`ServiceBuilder::make_room`](service::ServiceBuilder::make_room) does so
//! where it is cheapest, before there are threads. A worker that hears of several echo sessions
//! at a time asks the kernel to schedule its own thread as `SCHED_BATCH` (sched(7)), until they
//! come one at a time, and only where nobody gave it another policy. It installs no signal handler and
//! no logger, reads no environment unless [`config::environment`] is called, and never ends
//! the process. Events are written through `tracing`. Dropping a
//! [`ServiceHandle`](service::ServiceHandle) stops its service, joins its threads and frees
//! its ports.
//!
//! # Features
//!
//! | feature | brings |
//! |---|---|
//! | none (`default-features = false`) | everything that is described here but the next lines: the actor tree and its face, in fewer than 60 crates |
//! | `signals` | `service::signals` |
//! | `process` | `process::confine`: user, group, capabilities and sandbox |
//! | `http` | what the control API needs |
//! | `access-log` | `service::AccessLog`: records as lines of JSON in a file |
//! | `cli` (default) | all of these, and what the `ipcow` program needs: arguments, terminal output, log formats |
//! | `fault-injection` | faults on demand, for tests alone |
//!
//! `serde`, `config` and `tracing` are always there: configuration is text that becomes
//! values, and what happens is told through `tracing`.

pub mod guide;

pub mod config;
#[cfg(feature = "http")]
pub mod control;
#[cfg(feature = "http")]
pub mod handover;
pub mod plan;
#[cfg(feature = "process")]
pub mod process;
pub mod service;
pub mod spec;
pub mod supervision;

pub(crate) mod actors;
pub(crate) mod net;
