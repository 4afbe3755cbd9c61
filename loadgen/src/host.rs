//! The smallest Lambda Runtime API that a function can be started against, on a loopback port: one
//! fresh process, some events one after the other, the time of each step.
//!
//! ```text
//! spawn ─► exec ─► first poll ─► event 1 ─► answer ─► event 2 ─► answer … ─► killed
//!    process     init           first batch          second batch
//! ```

mod hosted;

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

pub use hosted::{Answered, Hosted};

/// What one start of a function took.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// From before the process is made until its program is executed.
    pub process: Duration,
    /// From there to its first poll: loader, settings, tables.
    pub init: Duration,
    /// From the event being handed over to the answer, for each event.
    pub batches: Vec<Duration>,
    /// Processor time of the process, for each event.
    pub cpu: Vec<Duration>,
    /// Resident bytes at the first poll, and after each event.
    pub resident_bytes: Vec<u64>,
    /// What it wrote to its output: log lines.
    pub lines: Vec<String>,
}

impl Start {
    /// From before the process is made to its first poll.
    pub fn first_poll(&self) -> Duration {
        self.process + self.init
    }
}

#[derive(Debug)]
struct Call {
    at: Instant,
    target: String,
    body: Vec<u8>,
    answer: Sender<Vec<u8>>,
}

impl Call {
    fn is_poll(&self) -> bool {
        self.target.ends_with("/invocation/next")
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Longest wait for one call of the function: Lambda's longest time-out
/// (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>).
const PATIENCE: Duration = Duration::from_secs(900);

/// Measure away from the async threads, and end what is measured at Ctrl-C: whatever stands around it,
/// a scratch lake for instance, is put away as after an error.
///
/// # Errors
/// Stopped.
pub async fn off_thread<T: Send + 'static>(
    measure: impl FnOnce(&AtomicBool) -> T + Send + 'static,
) -> anyhow::Result<T> {
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stop);
    let mut measuring = tokio::task::spawn_blocking(move || measure(&seen));
    tokio::select! {
        done = &mut measuring => Ok(done?),
        _ = tokio::signal::ctrl_c() => {
            stop.store(true, Ordering::Relaxed);
            let _ = measuring.await;
            anyhow::bail!("stopped; nothing is left behind")
        }
    }
}

/// Start `function`, hand it `events` one after the other, and end it. `hold` makes something of the
/// process id that is dropped before the process ends. A function that fails an event, ends or does not
/// call is an error, and so is `stop`.
pub fn start_held<H>(
    function: &mut Command,
    memory_mb: u32,
    events: &[String],
    stop: &AtomicBool,
    hold: impl FnOnce(u32) -> H,
) -> io::Result<Start> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let api = listener.local_addr()?;
    let over = Arc::new(AtomicBool::new(false));
    let calls = serve(listener, Arc::clone(&over));
    at_runtime_api(function, api, memory_mb).stdout(Stdio::piped());
    let begun = Instant::now();
    let mut child = function.spawn()?;
    let process = begun.elapsed();
    let output = child.stdout.take();
    let lines = std::thread::spawn(move || output.map(read_lines).unwrap_or_default());
    let held = hold(child.id());
    let measured = converse(child.id(), &calls, begun, events, stop);
    drop(held);
    child.kill()?;
    child.wait()?;
    // One connection more, so that the listener sees that it is over.
    over.store(true, Ordering::Relaxed);
    drop(TcpStream::connect(api));
    // Its last poll stays open until it has ended: a function says so when the connection is lost.
    let (first_poll, mut start, _last_poll) = measured?;
    start.lines = lines.join().unwrap_or_default();
    start.process = process;
    start.init = first_poll.saturating_sub(process);
    Ok(start)
}

/// What Lambda sets in the environment of a function.
fn at_runtime_api(function: &mut Command, api: std::net::SocketAddr, memory_mb: u32) -> &mut Command {
    function
        .env("AWS_LAMBDA_RUNTIME_API", api.to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", "ingest")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", memory_mb.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
}

fn read_lines(output: impl io::Read) -> Vec<String> {
    BufReader::new(output).lines().map_while(Result::ok).collect()
}

fn converse(
    pid: u32,
    calls: &Receiver<Call>,
    begun: Instant,
    events: &[String],
    stop: &AtomicBool,
) -> io::Result<(Duration, Start, Call)> {
    let mut poll = next_call(pid, calls, stop)?;
    let first_poll = poll.at - begun;
    let mut start = Start { resident_bytes: vec![resident_bytes(pid)], ..Start::default() };
    for (i, event) in events.iter().enumerate() {
        if !poll.is_poll() {
            return Err(io::Error::other(format!("expected a poll, found {}", poll.target)));
        }
        let (handed, cpu) = (Instant::now(), cpu_time(pid));
        let _ = poll.answer.send(invocation(i, event));
        let answer = next_call(pid, calls, stop)?;
        start.batches.push(answer.at - handed);
        start.cpu.push(cpu_time(pid).saturating_sub(cpu));
        start.resident_bytes.push(resident_bytes(pid));
        let text = answer.text();
        if !answer.target.ends_with("/response") || text.contains("itemIdentifier") {
            return Err(io::Error::other(format!("batch {} failed: {} {text}", i + 1, answer.target)));
        }
        let _ = answer.answer.send(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_vec());
        poll = next_call(pid, calls, stop)?;
    }
    Ok((first_poll, start, poll))
}

fn next_call(pid: u32, calls: &Receiver<Call>, stop: &AtomicBool) -> io::Result<Call> {
    let begun = Instant::now();
    loop {
        match calls.recv_timeout(Duration::from_millis(100)) {
            Ok(call) => return Ok(call),
            Err(RecvTimeoutError::Timeout) if begun.elapsed() < PATIENCE => {}
            Err(_) => return Err(io::Error::other("the function did not call in time")),
        }
        if stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("stopped"));
        }
        // Not waited for: its id must stay its own while it is held.
        if has_ended(pid) {
            return Err(io::Error::other("the function ended; what it said is above"));
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
fn serve(listener: TcpListener, over: Arc<AtomicBool>) -> Receiver<Call> {
    let (sender, calls) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if over.load(Ordering::Relaxed) {
                break;
            }
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

/// User and system time of a process that runs, from `/proc/<pid>/schedstat` (nanoseconds on a
/// processor); zero where there is none.
fn cpu_time(pid: u32) -> Duration {
    let mut total = 0;
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    for task in tasks {
        let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        total += text.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    }
    Duration::from_nanos(total)
}

/// Whether a process that was not waited for has ended (`Z`, a zombie).
fn has_ended(pid: u32) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    text.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

/// Resident memory of a process, from `/proc/<pid>/status`; zero where there is none.
fn resident_bytes(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|rest| rest.trim().split(' ').next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
