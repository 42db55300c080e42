//! A walk through embedding IPCow, from ten lines to code of your own. Documentation
//! alone: nothing is defined here.
//!
//! Each section ends with the name of a program in `examples/`, which is short, reads from
//! top to bottom, and is run by CI with its output checked:
//! `cargo run --example NAME`. What you may rely on is in [`semantics`].
//!
//! # 1. A service in ten lines
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use ipcow::service::Service;
//!
//! let service = Service::builder().listen("both://127.0.0.1:0")?.build()?;
//! let handle = service.start()?;
//! let ready = handle.wait_ready().await?;
//! println!("{} endpoints listen", ready.endpoints.listening);
//! // … clients come and go …
//! let summary = handle.shutdown().await?;
//! println!("{} connections processed", summary.totals.accepted);
//! # Ok(())
//! # }
//! ```
//!
//! [`build`](crate::service::ServiceBuilder::build) plans: it resolves names and divides
//! descriptors, and opens nothing. [`start`](crate::service::Service::start) opens everything on threads
//! of the service's own, so the caller may use any async runtime or none: `await` is all
//! that the handle needs. *Example `echo`.*
//!
//! Everything else is configured as the program's files are:
//! [`config::load_str`](crate::config::load_str) makes a
//! [`Config`](crate::config::Config) of TOML, or its public fields are set, and
//! [`ServiceBuilder::config`](crate::service::ServiceBuilder::config) takes it over.
//!
//! # 2. Ports of the kernel's choice
//!
//! Port 0 is one that the kernel chooses, `0x3` are three, and `both://…:0` is one number
//! for TCP and UDP. [`Ready::bound`](crate::supervision::Ready::bound) reads them back. For
//! fixtures of tests that is all there is to it: dropping the handle frees them. *Example
//! `ephemeral_ports`.*
//!
//! # 3. Sessions of your own
//!
//! An async function over a stream serves TCP sessions instead of the echo:
//!
//! ```no_run
//! use ipcow::service::{Outcome, Service, SessionContext, SessionStream};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! async fn shout(mut stream: SessionStream, session: SessionContext) -> std::io::Result<Outcome> {
//!     let mut buffer = [0; 1024];
//!     loop {
//!         tokio::select! {
//!             read = stream.read(&mut buffer) => match read? {
//!                 0 => return Ok(Outcome::Eof),
//!                 read => stream.write_all(&buffer[..read].to_ascii_uppercase()).await?,
//!             },
//!             () = session.draining() => return Ok(Outcome::Done),
//!         }
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let service = Service::builder()
//!     .listen_in("loud", "tcp://127.0.0.1:0")?
//!     .listen_in("echo", "tcp://127.0.0.1:0")?
//!     .group_sessions("loud", shout)
//!     .build()?;
//! # drop(service);
//! # Ok(())
//! # }
//! ```
//!
//! A type that shares something among its sessions implements
//! [`SessionHandler`](crate::service::SessionHandler). And with
//! [`session_actors`](crate::service::session_actors) each connection gets an actix actor of
//! yours, which may keep state, run timers and get messages from other actors. All of them
//! are watched, limited, drained and counted as the echo is, which is written against the
//! same interface. *Examples `custom_session_actor` and `drain`.*
//!
//! # 4. Datagrams of your own
//!
//! A [`DatagramHandler`](crate::service::DatagramHandler) sees the datagrams that may be
//! answered, and answers each with at most one, never with more bytes than came in; who
//! means to amplify says so ([`amplifying`](crate::service::amplifying)). *Example
//! `datagram_handler`.*
//!
//! # 5. What happens, as events
//!
//! [`ServiceHandle::events`](crate::service::ServiceHandle::events) is a stream of typed
//! events, and [`ServiceHandle::subscribe`](crate::service::ServiceHandle::subscribe) sends them to an
//! actor of yours. Nobody waits for a slow subscriber: it loses the newest, and knows how
//! many. *Examples `event_subscriber` and `supervised_restart`.*
//!
//! # 6. A failure policy of your own
//!
//! An actor or a closure says what becomes of endpoints that fail: retry after, give up, or
//! escalate. It has a second; `[retry]` is there where it does not answer. *Example
//! `custom_retry_policy`.*
//!
//! # 7. Steering what runs
//!
//! The handle lists, suspends, resumes, drains, retries, adds, removes and reloads by
//! [`Selector`](crate::spec::Selector), while clients are served. *Example
//! `embedded_in_actix_web`.*
//!
//! # 8. All of it
//!
//! [`Service::run`](crate::service::Service::run) (feature `signals`) starts, serves until
//! SIGTERM or SIGINT, drains, and gives the summary;
//! [`Service::run_until`](crate::service::Service::run_until) does so until a future of
//! yours resolves.

pub mod semantics;
