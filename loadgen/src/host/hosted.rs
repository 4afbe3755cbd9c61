//! A function that is started here once and takes one event after another.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::{Call, at_runtime_api, has_ended, invocation, serve};

/// Longest wait for an answer: the time-out of a function that takes batches of a stream.
const PATIENCE: Duration = Duration::from_secs(60);

/// A function's process that polls for events; killed when dropped.
#[derive(Debug)]
pub struct Hosted {
    child: Child,
    calls: Receiver<Call>,
    /// The poll that the next event answers.
    poll: Call,
    api: std::net::SocketAddr,
    over: Arc<AtomicBool>,
    events: usize,
}

/// What a function answered to an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// Its answer's text
    Response(String),
    /// It failed; what it said
    Failed(String),
}

impl Hosted {
    /// Start `function` and wait for its first poll.
    ///
    /// # Errors
    /// It ends before, which it explains itself, or it does not poll in time.
    pub fn start(function: &mut Command, memory_mb: u32) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let api = listener.local_addr()?;
        let over = Arc::new(AtomicBool::new(false));
        let calls = serve(listener, Arc::clone(&over));
        // In a group of its own: Ctrl-C is for who feeds it, and a batch under way ends first.
        let mut child = at_runtime_api(function, api, memory_mb).process_group(0).spawn()?;
        let poll = next(&mut child, &calls).and_then(|call| match call.is_poll() {
            true => Ok(call),
            false => Err(io::Error::other(format!("its init failed: {}", call.text()))),
        });
        match poll {
            Ok(poll) => Ok(Self { child, calls, poll, api, over, events: 0 }),
            Err(error) => {
                end(&mut child, api, &over);
                Err(error)
            }
        }
    }

    /// Hand over an event; its answer.
    ///
    /// # Errors
    /// The process ended or does not answer: the event may have been worked on, and this process
    /// takes no other.
    pub fn invoke(&mut self, event: &str) -> io::Result<Answered> {
        let _ = self.poll.answer.send(invocation(self.events, event));
        self.events += 1;
        let answer = next(&mut self.child, &self.calls)?;
        let answered = match answer.target.ends_with("/response") {
            true => Answered::Response(answer.text()),
            false => Answered::Failed(answer.text()),
        };
        let _ = answer.answer.send(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_vec());
        self.poll = next(&mut self.child, &self.calls)?;
        Ok(answered)
    }
}

impl Drop for Hosted {
    fn drop(&mut self) {
        end(&mut self.child, self.api, &self.over);
    }
}

fn end(child: &mut Child, api: std::net::SocketAddr, over: &AtomicBool) {
    let _ = child.kill();
    let _ = child.wait();
    over.store(true, Ordering::Relaxed);
    // One connection more, so that the listener sees that it is over.
    drop(std::net::TcpStream::connect(api));
}

fn next(child: &mut Child, calls: &Receiver<Call>) -> io::Result<Call> {
    let begun = Instant::now();
    loop {
        match calls.recv_timeout(Duration::from_millis(100)) {
            Ok(call) => return Ok(call),
            Err(RecvTimeoutError::Timeout) if has_ended(child.id()) => {
                return Err(io::Error::other("the function ended; what it said is above"));
            }
            Err(RecvTimeoutError::Timeout) if begun.elapsed() < PATIENCE => {}
            Err(_) => return Err(io::Error::other("the function did not call in time")),
        }
    }
}
