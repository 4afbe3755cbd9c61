//! The Lambda Runtime API around a handler: one thread, one invocation at a time, bodies taken as bytes.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use lambda_runtime::tower::util::MapRequestLayer;
use lambda_runtime::{Diagnostic, LambdaEvent, LambdaInvocation, Runtime, service_fn};
use serde::Serialize;
use serde::de::IgnoredAny;
use weir::clock::EpochMicros;
use weir::{Error, Result};

use crate::context;
use crate::ingest::{Invocation, chain};

/// The answer to an invocation and the line that is printed about it.
pub(crate) struct Served<A> {
    /// To the service.
    pub(crate) answer: Result<A>,
    /// To the log.
    pub(crate) line: String,
}

/// What is done with an event.
pub(crate) trait Serve {
    /// What is answered.
    type Answer: Serialize + Send + 'static;

    /// Handle the event whose JSON text is `body`.
    fn serve(&mut self, body: &[u8], invocation: &Invocation) -> impl Future<Output = Served<Self::Answer>>;
}

/// Init, then poll. Only returns when init fails or the Runtime API is gone.
pub(crate) fn run<S: Serve + 'static>(init: impl AsyncFnOnce() -> Result<S>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(problem) => return stop(&format!("could not start the async runtime: {problem}")),
    };
    runtime.block_on(async {
        if let Err(error) = context::check_runtime(context::process_env) {
            return stop(&chain(&error));
        }
        match init().await {
            Ok(handler) => poll(handler).await,
            Err(error) => init_failed(&error),
        }
    })
}

async fn poll<S: Serve + 'static>(handler: S) -> ExitCode {
    // The client would parse a body as JSON before our handler sees it; parsing it once is our
    // handler's work. So the body goes round it: the layer takes it out before, the handler after.
    let taken: Rc<Cell<Bytes>> = Rc::default();
    let body = Rc::clone(&taken);
    let take_body = MapRequestLayer::new(move |mut invocation: LambdaInvocation| {
        taken.set(std::mem::replace(&mut invocation.body, Bytes::from_static(b"null")));
        invocation
    });
    let handler = Rc::new(RefCell::new(handler));
    let service = service_fn(move |event: LambdaEvent<IgnoredAny>| {
        let handler = Rc::clone(&handler);
        let body = body.take();
        async move { answer(&handler, &body, event).await }
    });
    match Runtime::new(service).layer(take_body).run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => stop(&format!("could not reach the Lambda Runtime API: {problem}")),
    }
}

#[allow(clippy::await_holding_refcell_ref, reason = "invocations come one at a time on one thread")]
async fn answer<S: Serve>(
    handler: &RefCell<S>,
    body: &[u8],
    event: LambdaEvent<IgnoredAny>,
) -> std::result::Result<S::Answer, Diagnostic> {
    let invocation = Invocation {
        request_id: event.context.request_id,
        deadline: EpochMicros::from_millis(i64::try_from(event.context.deadline).unwrap_or(i64::MAX / 1_000)),
        trace_id: event.context.xray_trace_id,
    };
    let served = handler.borrow_mut().serve(body, &invocation).await;
    print_line(&served.line);
    served
        .answer
        .map_err(|error| Diagnostic { error_type: kind(&error).into(), error_message: chain(&error) })
}

/// One write a line, so that lines of several processes on one pipe do not mix.
fn print_line(line: &str) {
    let mut out = std::io::stdout().lock();
    // A log that cannot be written must not fail a batch that is committed.
    _ = out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush());
}

fn kind(error: &Error) -> &'static str {
    match error {
        Error::Setting { .. } => "Weir.Setting",
        Error::Schema { .. } => "Weir.Schema",
        Error::NoSuchTable { .. } => "Weir.NoSuchTable",
        Error::Store { .. } => "Weir.Store",
        Error::Format { .. } => "Weir.Format",
        Error::Event(_) => "Weir.Event",
        Error::Internal(_) => "Weir.Internal",
    }
}

fn stop(message: &str) -> ExitCode {
    // One write here, too: the service may stop the process between two.
    _ = std::io::stderr().write_all(format!("error: {message}\n").as_bytes());
    ExitCode::FAILURE
}

fn init_failed(error: &Error) -> ExitCode {
    let message = chain(error);
    // The line above says it all; the report only shows it in one more place.
    if let Some(api) = context::process_env("AWS_LAMBDA_RUNTIME_API") {
        _ = report_init_error(&api, kind(error), &message);
    }
    stop(&message)
}

/// `POST /runtime/init/error`, which the runtime client sends only around SnapStart.
fn report_init_error(api: &str, kind: &str, message: &str) -> std::io::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(1);
    let api = api.trim_start_matches("http://").trim_end_matches('/');
    let (host, base) = api.split_at(api.find('/').unwrap_or(api.len()));
    let address = host.to_socket_addrs()?.next().ok_or(std::io::ErrorKind::AddrNotAvailable)?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let body = serde_json::json!({"errorType": kind, "errorMessage": message, "stackTrace": []}).to_string();
    let request = format!(
        "POST {base}/2018-06-01/runtime/init/error HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nLambda-Runtime-Function-Error-Type: Runtime.InitError\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len(),
    );
    stream.write_all(request.as_bytes())?;
    // The process may go when the service has the report.
    stream.read(&mut [0; 64]).map(|_| ())
}
