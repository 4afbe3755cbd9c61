//! A Kinesis stream as close asks it: shards, and when the first record after a position arrived.
//! Times are the service's: of its answers' `Date`, and of arrivals.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::client::HttpClient;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use weir::clock::EpochMicros;
use weir::close::{GivenUpRange, Look, Shards, Stream, StreamShard};
use weir::record::SequenceNumber;
use weir::{Error, Result};

use super::failures::Failures;
use crate::context::AwsSettings;
use crate::kinesis;

/// One request.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pauses between tries of a throttled call, and between empty answers: a shard answers five reads a
/// second, one of which is the mapping's.
const PAUSE: Duration = Duration::from_millis(400);
const TRIES: u32 = 4;
/// Empty answers in a row that are read past. Each covers minutes of a shard without records.
const EMPTY_ANSWERS: u32 = 100;

/// A stream.
pub struct KinesisStream {
    aws: AwsSettings,
    arn: String,
    key: String,
    endpoint: String,
    client: HttpClient,
    held_back: Option<Duration>,
    failures: Option<Arc<Failures>>,
}

struct Answer<T> {
    at: EpochMicros,
    content: T,
}

enum Refused {
    /// The service's name of the error, and what it says.
    Said(String, String),
    Failed(Error),
}

impl KinesisStream {
    /// The stream of that ARN, whose key in the lake is `key`.
    ///
    /// # Errors
    /// The ARN names no region.
    pub fn new(aws: AwsSettings, arn: &str, key: String) -> Result<Self> {
        let wrong = |problem: String| Error::Setting {
            setting: "WEIR_STREAMS".into(),
            problem: format!("{arn}: {problem}"),
            example: "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks".into(),
        };
        let endpoint = kinesis::endpoint(&aws, arn).map_err(wrong)?;
        let client = kinesis::connect(&endpoint, PATIENCE).map_err(|e| wrong(e.to_string()))?;
        let (arn, held_back, failures) = (arn.to_owned(), None, None);
        Ok(Self { aws, arn, key, endpoint, client, held_back, failures })
    }

    /// Of a mapping with lanes: how long it may hold a record back.
    pub fn held_back(mut self, held_back: Option<Duration>) -> Self {
        self.held_back = held_back;
        self
    }

    /// Where the mapping puts what it gives up on.
    pub fn failures(mut self, failures: Option<Arc<Failures>>) -> Self {
        self.failures = failures;
        self
    }

    async fn call<T: DeserializeOwned>(
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

    fn failed(&self, operation: &str, source: Box<dyn std::error::Error + Send + Sync>) -> Error {
        let object = format!("{} ({operation})", self.arn);
        Error::Store { operation: "ask the stream", object, retryable: true, source }
    }

    fn told(&self, operation: &str, refused: Refused) -> Error {
        match refused {
            Refused::Failed(error) => error,
            Refused::Said(kind, message) => self.failed(operation, format!("{kind}: {message}").into()),
        }
    }

    fn stream(&self) -> Value {
        json!({"StreamARN": self.arn, "StreamName": kinesis::name(&self.arn)})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedShards {
    shards: Vec<ListedShard>,
    #[serde(default)]
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedShard {
    shard_id: String,
    sequence_number_range: Range,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Range {
    #[serde(default)]
    ending_sequence_number: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Iterator {
    shard_iterator: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Records {
    records: Vec<Record>,
    #[serde(default)]
    next_shard_iterator: Option<String>,
    #[serde(default)]
    millis_behind_latest: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Record {
    approximate_arrival_timestamp: f64,
}

#[async_trait]
impl Stream for KinesisStream {
    fn key(&self) -> &str {
        &self.key
    }

    async fn shards(&self) -> Result<Shards> {
        let operation = "ListShards";
        let mut shards = Vec::new();
        let mut first = None;
        let mut body = self.stream();
        loop {
            let page =
                self.call::<ListedShards>(operation, body).await.map_err(|e| self.told(operation, e))?;
            // A shard that is made while pages are read may be missing in those before.
            let at = *first.get_or_insert(page.at);
            shards.extend(page.content.shards.into_iter().map(|shard| StreamShard {
                closed: shard.sequence_number_range.ending_sequence_number.is_some(),
                id: shard.shard_id,
            }));
            match page.content.next_token {
                // The embedded endpoint's token is a shard's id, and it takes no token alone.
                Some(token) if token.starts_with("shardId-") => {
                    body = self.stream();
                    body["ExclusiveStartShardId"] = json!(token);
                }
                Some(token) => body = json!({"NextToken": token}),
                None => return Ok(Shards { at, shards }),
            }
        }
    }

    async fn first_after(&self, shard: &str, after: Option<SequenceNumber>) -> Result<Look> {
        let operation = "GetShardIterator";
        let mut body = self.stream();
        body["ShardId"] = json!(shard);
        match after {
            None => body["ShardIteratorType"] = json!("TRIM_HORIZON"),
            Some(number) => {
                body["ShardIteratorType"] = json!("AFTER_SEQUENCE_NUMBER");
                body["StartingSequenceNumber"] = json!(number.to_string());
            }
        }
        let mut at = match self.call::<Iterator>(operation, body).await {
            Ok(answer) => answer.content.shard_iterator,
            // Its records are all past their retention.
            Err(Refused::Said(kind, _)) if kind == "ResourceNotFoundException" => return Ok(Look::Ended),
            Err(refused) => return Err(self.told(operation, refused)),
        };
        let operation = "GetRecords";
        for _ in 0..EMPTY_ANSWERS {
            let body = json!({"ShardIterator": at, "Limit": 1, "StreamARN": self.arn});
            let got = self.call::<Records>(operation, body).await.map_err(|e| self.told(operation, e))?;
            if let Some(record) = got.content.records.first() {
                let arrived = EpochMicros((record.approximate_arrival_timestamp * 1e6) as i64);
                return Ok(Look::Record { arrived });
            }
            let Some(next) = got.content.next_shard_iterator else { return Ok(Look::Ended) };
            if got.content.millis_behind_latest == Some(0) {
                return Ok(Look::Nothing { at: got.at });
            }
            at = next;
            tokio::time::sleep(PAUSE).await;
        }
        let problem = format!("shard {shard}: {EMPTY_ANSWERS} empty answers, and it says that there is more");
        Err(self.failed(operation, problem.into()))
    }

    async fn given_up(&self) -> Result<Vec<GivenUpRange>> {
        match &self.failures {
            Some(failures) => failures.of(&self.arn).await,
            None => Ok(Vec::new()),
        }
    }

    fn held_back(&self) -> Option<Duration> {
        self.held_back
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
