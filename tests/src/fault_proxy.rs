//! A proxy on loopback in front of an S3 server, which fails as networks and services do, from a
//! seed. Requests pass unchanged, so their signatures hold.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::random::Random;

/// How a request can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// 500, and nothing happened.
    ErrorBefore,
    /// 500, and the request took effect.
    ErrorAfter,
    /// 503 SlowDown, and nothing happened.
    SlowDown,
    /// The connection is reset before the server saw the request.
    ResetBefore,
    /// The connection is reset after the request took effect: the answer is lost.
    ResetAfter,
    /// The answer stops in the middle, and the connection is reset.
    CutAnswer,
    /// 409 to a conditional put, as S3 answers while another one for the key is under way; nothing
    /// happened. Other requests pass.
    Conflict,
    /// The answer comes, after a third of a second.
    Delay,
}

/// Every fault.
pub const ALL_FAULTS: [Fault; 8] = [
    Fault::ErrorBefore,
    Fault::ErrorAfter,
    Fault::SlowDown,
    Fault::ResetBefore,
    Fault::ResetAfter,
    Fault::CutAnswer,
    Fault::Conflict,
    Fault::Delay,
];

const DELAY: Duration = Duration::from_millis(300);

/// What happens to requests from now on.
#[derive(Debug, Clone, Default)]
struct Weather {
    /// Each with its share of requests, in thousandths.
    faults: Vec<(Fault, u64)>,
    /// Every connection is reset.
    down: bool,
}

#[derive(Debug)]
struct Shared {
    upstream: u16,
    weather: Mutex<Weather>,
    random: Mutex<Random>,
    done: Mutex<BTreeMap<Fault, u64>>,
    stop: AtomicBool,
}

/// The running proxy. Dropped, it is gone as after a kill: nothing listens at its port, and answers
/// under way are lost.
#[derive(Debug)]
pub struct FaultProxy {
    shared: Arc<Shared>,
    port: u16,
    accepting: Option<JoinHandle<()>>,
}

impl FaultProxy {
    /// In front of a server on a loopback port; requests pass until it is told otherwise.
    pub fn start(upstream: u16, seed: u64) -> Self {
        Self::start_at(0, upstream, seed)
    }

    /// The same at a port of its own, as where one was killed before.
    pub fn start_at(port: u16, upstream: u16, seed: u64) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            upstream,
            weather: Mutex::default(),
            random: Mutex::new(Random::new(seed)),
            done: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        let accept = move || {
            for connection in listener.incoming() {
                if accepting.stop.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(client), shared) = (connection, Arc::clone(&accepting)) else { continue };
                std::thread::spawn(move || shared.serve(&client));
            }
        };
        Self { shared, port, accepting: Some(std::thread::spawn(accept)) }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Each of these faults strikes so many of a thousand requests.
    pub fn set(&self, faults: &[(Fault, u64)]) {
        *self.shared.weather.lock().unwrap() = Weather { faults: faults.to_vec(), down: false };
    }

    /// Reset every connection, until [`Self::set`].
    pub fn down(&self) {
        *self.shared.weather.lock().unwrap() = Weather { faults: Vec::new(), down: true };
    }

    /// How often each fault struck.
    pub fn struck(&self) -> BTreeMap<Fault, u64> {
        self.shared.done.lock().unwrap().clone()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        // From here on another one can have the port.
        let _ = self.accepting.take().map(JoinHandle::join);
    }
}

impl Shared {
    /// Serve a connection until either side ends it.
    fn serve(&self, client: &TcpStream) {
        let _ = client.set_nodelay(true);
        let mut requests = BufReader::new(client);
        let mut server: Option<BufReader<TcpStream>> = None;
        while let Ok(Some(request)) = read_request(&mut requests) {
            match self.pass(client, &request, &mut server) {
                Ok(true) if !self.stop.load(Ordering::SeqCst) => {}
                _ => return reset(client),
            }
        }
    }

