//! Calls of Glue, repeated while that can help.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::access::AwsAccess;
use super::failure::Failure;
use super::request::{self, NoAnswer, Refusal, Service};

const GLUE: Service = Service { setting: "glue", name: "glue" };
/// Tries at one request.
const TRIES: u32 = 6;
/// Before the second try; doubles.
const PAUSE: Duration = Duration::from_millis(100);

/// What an answer without a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Empty {
    IsDone,
    IsNone,
}

/// Who asks Glue. Nothing is connected before the first call.
#[derive(Debug)]
pub struct GlueClient {
    access: Arc<AwsAccess>,
    seed: u64,
}

impl GlueClient {
    /// With these credentials, in their region. `seed` is another one in each process, so that those
    /// who are throttled together don't come again together.
    pub fn new(access: Arc<AwsAccess>, seed: u64) -> Self {
        Self { access, seed }
    }

    /// Who asks.
    pub fn access(&self) -> &Arc<AwsAccess> {
        &self.access
    }

    /// The answer to a call (`GetTable`), asked for again after a throttle, a failure of the service
    /// or of the network. For calls that may take effect twice.
    pub(super) async fn call<T: DeserializeOwned>(&self, call: &str, body: &Value) -> Result<T, Failure> {
        read(self.answer(call, body, (TRIES, Empty::IsNone)).await?)
    }

    /// The same, asked once: it must not be repeated without a look at what the first try did.
    pub(super) async fn call_once<T: DeserializeOwned>(
        &self,
        call: &str,
        body: &Value,
    ) -> Result<T, Failure> {
        read(self.answer(call, body, (1, Empty::IsNone)).await?)
    }

    /// A call whose answer says nothing but that it is done.
    pub(super) async fn tell(&self, call: &str, body: &Value) -> Result<(), Failure> {
        self.answer(call, body, (TRIES, Empty::IsDone)).await.map(drop)
    }

    /// The same, asked once.
    pub(super) async fn tell_once(&self, call: &str, body: &Value) -> Result<(), Failure> {
        self.answer(call, body, (1, Empty::IsDone)).await.map(drop)
    }

    async fn answer(&self, call: &str, body: &Value, (tries, empty): (u32, Empty)) -> Result<Value, Failure> {
        let body = body.to_string();
        let in_all = self.access.patience().in_all;
        let mut last = None;
        let repeated = async {
            let mut attempt = 1;
            loop {
                match self.send(call, body.clone(), empty).await {
                    Ok(answer) => return Ok(answer),
                    Err(failure) if attempt >= tries || !failure.passes_soon() => return Err(failure),
                    Err(failure) => last = Some(failure),
                }
                let pause = PAUSE * 2u32.pow(attempt - 1);
                tokio::time::sleep(self.jittered(pause, &(call, &body))).await;
                attempt += 1;
            }
        };
        match tokio::time::timeout(in_all, repeated).await {
            Ok(done) => done,
            Err(_) => Err(last.unwrap_or_else(|| Failure::Lost(format!("no end within {in_all:?}")))),
        }
    }

    async fn send(&self, call: &str, body: String, empty: Empty) -> Result<Value, Failure> {
        let region = self.access.region();
        let address = format!("{}/", GLUE.address(&self.access, region));
        let target = format!("AWSGlue.{call}");
        let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", &*target)];
        let sent = request::send(&self.access, (GLUE, region), &address, &headers, body);
        let in_time = self.access.patience().of_a_try;
        let answer = match tokio::time::timeout(in_time, sent).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(NoAnswer::Unsent(cause))) => return Err(Failure::Unsent(causes(&*cause))),
            Ok(Err(NoAnswer::Lost(cause))) => return Err(Failure::Lost(causes(&*cause))),
            Err(_) => return Err(Failure::Lost(format!("no answer within {in_time:?}"))),
        };
        if let Some(Refusal { code, message }) = answer.refusal() {
            let of_service = answer.is_failure_of_service();
            return Err(match code {
                Some(code) => Failure::Refused { code, message, of_service },
                None => Failure::Lost(message),
            });
        }
        match answer.content {
            Some(content @ Value::Object(_)) => Ok(content),
            Some(content @ Value::Null) if empty == Empty::IsDone => Ok(content),
            _ => Err(Failure::Lost("the answer is no JSON object".to_owned())),
        }
    }

    /// Between half of `pause` and one and a half of it.
    pub(super) fn jittered(&self, pause: Duration, of: &impl Hash) -> Duration {
        let mut hasher = DefaultHasher::new();
        (self.seed, pause, of).hash(&mut hasher);
        pause / 2 + pause.mul_f64((hasher.finish() >> 11) as f64 / (1u64 << 53) as f64)
    }
}

fn read<T: DeserializeOwned>(answer: Value) -> Result<T, Failure> {
    serde_json::from_value(answer).map_err(|e| Failure::Lost(format!("an answer of another form: {e}")))
}

/// An error and its causes, innermost last.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
}
