//! One execution environment: the Runtime API as one function process sees it, on a port of its
//! own, and the one invocation it has at a time.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use weir::clock::Clock;

/// An answer of a function may be 6 MB; what is larger gets 413, as from Lambda.
const MAX_ANSWER_BYTES: usize = 6 * 1024 * 1024;

/// What a process says in the course of one invocation.
#[derive(Debug)]
pub(super) enum Reply {
    /// It answered.
    Answer(Bytes),
    /// It reported an error of the invocation.
    Error(String),
    /// It could not be initialised.
    InitError(String),
}

/// An event that waits for the process to ask for it.
struct Offer {
    request_id: String,
    event: Bytes,
    taken: oneshot::Sender<()>,
    reply: oneshot::Sender<Reply>,
}

#[derive(Default)]
struct Desk {
    offer: Option<Offer>,
    /// The invocation under way: its id, and who waits for the reply.
    under_way: Option<(String, oneshot::Sender<Reply>)>,
    /// Who waits to hear that the process is initialised.
    waiting_for_init: Option<oneshot::Sender<Reply>>,
}

struct Inner {
    desk: Mutex<Desk>,
    offered: Notify,
    function_arn: String,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

/// The Runtime API of one process.
pub(super) struct Slot {
    inner: Arc<Inner>,
    address: SocketAddr,
    server: JoinHandle<()>,
}

/// The two moments of an invocation that the host waits for.
pub(super) struct Invocation {
    /// The process has taken the event: its time runs.
    pub(super) taken: oneshot::Receiver<()>,
    /// The process has replied.
    pub(super) reply: oneshot::Receiver<Reply>,
}

impl Slot {
    /// Listen on a free port of loopback.
    pub(super) async fn open(
        function_arn: &str,
        timeout: Duration,
        clock: Arc<dyn Clock>,
    ) -> std::io::Result<Self> {
        let inner = Arc::new(Inner {
            desk: Mutex::default(),
            offered: Notify::new(),
            function_arn: function_arn.to_owned(),
            timeout,
            clock,
        });
        let app = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(init_error))
            .layer(DefaultBodyLimit::max(MAX_ANSWER_BYTES))
            .with_state(inner.clone());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { inner, address, server })
    }

    /// `AWS_LAMBDA_RUNTIME_API`.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Offer an event to the process.
    pub(super) fn offer(&self, request_id: String, event: Bytes) -> Invocation {
        let (taken_sender, taken) = oneshot::channel();
        let (reply_sender, reply) = oneshot::channel();
        let offer = Offer { request_id, event, taken: taken_sender, reply: reply_sender };
        let mut desk = self.inner.lock();
        *desk = Desk { offer: Some(offer), ..Desk::default() };
        drop(desk);
        self.inner.offered.notify_one();
        Invocation { taken, reply }
    }

    /// Hear when the process first asks for an event, or why it cannot.
    pub(super) fn wait_for_init(&self) -> oneshot::Receiver<Reply> {
        let (sender, receiver) = oneshot::channel();
        *self.inner.lock() = Desk { waiting_for_init: Some(sender), ..Desk::default() };
        receiver
    }

    /// Forget the invocation, so that a late word of a dead process finds nobody.
    pub(super) fn clear(&self) {
        *self.inner.lock() = Desk::default();
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, id: &str, reply: Reply) -> Response {
        let mut desk = self.lock();
        match desk.under_way.take_if(|(under_way, _)| under_way == id) {
            Some((_, sender)) => {
                let _ = sender.send(reply);
                (StatusCode::ACCEPTED, axum::Json(json!({"status": "OK"}))).into_response()
            }
            None => refused(StatusCode::BAD_REQUEST, "InvalidRequestID"),
        }
    }
}

fn refused(status: StatusCode, kind: &str) -> Response {
    (status, axum::Json(json!({"errorType": kind, "errorMessage": kind}))).into_response()
}

async fn next(State(slot): State<Arc<Inner>>) -> Response {
    loop {
        // Registered before looking, so that an offer in between is not missed.
        let offered = slot.offered.notified();
        let offer = {
            let mut desk = slot.lock();
            if let Some(waiting) = desk.waiting_for_init.take() {
                let _ = waiting.send(Reply::Answer(Bytes::new()));
            }
            desk.offer.take().map(|offer| {
                desk.under_way = Some((offer.request_id.clone(), offer.reply));
                (offer.request_id, offer.event, offer.taken)
            })
        };
        let Some((request_id, event, taken)) = offer else {
            offered.await;
            continue;
        };
        let _ = taken.send(());
        let deadline = slot.clock.now().millis() + slot.timeout.as_millis() as i64;
        let trace = trace_id(&request_id);
        let headers = [
            ("content-type", "application/json".to_owned()),
            ("lambda-runtime-aws-request-id", request_id),
            ("lambda-runtime-deadline-ms", deadline.to_string()),
            ("lambda-runtime-invoked-function-arn", slot.function_arn.clone()),
            ("lambda-runtime-trace-id", trace),
        ];
        return (axum::response::AppendHeaders(headers), event).into_response();
    }
}

/// An X-Ray header for the invocation, not sampled.
fn trace_id(request_id: &str) -> String {
    let hex: String = request_id.chars().filter(char::is_ascii_hexdigit).collect();
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or("0");
    format!("Root=1-{}-{};Parent={};Sampled=0", part(0, 8), part(8, 32), part(0, 16))
}

async fn response(State(slot): State<Arc<Inner>>, Path(id): Path<String>, body: Bytes) -> Response {
    slot.settle(&id, Reply::Answer(body))
}

async fn error(
    State(slot): State<Arc<Inner>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let error = error_text(&headers, &body);
    slot.settle(&id, Reply::Error(error))
}

async fn init_error(State(slot): State<Arc<Inner>>, headers: HeaderMap, body: Bytes) -> Response {
    let error = error_text(&headers, &body);
    let mut desk = slot.lock();
    if let Some(waiting) = desk.waiting_for_init.take() {
        let _ = waiting.send(Reply::InitError(error));
    } else if let Some(offer) = desk.offer.take() {
        // Before the rest of the offer goes, whose end is the sign to look for the reason.
        let _ = offer.reply.send(Reply::InitError(error));
    }
    StatusCode::ACCEPTED.into_response()
}

/// `errorType: errorMessage` of an error document.
fn error_text(headers: &HeaderMap, body: &[u8]) -> String {
    let document: Value = serde_json::from_slice(body).unwrap_or_default();
    let field = |key: &str| document.get(key).and_then(Value::as_str);
    let header = headers.get("lambda-runtime-function-error-type").and_then(|v| v.to_str().ok());
    match (field("errorType").or(header), field("errorMessage")) {
        (Some(kind), Some(message)) => format!("{kind}: {message}"),
        (None, Some(message)) => message.to_owned(),
        _ => String::from_utf8_lossy(body).chars().take(1_000).collect(),
    }
}
