//! AWS on this machine. Each stand-in is used for what it is faithful in: moto for job runs, table
//! versions and partition expressions, MiniStack for stale versions and crawlers that end. Neither
//! enforces the limits of a call; the library's own tests do.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use serde_json::Value;

use crate::ministack::MiniStack;
use crate::process::{self, Running};
use crate::python::Python;

/// Which stand-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandIn {
    /// `moto_server`
    Moto,
    /// `ministack`
    MiniStack,
}

/// A running stand-in; stopped by process id when dropped.
#[derive(Debug)]
pub struct Aws {
    _server: Server,
    endpoint: String,
    tools: Python,
}

#[derive(Debug)]
#[expect(dead_code, reason = "kept until the tests are done")]
enum Server {
    Moto(Running, tempfile::TempDir),
    MiniStack(MiniStack),
}

impl Aws {
    /// One for all tests of a program that run at the same time; stopped with the last of them.
    /// None where its packages cannot be had.
    pub fn shared(which: StandIn) -> Option<Arc<Self>> {
        static MOTO: Mutex<Weak<Aws>> = Mutex::new(Weak::new());
        static MINISTACK: Mutex<Weak<Aws>> = Mutex::new(Weak::new());
        let kept = if which == StandIn::Moto { &MOTO } else { &MINISTACK };
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = kept.upgrade() {
            return Some(running);
        }
        let started = Arc::new(Self::start(which)?);
        *kept = Arc::downgrade(&started);
        Some(started)
    }

    /// One of its own, on a free loopback port, without anything in it.
    pub fn start(which: StandIn) -> Option<Self> {
        let tools = Python::get()?;
        let (server, endpoint) = match which {
            StandIn::Moto => moto(&Python::moto()?),
            StandIn::MiniStack => {
                let server = MiniStack::start()?;
                let endpoint = server.endpoint();
                (Server::MiniStack(server), endpoint)
            }
        };
        Some(Self { _server: server, endpoint, tools })
    }

    /// Its address.
    pub fn endpoint(&self) -> String {
        self.endpoint.clone()
    }

    /// What a program needs in its environment to ask it for everything but S3.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let endpoints = ["AWS_ENDPOINT_URL_GLUE", "AWS_ENDPOINT_URL_SFN", "AWS_ENDPOINT_URL_EVENTBRIDGE"];
        let mut environment: Vec<_> = endpoints.map(|name| (name, self.endpoint())).into();
        environment.push(("AWS_REGION", "us-east-1".to_owned()));
        environment.push(("AWS_ACCESS_KEY_ID", "test".to_owned()));
        environment.push(("AWS_SECRET_ACCESS_KEY", "test".to_owned()));
        environment
    }

    /// What it answers to a call (`kinesis`, `Kinesis_20131202.ListShards`), asked without a client:
    /// a hundred times faster than by the AWS CLI, whose start takes a second.
    pub fn ask(&self, service: &str, target: &str, body: &Value) -> Value {
        let address = self.endpoint.strip_prefix("http://").unwrap();
        let body = body.to_string();
        let mut stream = TcpStream::connect(address).unwrap();
        let request = format!(
            "POST / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/x-amz-json-1.1\r\n\
             Content-Length: {}\r\nX-Amz-Target: {target}\r\nAuthorization: AWS4-HMAC-SHA256 \
             Credential=test/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, content) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{target}: {answer}"));
        assert!(head.starts_with("HTTP/1.1 200 "), "{target} {body}: {answer}");
        assert!(!head.to_lowercase().contains("transfer-encoding: chunked"), "{target}: {head}");
        if content.is_empty() { Value::Null } else { serde_json::from_str(content).unwrap() }
    }

    /// What the AWS CLI answers to `aws ARGUMENTS`; null where it answers nothing.
    pub fn cli<const N: usize>(&self, arguments: [&str; N]) -> Value {
        let text = process::run(self.tools.aws(&self.endpoint()).args(arguments));
        if text.trim().is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() }
    }
}

fn moto(python: &Python) -> (Server, String) {
    let folder = tempfile::Builder::new().prefix("weir-moto-").tempdir().unwrap();
    let port = process::free_port();
    let mut command = python.tool("moto_server");
    command.args(["-H", "127.0.0.1", "-p", &port.to_string()]).current_dir(folder.path());
    let mut server = Running::start(&mut command, &folder.path().join("log"));
    let up = process::wait_until(Duration::from_secs(60), || process::accepts(port) || !server.is_running());
    assert!(up && server.is_running(), "moto did not start:\n{}", server.written());
    (Server::Moto(server, folder), format!("http://127.0.0.1:{port}"))
}
