//! A running service that a test asks and steers through its control socket.

use serde_json::Value;
use tempfile::TempDir;

use super::{Api, Block, Ipcow, Need, Running, needs};

/// A service of four endpoints on a control socket of its own.
pub(crate) struct Lab {
    pub(crate) server: Running,
    pub(crate) api: Api,
    pub(crate) block: Block,
    pub(crate) folder: TempDir,
}

impl Lab {
    /// `None` where there is no curl.
    pub(crate) fn open(more: &[&str]) -> Option<Self> {
        if !needs(&[Need::Tool("curl")]) {
            return None;
        }
        let (block, folder) = (Block::new(), tempfile::tempdir().expect("a folder"));
        let socket = folder.path().join("lab.sock");
        let mut server = Ipcow::serve([format!("both://{}:18000-18001", block.ip(0))])
            .args(["--name", "lab", "--workers", "2", "--control"])
            .args([socket.as_os_str()])
            .args(more)
            .start();
        let ready = server.ready();
        assert_eq!(ready.0["control"], socket.display().to_string());
        Some(Self { server, api: Api::at(&socket), block, folder })
    }

    pub(crate) fn tcp(&self, port: u16) -> String {
        format!("tcp://{}:{port}", self.block.ip(0))
    }

    pub(crate) fn states(&self, path: &str) -> Vec<(String, String)> {
        let rows = self.api.get(path).expect(200);
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let rows = rows.as_array().expect("an array").iter();
        rows.map(|row| (text(&row["endpoint"]), text(&row["state"]))).collect()
    }
}
