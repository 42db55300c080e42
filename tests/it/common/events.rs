//! The objects that `serve --json` prints, as a script sees them.

use std::net::SocketAddr;

use serde_json::Value;

/// An entry of `bound`: an endpoint with the port that the kernel chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bound {
    /// `udp://` rather than `tcp://`.
    pub(crate) udp: bool,
    /// Where it listens.
    pub(crate) at: SocketAddr,
}

impl Bound {
    fn parse(text: &str) -> Self {
        let (protocol, at) = text.split_once("://").expect("bound holds specs");
        assert!(["tcp", "udp"].contains(&protocol), "{text}");
        let at: SocketAddr = at.parse().expect("bound holds numbers, not names");
        assert_ne!(at.port(), 0, "{text}");
        Self { udp: protocol == "udp", at }
    }
}

/// The `ready` object.
#[derive(Debug, Clone)]
pub(crate) struct Ready(pub(crate) Value);

impl Ready {
    /// `"ready"` or `"degraded"`.
    pub(crate) fn state(&self) -> &str {
        self.0["state"].as_str().expect("ready has a state")
    }

    /// How many endpoints are in that state.
    pub(crate) fn endpoints(&self, state: &str) -> u64 {
        self.0["endpoints"][state].as_u64().expect("ready counts endpoints")
    }

    /// The ports that the kernel chose.
    pub(crate) fn bound(&self) -> Vec<Bound> {
        let list = self.0["bound"].as_array().expect("port 0 was asked for: bound is there");
        list.iter().map(|entry| Bound::parse(entry.as_str().expect("a string"))).collect()
    }

    /// The one TCP endpoint in `bound`.
    pub(crate) fn tcp(&self) -> SocketAddr {
        self.only(false)
    }

    /// The one UDP endpoint in `bound`.
    pub(crate) fn udp(&self) -> SocketAddr {
        self.only(true)
    }

    fn only(&self, udp: bool) -> SocketAddr {
        let all: Vec<_> = self.bound().into_iter().filter(|bound| bound.udp == udp).collect();
        assert_eq!(all.len(), 1, "{all:?}");
        all[0].at
    }

    /// The failures that it lists.
    pub(crate) fn failures(&self) -> &[Value] {
        self.0["failures"].as_array().expect("ready lists failures")
    }

    /// The failure of that endpoint.
    pub(crate) fn failure(&self, endpoint: &str) -> &Value {
        let found = self.failures().iter().find(|failure| failure["endpoint"] == endpoint);
        found.unwrap_or_else(|| panic!("{endpoint} is not among {:?}", self.failures()))
    }
}

/// The numbers at `path` of an object, which must all be there and be whole.
pub(crate) fn counts<const N: usize>(object: &Value, table: &str, keys: [&str; N]) -> [u64; N] {
    keys.map(|key| {
        object[table][key].as_u64().unwrap_or_else(|| panic!("{table}.{key} in {object}"))
    })
}
