//! What of a new configuration takes a restart. The rest is live: the groups, and what
//! `live` knows.

use super::model::Config;

impl Config {
    /// The sections and keys whose values differ in `new` and that a running
    /// service does not take over: it has to be started again for them.
    #[must_use]
    pub fn needs_restart(&self, new: &Self) -> Vec<&'static str> {
        let differs = [
            ("threads", self.threads != new.threads),
            ("chunks", self.chunks != new.chunks),
            ("coverage.wait_secs", self.coverage.wait != new.coverage.wait),
            (
                "udp.receive_buffer_bytes",
                self.udp.receive_buffer_bytes != new.udp.receive_buffer_bytes,
            ),
            ("process", self.process != new.process),
            ("control", self.control != new.control),
            ("admin", self.admin != new.admin),
            ("access_log", self.access_log != new.access_log),
            ("log.format", self.log.format != new.log.format),
        ];
        differs.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }
}
