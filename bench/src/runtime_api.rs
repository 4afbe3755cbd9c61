//! The smallest Lambda Runtime API that a function can be started against, on a loopback port:
//! tells when the function polls first and how long it takes for each batch it is handed.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// What one start of a function took.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// From before the process is made to its first poll.
    pub first_poll: Duration,
    /// From the event being handed over to the answer, for each batch.
    pub batches: Vec<Duration>,
}

struct Call {
    at: Instant,
    target: String,
    body: Vec<u8>,
    answer: Sender<Vec<u8>>,
}

/// Longest wait for one call of the function.
const PATIENCE: Duration = Duration::from_secs(30);

/// Start `function`, hand it `events` one after the other, and end it.
pub fn start(function: &mut Command, events: &[String]) -> io::Result<Start> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let api = listener.local_addr()?;
    let calls = serve(listener);
    function
        .env("AWS_LAMBDA_RUNTIME_API", api.to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", "ingest")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1769")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let begun = Instant::now();
    let mut child = function.spawn()?;
    let measured = converse(&mut child, &calls, begun, events);
    child.kill()?;
    child.wait()?;
    measured
}

fn converse(
    child: &mut Child,
    calls: &Receiver<Call>,
    begun: Instant,
    events: &[String],
) -> io::Result<Start> {
    let mut poll = next_call(child, calls)?;
    let mut start = Start { first_poll: poll.at - begun, batches: Vec::new() };
    for (i, event) in events.iter().enumerate() {
        if !poll.target.ends_with("/invocation/next") {
            return Err(io::Error::other(format!("expected a poll, found {}", poll.target)));
        }
        let handed = Instant::now();
        let _ = poll.answer.send(invocation(i, event));
        let answer = next_call(child, calls)?;
        start.batches.push(answer.at - handed);
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let failed = !answer.target.ends_with("/response") || text.contains("itemIdentifier");
        if failed {
            return Err(io::Error::other(format!("batch {i} failed: {} {text}", answer.target)));
        }
        let _ = answer.answer.send(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_vec());
        poll = next_call(child, calls)?;
    }
    Ok(start)
}

fn next_call(child: &mut Child, calls: &Receiver<Call>) -> io::Result<Call> {
    let begun = Instant::now();
    loop {
        match calls.recv_timeout(Duration::from_millis(100)) {
            Ok(call) => return Ok(call),
            Err(RecvTimeoutError::Timeout) if begun.elapsed() < PATIENCE => {}
            Err(_) => return Err(io::Error::other("the function did not call in time")),
        }
        if let Some(status) = child.try_wait()? {
            return Err(io::Error::other(format!("the function ended: {status}")));
        }
    }
}

fn invocation(number: usize, event: &str) -> Vec<u8> {
    let deadline_ms = 4_000_000_000_000u64;
    let mut out = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         lambda-runtime-aws-request-id: 00000000-0000-4000-8000-{number:012}\r\n\
         lambda-runtime-deadline-ms: {deadline_ms}\r\n\
         lambda-runtime-invoked-function-arn: arn:aws:lambda:us-east-1:123456789012:function:ingest\r\n\
         lambda-runtime-trace-id: Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0\r\n\r\n",
        event.len()
    )
    .into_bytes();
    out.extend_from_slice(event.as_bytes());
    out
}

/// Every call of every connection, in order; a connection waits for the answer before it reads on.
fn serve(listener: TcpListener) -> Receiver<Call> {
    let (sender, calls) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let sender = sender.clone();
            std::thread::spawn(move || read_calls(&stream, &sender));
        }
    });
    calls
}

fn read_calls(stream: &TcpStream, calls: &Sender<Call>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let at = Instant::now();
        let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let body = read_body(&mut reader)?;
        let (answer, answers) = channel();
        if calls.send(Call { at, target, body, answer }).is_err() {
            return Ok(());
        }
        let Ok(bytes) = answers.recv() else { return Ok(()) };
        writer.write_all(&bytes)?;
    }
}

fn read_body(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let (mut length, mut chunked) = (0, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let header = line.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        chunked |= header.starts_with("transfer-encoding:") && header.ends_with("chunked");
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    while chunked {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk)?;
        body.extend_from_slice(&chunk[..size]);
        chunked = size > 0;
    }
    Ok(body)
}