    /// One request; whether the connection goes on.
    fn pass(
        &self,
        mut client: &TcpStream,
        request: &Message,
        server: &mut Option<BufReader<TcpStream>>,
    ) -> io::Result<bool> {
        let (fault, down) = self.choose(request);
        if down || self.stop.load(Ordering::SeqCst) {
            return Ok(false);
        }
        match fault {
            Some(Fault::ResetBefore) => return Ok(false),
            Some(Fault::ErrorBefore) => return refuse(client, "500 Internal Server Error", "InternalError"),
            Some(Fault::SlowDown) => return refuse(client, "503 Slow Down", "SlowDown"),
            Some(Fault::Conflict) => return refuse(client, "409 Conflict", "ConditionalRequestConflict"),
            _ => {}
        }
        let upstream = match server {
            Some(server) => server,
            None => {
                let connection = TcpStream::connect((Ipv4Addr::LOCALHOST, self.upstream))?;
                connection.set_nodelay(true)?;
                server.insert(BufReader::new(connection))
            }
        };
        upstream.get_mut().write_all(&request.head)?;
        upstream.get_mut().write_all(&request.body)?;
        let answer = read_answer(upstream, request.head.starts_with(b"HEAD "))?;
        if self.stop.load(Ordering::SeqCst) {
            return Ok(false);
        }
        match fault {
            Some(Fault::ResetAfter) => return Ok(false),
            Some(Fault::ErrorAfter) => return refuse(client, "500 Internal Server Error", "InternalError"),
            Some(Fault::CutAnswer) => {
                client.write_all(&answer.head)?;
                client.write_all(&answer.body[..answer.body.len() / 2])?;
                // An answer without a body is whole by now.
                return Ok(answer.body.is_empty());
            }
            Some(Fault::Delay) => std::thread::sleep(DELAY),
            _ => {}
        }
        client.write_all(&answer.head)?;
        client.write_all(&answer.body)?;
        Ok(true)
    }

    fn choose(&self, request: &Message) -> (Option<Fault>, bool) {
        let weather = self.weather.lock().unwrap();
        let mut rolled = self.random.lock().unwrap().below(1_000);
        for &(fault, share) in &weather.faults {
            if rolled < share {
                let conditional = request.header("if-none-match").is_some();
                if fault == Fault::Conflict && !conditional {
                    return (None, weather.down);
                }
                *self.done.lock().unwrap().entry(fault).or_default() += 1;
                return (Some(fault), weather.down);
            }
            rolled -= share;
        }
        (None, weather.down)
    }
}

/// Answer in S3's words; the connection goes on.
fn refuse(mut client: &TcpStream, status: &str, code: &str) -> io::Result<bool> {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>injected</Message></Error>"
    );
    let length = body.len();
    write!(
        client,
        "HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    Ok(true)
}

/// End the connection by a reset instead of an orderly close.
fn reset(client: &TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let size = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: the descriptor is open as long as `client` is borrowed, and the option's size is its own.
    unsafe {
        let option = std::ptr::from_ref(&linger).cast();
        libc::setsockopt(client.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, option, size);
    }
}

/// A request or an answer: its head with the empty line, and its body as it came.
#[derive(Debug)]
struct Message {
    head: Vec<u8>,
    body: Vec<u8>,
}

impl Message {
    fn header(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(&self.head).ok()?.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    fn is_chunked(&self) -> bool {
        self.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked"))
    }
}

/// None when the client is done.
fn read_request(from: &mut impl BufRead) -> io::Result<Option<Message>> {
    let mut message = Message { head: read_head(from)?, body: Vec::new() };
    if message.head.is_empty() {
        return Ok(None);
    }
    read_body(from, &mut message)?;
    Ok(Some(message))
}

fn read_answer(from: &mut impl BufRead, to_head: bool) -> io::Result<Message> {
    let mut message = Message { head: read_head(from)?, body: Vec::new() };
    if message.head.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let status = message.head.split(|b| *b == b' ').nth(1).unwrap_or_default().to_vec();
    if !to_head && status != b"204" && status != b"304" {
        read_body(from, &mut message)?;
    }
    Ok(message)
}

fn read_head(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if from.read_until(b'\n', &mut head)? == 0 {
            return if head.is_empty() { Ok(head) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
    }
    Ok(head)
}

fn read_body(from: &mut impl BufRead, message: &mut Message) -> io::Result<()> {
    if message.is_chunked() {
        return read_chunks(from, &mut message.body);
    }
    let length = message.header("content-length").and_then(|v| v.parse().ok()).unwrap_or(0);
    message.body.resize(length, 0);
    from.read_exact(&mut message.body)
}

/// Chunks as they are, up to the empty line behind the last.
fn read_chunks(from: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let start = body.len();
        from.read_until(b'\n', body)?;
        let size = std::str::from_utf8(&body[start..]).unwrap_or_default();
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
        let start = body.len();
        body.resize(start + size + 2, 0);
        from.read_exact(&mut body[start..])?;
        if size == 0 {
            return Ok(());
        }
    }
}
