//! Lambda's own API on a loopback port, as far as a measurement of a function asks for it, by its
//! documentation: a change of the configuration is under way for a while and makes new environments,
//! an invocation is answered with the end of its log, and calls can be throttled, refused or left
//! without an answer. Requests must be signed. What an invocation does is the test's.
//!
//! <https://docs.aws.amazon.com/lambda/latest/api/API_UpdateFunctionConfiguration.html>,
//! <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// What can be changed of the function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// MB.
    pub memory_mb: i64,
    /// Variables.
    pub environment: BTreeMap<String, String>,
}

/// An invocation as the function gets it.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The configuration that its environment was made with.
    pub configuration: Configuration,
    /// Whether it is the first one of its environment.
    pub cold: bool,
    /// The event.
    pub payload: Vec<u8>,
}

/// What became of an invocation.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The function's answer, or its error.
    pub payload: String,
    /// `Unhandled`, where it failed.
    pub error: Option<&'static str>,
    /// Its log; the service answers with its last 4 KB.
    pub log: String,
}

/// What goes wrong, and how.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// So many of the next calls of each kind are answered 429.
    pub throttles: BTreeMap<&'static str, u32>,
    /// So many of the next updates are answered 409, as while another one is under way.
    pub conflicts: u32,
    /// Before so many of the next updates somebody else changes the description: 412.
    pub changed_by_others: u32,
    /// So many of the next invocations meet an environment that is there.
    pub warm: u32,
    /// More memory than the account has is refused.
    pub most_memory_mb: Option<i64>,
    /// How long a change is under way.
    pub update_takes: Duration,
    /// Nothing is answered any more.
    pub gone: bool,
    /// Streams that are mapped to it.
    pub mapped: Vec<String>,
}

/// A running endpoint with one function; its port is free again once it is dropped.
#[derive(Debug)]
pub struct LambdaApi {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    over: Arc<AtomicBool>,
}

struct State {
    configuration: Configuration,
    revision: u64,
    warm: bool,
    under_way_until: Instant,
    faults: Faults,
    calls: Vec<String>,
    run: Run,
}

type Run = Box<dyn FnMut(&Invocation) -> Outcome + Send>;

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("configuration", &self.configuration)
            .field("calls", &self.calls)
            .finish()
    }
}

impl LambdaApi {
    /// Serve a function named `measured`.
    pub fn start(
        memory_mb: i64,
        environment: &[(&str, &str)],
        run: impl FnMut(&Invocation) -> Outcome + Send + 'static,
    ) -> Self {
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let state = State {
            configuration: Configuration { memory_mb, environment },
            revision: 1,
            warm: true,
            under_way_until: Instant::now(),
            faults: Faults::default(),
            calls: Vec::new(),
            run: Box::new(run),
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let api = Self {
            address: listener.local_addr().unwrap(),
            state: Arc::new(Mutex::new(state)),
            over: Arc::default(),
        };
        let (state, over) = (Arc::clone(&api.state), Arc::clone(&api.over));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let state = Arc::clone(&state);
                std::thread::spawn(move || serve(&stream, &state));
            }
        });
        api
    }

    /// Its address.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The function as it is configured now.
    pub fn configuration(&self) -> Configuration {
        lock(&self.state).configuration.clone()
    }

    /// Change what goes wrong.
    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut lock(&self.state).faults);
    }

    /// Calls so far that were not refused, by name; updates with the memory that they set.
    pub fn calls(&self) -> Vec<String> {
        lock(&self.state).calls.clone()
    }
}

impl Drop for LambdaApi {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request, as far as it is looked at.
struct Request {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
}

fn serve(stream: &TcpStream, state: &Mutex<State>) {
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    while let Some(request) = read(&mut reader) {
        if lock(state).faults.gone {
            return;
        }
        let answer = answer(&request, state);
        let mut text = format!("HTTP/1.1 {} x\r\nContent-Type: application/json\r\n", answer.status);
        for (name, value) in &answer.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n{}", answer.body.len(), answer.body));
        if writer.write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, path, headers, body })
}

fn answer(request: &Request, state: &Mutex<State>) -> Answer {
    if let Err(why) = signed(request) {
        return refusal(403, "MissingAuthenticationTokenException", &why);
    }
    let path = request.path.split('?').next().unwrap_or_default();
    let call = match (request.method.as_str(), path) {
        ("GET", "/2015-03-31/functions/measured/configuration") => "GetFunctionConfiguration",
        ("PUT", "/2015-03-31/functions/measured/configuration") => "UpdateFunctionConfiguration",
        ("POST", "/2015-03-31/functions/measured/invocations") => "Invoke",
        ("GET", "/2015-03-31/event-source-mappings" | "/2015-03-31/event-source-mappings/") => {
            "ListEventSourceMappings"
        }
        _ => return refusal(404, "ResourceNotFoundException", &format!("Function not found: {path}")),
    };
    {
        let mut state = lock(state);
        if let Some(left) = state.faults.throttles.get_mut(call).filter(|left| **left > 0) {
            *left -= 1;
            return refusal(429, "TooManyRequestsException", "Rate Exceeded.");
        }
    }
    match call {
        "GetFunctionConfiguration" => described(&mut lock(state), call),
        "UpdateFunctionConfiguration" => update(&mut lock(state), &request.body),
        "Invoke" => invoke(state, request),
        _ => {
            let mut state = lock(state);
            state.calls.push(call.to_owned());
            let mapping = |arn: &String| json!({"UUID": "1", "EventSourceArn": arn, "State": "Enabled"});
            ok(json!({"EventSourceMappings": state.faults.mapped.iter().map(mapping).collect::<Vec<_>>()}))
        }
    }
}

