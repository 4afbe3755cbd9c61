//! DynamoDB with its streams, and Lambda that runs a real binary: MiniStack.

use std::time::Duration;

use crate::process::{self, Running};
use crate::python::Python;

/// A running endpoint; stopped by process id and its folder removed when dropped.
#[derive(Debug)]
pub struct MiniStack {
    // Dropped in this order: the server first, then its folder.
    server: Running,
    _folder: tempfile::TempDir,
    port: u16,
    python: Python,
}

impl MiniStack {
    /// Start it on a free loopback port; `None` with a notice where it cannot be had.
    pub fn start() -> Option<Self> {
        let python = Python::ministack()?;
        let folder = tempfile::Builder::new().prefix("weir-ministack-").tempdir().unwrap();
        let port = process::free_port();
        let mut command = python.tool("ministack");
        command
            .env("BIND_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", port.to_string())
            .env("TMPDIR", folder.path())
            .current_dir(folder.path());
        let mut server = Running::start(&mut command, &folder.path().join("log"));
        let up =
            process::wait_until(Duration::from_secs(60), || process::accepts(port) || !server.is_running());
        assert!(up && server.is_running(), "MiniStack did not start:\n{}", server.written());
        Some(Self { server, _folder: folder, port, python })
    }

    /// Its address.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it has written.
    pub fn written(&self) -> String {
        self.server.written()
    }

    /// `tests/producers/change_orders.py` against it, and what that prints.
    pub fn change_orders<const N: usize>(&self, arguments: [&str; N]) -> String {
        let endpoint = self.endpoint();
        self.python.run("producers/change_orders.py", [&[endpoint.as_str()][..], &arguments[..]].concat())
    }
}
