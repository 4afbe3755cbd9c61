//! One stream's service, asked with signed requests; throttled ones again. Times are those of its
//! answers' `Date`.

use std::time::Duration;

use object_store::client::HttpClient;
use serde::de::DeserializeOwned;
use serde_json::Value;
use weir::clock::EpochMicros;
use weir::{Error, Result};

use crate::context::AwsSettings;
use crate::kinesis;

/// One request.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pauses between tries of a throttled call.
const PAUSE: Duration = Duration::from_millis(400);
const TRIES: u32 = 4;

/// A client of the service that has a stream.
pub(super) struct Caller {
    aws: AwsSettings,
    pub(super) arn: String,
    endpoint: String,
    client: HttpClient,
}

/// What came back, and when.
pub(super) struct Answer<T> {
    pub(super) at: EpochMicros,
    pub(super) content: T,
}

/// Why nothing came back.
pub(super) enum Refused {
    /// The service's name of the error, and what it says.
    Said(String, String),
    /// No answer that can be read.
    Failed(Error),
}

impl Caller {
    /// Of the stream of that ARN.
    pub(super) fn new(aws: AwsSettings, arn: &str) -> Result<Self> {
        let wrong = |problem: String| Error::Setting {
            setting: "WEIR_STREAMS".into(),
            problem: format!("{arn}: {problem}"),
            example: "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks".into(),
        };
        let endpoint = kinesis::endpoint(&aws, arn).map_err(wrong)?;
        let client = kinesis::connect(&endpoint, PATIENCE).map_err(|e| wrong(e.to_string()))?;
        Ok(Self { aws, arn: arn.to_owned(), endpoint, client })
    }

    /// Throttled calls are tried again.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        body: Value,
    ) -> Result<Answer<T>, Refused> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.call_once(operation, &body).await {
                Err(Refused::Said(kind, _)) if throttled(&kind) && tries < TRIES => {
                    tokio::time::sleep(PAUSE).await;
                }
                answer => return answer,
            }
        }
    }

    async fn call_once<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        body: &Value,
    ) -> Result<Answer<T>, Refused> {
        let failed = |e: Box<dyn std::error::Error + Send + Sync>| Refused::Failed(self.failed(operation, e));
        let request = kinesis::request(&self.aws, &self.endpoint, &self.arn, operation, body);
        let request = request.map_err(|e| failed(e.into()))?;
        let response = self.client.execute(request).await.map_err(|e| failed(e.into()))?;
        let status = response.status();
        let date = response.headers().get("date").and_then(|date| date.to_str().ok()).map(str::to_owned);
        let bytes = response.into_body().bytes().await.map_err(|e| failed(e.into()))?;
        if !status.is_success() {
            let said: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let text = |name: &str| said.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            let kind = text("__type").rsplit('#').next().unwrap_or_default().to_owned();
            let kind = if kind.is_empty() { status.to_string() } else { kind };
            return Err(Refused::Said(kind, text("message")));
        }
        let at = date.as_deref().and_then(service_time);
        let at = at.ok_or_else(|| failed(format!("its answer has no date ({date:?})").into()))?;
        let content = serde_json::from_slice(&bytes).map_err(|e| failed(e.into()))?;
        Ok(Answer { at, content })
    }

    /// An operation that failed.
    pub(super) fn failed(&self, operation: &str, source: Box<dyn std::error::Error + Send + Sync>) -> Error {
        let object = format!("{} ({operation})", self.arn);
        Error::Store { operation: "ask the stream", object, retryable: true, source }
    }

    /// What the service said, as an error.
    pub(super) fn told(&self, operation: &str, refused: Refused) -> Error {
        match refused {
            Refused::Failed(error) => error,
            Refused::Said(kind, message) => self.failed(operation, format!("{kind}: {message}").into()),
        }
    }
}

fn throttled(kind: &str) -> bool {
    kind.contains("ThroughputExceeded") || kind.contains("LimitExceeded") || kind.contains("Throttling")
}

/// `Sat, 21 Nov 2026 11:17:22 GMT`. Whole seconds, rounded down: never later than it was.
fn service_time(date: &str) -> Option<EpochMicros> {
    let zoned = jiff::fmt::rfc2822::DateTimeParser::new().parse_zoned(date).ok()?;
    Some(EpochMicros(zoned.timestamp().as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_s_date_is_read() {
        let at = service_time("Sat, 21 Nov 2026 11:17:22 GMT").unwrap();
        assert_eq!(at, EpochMicros(1_795_259_842_000_000));
        assert_eq!(service_time("yesterday"), None);
    }
}
