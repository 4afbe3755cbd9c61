//! A host of a Lambda function in a few lines: it starts the built program, hands it one event
//! after another, and reads its answers.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::Running;

/// How long a process may take for what it does next.
const PATIENCE: Duration = Duration::from_secs(60);

/// A function that polls.
#[derive(Debug)]
pub struct Function {
    process: Running,
    listener: TcpListener,
    stream: TcpStream,
}

impl Function {
    /// Start `program` with nothing in its environment but what Lambda sets and `settings`.
    pub fn start<'a>(
        program: &Path,
        settings: impl IntoIterator<Item = (&'a str, String)>,
        log: &Path,
    ) -> Result<Self, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", listener.local_addr().unwrap().to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "ingest")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
            .envs(settings);
        let process = Running::start(&mut command, log);
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut waiting = [0; 4];
        stream.peek(&mut waiting).unwrap();
        if &waiting == b"POST" {
            // Init failed: the report is the message.
            let (_, body) = receive(&stream);
            _ = (&stream).write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n");
            let report: Value = serde_json::from_str(&body).unwrap();
            return Err(report["errorMessage"].as_str().unwrap().to_owned());
        }
        Ok(Self { process, listener, stream })
    }

    /// Hand over an event; the answer.
    pub fn invoke(&mut self, event: &Value) -> Value {
        self.hand_over(event);
        let (_, body) = self.request();
        self.stream.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").unwrap();
        serde_json::from_str(&body).unwrap()
    }

    /// Hand over an event and don't wait for the answer.
    pub fn hand_over(&mut self, event: &Value) {
        let (head, _) = self.request();
        assert!(head.starts_with("GET /2018-06-01/runtime/invocation/next "), "{head}");
        let event = event.to_string();
        let length = event.len();
        let next = format!(
            "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: r-1\r\nLambda-Runtime-Deadline-Ms: 4000000000000\r\n\
             Content-Length: {length}\r\n\r\n{event}"
        );
        self.stream.write_all(next.as_bytes()).unwrap();
    }

    /// The next request; a client may make a new connection for it and keep the old one, too.
    fn request(&mut self) -> (String, String) {
        let until = Instant::now() + PATIENCE;
        while !has_data(&self.stream) {
            if let Some(stream) = accepted(&self.listener) {
                self.stream = stream;
            }
            assert!(Instant::now() < until, "no request: {}", self.written());
            std::thread::sleep(Duration::from_millis(1));
        }
        receive(&self.stream)
    }

    /// End it at once, whatever it is at.
    pub fn kill(self) {
        self.process.kill();
    }

    /// What it wrote so far.
    pub fn written(&self) -> String {
        self.process.written()
    }
}

/// A connection that waits to be taken.
fn accepted(listener: &TcpListener) -> Option<TcpStream> {
    listener.set_nonblocking(true).unwrap();
    match listener.accept() {
        Ok((stream, _)) => {
            stream.set_nonblocking(false).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            Some(stream)
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
            None
        }
    }
}

fn has_data(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let found = stream.peek(&mut [0]).is_ok_and(|bytes| bytes > 0);
    stream.set_nonblocking(false).unwrap();
    found
}

/// Head and body of a request.
fn receive(stream: &TcpStream) -> (String, String) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).unwrap(), 0, "the request ends early: {head}");
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse().unwrap())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}