/// Whether a request carries a signature of version 4 for this service, with all that belongs to it
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html>).
fn signed(request: &Request) -> Result<(), String> {
    let header = |name: &str| request.headers.get(name).ok_or_else(|| format!("no header {name}"));
    let date = header("x-amz-date")?;
    let parts = header("authorization")?.strip_prefix("AWS4-HMAC-SHA256 ").ok_or("another algorithm")?;
    let part = |name: &str| {
        let found = parts.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
        found.ok_or_else(|| format!("no {name}"))
    };
    let credential: Vec<&str> = part("Credential")?.split('/').collect();
    let [_key, day, _region, "lambda", "aws4_request"] = credential.as_slice() else {
        return Err(format!("scope {credential:?}"));
    };
    if !date.starts_with(day) {
        return Err(format!("scope of {day}, request of {date}"));
    }
    let headers: Vec<&str> = part("SignedHeaders")?.split(';').collect();
    if !["host", "x-amz-date"].iter().all(|name| headers.contains(name)) {
        return Err(format!("signed are {headers:?} alone"));
    }
    let signature = part("Signature")?;
    let is_hex = signature.len() == 64 && signature.bytes().all(|b| b.is_ascii_hexdigit());
    is_hex.then_some(()).ok_or_else(|| format!("signature {signature}"))
}

fn ok(body: Value) -> Answer {
    Answer { status: 200, headers: Vec::new(), body: body.to_string() }
}

fn refusal(status: u16, code: &str, message: &str) -> Answer {
    let body = json!({"Type": "User", "message": message, "Message": message}).to_string();
    Answer { status, headers: vec![("x-amzn-ErrorType", code.to_owned())], body }
}

fn described(state: &mut State, call: &str) -> Answer {
    state.calls.push(call.to_owned());
    let under_way = Instant::now() < state.under_way_until;
    ok(json!({
        "FunctionName": "measured", "MemorySize": state.configuration.memory_mb, "Version": "$LATEST",
        "Environment": {"Variables": state.configuration.environment}, "State": "Active",
        "LastUpdateStatus": if under_way { "InProgress" } else { "Successful" },
        "RevisionId": state.revision.to_string(), "Timeout": 30, "Runtime": "provided.al2023",
    }))
}

fn update(state: &mut State, body: &[u8]) -> Answer {
    let asked: Value = serde_json::from_slice(body).unwrap();
    if state.faults.conflicts > 0 || Instant::now() < state.under_way_until {
        state.faults.conflicts = state.faults.conflicts.saturating_sub(1);
        let text =
            "The operation cannot be performed at this time. An update is in progress for resource: measured";
        return refusal(409, "ResourceConflictException", text);
    }
    if state.faults.changed_by_others > 0 {
        state.faults.changed_by_others -= 1;
        state.revision += 1;
        state.configuration.environment.insert("ADDED_BY_OTHERS".into(), state.revision.to_string());
    }
    if asked["RevisionId"].as_str().is_some_and(|revision| revision != state.revision.to_string()) {
        let text =
            "The RevisionId provided does not match the latest RevisionId for the Lambda function or alias.";
        return refusal(412, "PreconditionFailedException", text);
    }
    let memory_mb = asked["MemorySize"].as_i64().unwrap_or(state.configuration.memory_mb);
    if let Some(most) = state.faults.most_memory_mb.filter(|most| memory_mb > *most) {
        let text = format!(
            "'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to {most}"
        );
        return refusal(400, "InvalidParameterValueException", &text);
    }
    state.calls.push(format!("UpdateFunctionConfiguration {memory_mb}"));
    state.configuration.memory_mb = memory_mb;
    if let Some(variables) = asked["Environment"]["Variables"].as_object() {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        state.configuration.environment = variables.iter().map(|(k, v)| (k.clone(), text(v))).collect();
    }
    state.revision += 1;
    state.warm = false;
    state.under_way_until = Instant::now() + state.faults.update_takes;
    ok(
        json!({"FunctionName": "measured", "LastUpdateStatus": "InProgress", "RevisionId": state.revision.to_string()}),
    )
}

fn invoke(state: &Mutex<State>, request: &Request) -> Answer {
    let mut state = lock(state);
    state.calls.push("Invoke".to_owned());
    let meets_warm = state.warm || state.faults.warm > 0;
    state.faults.warm = state.faults.warm.saturating_sub(1);
    state.warm = true;
    let configuration = state.configuration.clone();
    let invocation = Invocation { configuration, cold: !meets_warm, payload: request.body.clone() };
    // One at a time, as one environment runs them; what is asked meanwhile waits.
    let outcome = (state.run)(&invocation);
    let mut headers = vec![("X-Amz-Executed-Version", "$LATEST".to_owned())];
    if request.headers.get("x-amz-log-type").is_some_and(|kind| kind == "Tail") {
        let tail = &outcome.log.as_bytes()[outcome.log.len().saturating_sub(4096)..];
        headers.push(("X-Amz-Log-Result", base64_simd::STANDARD.encode_to_string(tail)));
    }
    headers.extend(outcome.error.map(|error| ("X-Amz-Function-Error", error.to_owned())));
    Answer { status: 200, headers, body: outcome.payload }
}
