//! Bytes and sockets: the data plane as plain functions and state machines.
//!
//! Opens sockets (only [`bind`] does), takes connections, pumps bytes, answers
//! datagrams, and reads what the machine says of itself ([`host`], [`routes`]).
//! Never an actor, never a decision about retries or limits: it reports what
//! the kernel said, and the callers decide.

pub(crate) mod accept;
pub(crate) mod bind;
pub(crate) mod datagram;
pub(crate) mod datagram_limits;
pub(crate) mod echo;
pub(crate) mod given;
pub(crate) mod host;
pub(crate) mod lean_stream;
mod low_port;
pub(crate) mod reactor;
pub(crate) mod refused_ports;
pub(crate) mod routes;
pub(crate) mod source_guard;
pub(crate) mod source_rules;
pub(crate) mod source_seats;
pub(crate) mod stream_options;
pub(crate) mod sys;
pub(crate) mod terminator;
