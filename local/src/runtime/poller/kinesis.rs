//! The few Kinesis calls that a reader makes, as plain JSON over HTTP. Without keys the signature is
//! a fixed text: the embedded endpoint wants its form and does not check it.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use weir::clock::EpochMicros;

use super::signature::Keys;

const TARGET: &str = "Kinesis_20131202";
const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=local/20200101/us-east-1/kinesis/aws4_request, \
    SignedHeaders=host, Signature=0000000000000000000000000000000000000000000000000000000000000000";

/// A call that the endpoint did not answer with a result.
#[derive(Debug, Clone)]
pub struct CallFailed {
    /// Which call.
    pub operation: &'static str,
    /// The service's error type (`ExpiredIteratorException`), or empty if it was not reached.
    pub kind: String,
    /// What it said.
    pub message: String,
}

impl std::fmt::Display for CallFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "could not {}: {} {}", self.operation, self.kind, self.message)
    }
}

impl std::error::Error for CallFailed {}

/// A Kinesis endpoint.
#[derive(Debug, Clone)]
pub struct Kinesis {
    http: reqwest::Client,
    url: String,
    keys: Option<Keys>,
}

/// A stream as it describes itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct StreamSummary {
    /// ARN.
    #[serde(rename = "StreamARN")]
    pub stream_arn: String,
    /// `ACTIVE`, `CREATING`, …
    pub stream_status: String,
    /// Seconds since the epoch; tells two streams of one name apart.
    pub stream_creation_timestamp: f64,
}

/// A shard as `ListShards` names it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ShardInfo {
    /// Id.
    pub shard_id: String,
    /// The shard it was split or merged from.
    #[serde(default)]
    pub parent_shard_id: Option<String>,
    /// The other one of a merge.
    #[serde(default)]
    pub adjacent_parent_shard_id: Option<String>,
    /// Hash keys it takes.
    pub hash_key_range: HashKeyRange,
    /// Sequence numbers it has.
    pub sequence_number_range: SequenceNumberRange,
}

/// Hash keys of a shard, both ends included.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HashKeyRange {
    /// First.
    pub starting_hash_key: String,
    /// Last.
    pub ending_hash_key: String,
}

/// Sequence numbers of a shard.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SequenceNumberRange {
    /// Last one, once the shard is closed.
    #[serde(default)]
    pub ending_sequence_number: Option<String>,
}

impl ShardInfo {
    /// The shards that must be read to their end before this one.
    pub fn parents(&self) -> impl Iterator<Item = &str> {
        self.parent_shard_id.iter().chain(&self.adjacent_parent_shard_id).map(String::as_str)
    }
    /// Whether it takes no more records.
    pub fn is_closed(&self) -> bool {
        self.sequence_number_range.ending_sequence_number.is_some()
    }
}

/// Where an iterator begins.
#[derive(Debug, Clone, PartialEq)]
pub enum From {
    /// The oldest record kept.
    TrimHorizon,
    /// What comes after now.
    Latest,
    /// The first record that arrived then or later.
    AtTimestamp(EpochMicros),
    /// This record.
    At(String),
    /// The record after this one.
    After(String),
}

/// Records of one `GetRecords`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GotRecords {
    /// In shard order.
    pub records: Vec<GotRecord>,
    /// Absent at the end of a closed shard.
    #[serde(default)]
    pub next_shard_iterator: Option<String>,
    /// How far behind the newest record this answer is.
    #[serde(default)]
    pub millis_behind_latest: u64,
}

/// One record.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GotRecord {
    /// Position.
    pub sequence_number: String,
    /// Partition key.
    pub partition_key: String,
    /// Base64.
    pub data: String,
    /// Seconds since the epoch.
    pub approximate_arrival_timestamp: f64,
}

impl Kinesis {
    /// A client of the endpoint at `url`.
    pub fn new(url: &str) -> Result<Self, CallFailed> {
        let http = client()?;
        Ok(Self { http, url: url.trim_end_matches('/').to_owned(), keys: None })
    }

    /// The same, with requests signed by these keys.
    pub fn signed(mut self, keys: Keys) -> Self {
        self.keys = Some(keys);
        self
    }

    /// One call: `operation` is the API's name, its answer may be empty.
    pub async fn call(&self, operation: &'static str, body: &Value) -> Result<Vec<u8>, CallFailed> {
        let body = body.to_string();
        let headers = self.headers(operation, &body);
        let headers = headers.map_err(|message| CallFailed {
            operation,
            kind: "cannot be signed:".to_owned(),
            message,
        })?;
        let request = self.http.post(format!("{}/", self.url)).headers(headers).body(body);
        post(operation, request).await
    }

    fn headers(&self, operation: &str, body: &str) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/x-amz-json-1.1"));
        let target = HeaderValue::try_from(format!("{TARGET}.{operation}")).map_err(|e| e.to_string())?;
        headers.insert("x-amz-target", target);
        if let Some(keys) = &self.keys {
            return keys.sign("kinesis", &self.url, headers, body);
        }
        headers.insert("x-amz-date", HeaderValue::from_static("20200101T000000Z"));
        headers.insert("authorization", HeaderValue::from_static(AUTHORIZATION));
        Ok(headers)
    }

    async fn ask<T: DeserializeOwned>(&self, operation: &'static str, body: &Value) -> Result<T, CallFailed> {
        let bytes = self.call(operation, body).await?;
        serde_json::from_slice(&bytes).map_err(|e| CallFailed::unreached(operation, &e))
    }

    /// What the stream says of itself.
    pub async fn describe(&self, stream: &str) -> Result<StreamSummary, CallFailed> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            stream_description_summary: StreamSummary,
        }
        let body = json!({"StreamName": stream});
        Ok(self.ask::<Answer>("DescribeStreamSummary", &body).await?.stream_description_summary)
    }

    /// All shards, closed ones included.
    pub async fn list_shards(&self, stream: &str) -> Result<Vec<ShardInfo>, CallFailed> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            shards: Vec<ShardInfo>,
            #[serde(default)]
            next_token: Option<String>,
        }
        let mut shards: Vec<ShardInfo> = Vec::new();
        let mut body = json!({"StreamName": stream, "MaxResults": 1_000});
        loop {
            let answer: Answer = self.ask("ListShards", &body).await?;
            shards.extend(answer.shards);
            let Some(token) = answer.next_token else { return Ok(shards) };
            body = json!({"NextToken": token, "MaxResults": 1_000});
            // The embedded endpoint's token is the last shard's id, and it takes no token alone.
            if self.is_local_token(&token) {
                body = json!({"StreamName": stream, "ExclusiveStartShardId": token, "MaxResults": 1_000});
            }
        }
    }

    fn is_local_token(&self, token: &str) -> bool {
        token.starts_with("shardId-")
    }

    /// An iterator.
    pub async fn iterator(&self, stream: &str, shard: &str, from: &From) -> Result<String, CallFailed> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            shard_iterator: String,
        }
        let mut body = json!({"StreamName": stream, "ShardId": shard});
        match from {
            From::TrimHorizon => body["ShardIteratorType"] = json!("TRIM_HORIZON"),
            From::Latest => body["ShardIteratorType"] = json!("LATEST"),
            From::AtTimestamp(at) => {
                body["ShardIteratorType"] = json!("AT_TIMESTAMP");
                body["Timestamp"] = json!(at.millis() as f64 / 1_000.0);
            }
            From::At(sequence) => {
                body["ShardIteratorType"] = json!("AT_SEQUENCE_NUMBER");
                body["StartingSequenceNumber"] = json!(sequence);
            }
            From::After(sequence) => {
                body["ShardIteratorType"] = json!("AFTER_SEQUENCE_NUMBER");
                body["StartingSequenceNumber"] = json!(sequence);
            }
        }
        Ok(self.ask::<Answer>("GetShardIterator", &body).await?.shard_iterator)
    }

    /// The next records.
    pub async fn get_records(&self, iterator: &str, limit: usize) -> Result<GotRecords, CallFailed> {
        self.ask("GetRecords", &json!({"ShardIterator": iterator, "Limit": limit})).await
    }
}

/// A client of an endpoint on this machine.
pub fn client() -> Result<reqwest::Client, CallFailed> {
    let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).no_proxy().build();
    http.map_err(|e| CallFailed::unreached("open a client", &e))
}

/// The body of a result, or the service's error.
pub(super) async fn post(
    operation: &'static str,
    request: reqwest::RequestBuilder,
) -> Result<Vec<u8>, CallFailed> {
    let response = request.send().await.map_err(|e| CallFailed::unreached(operation, &e))?;
    let status = response.status();
    let bytes = response.bytes().await.map_err(|e| CallFailed::unreached(operation, &e))?;
    if status.is_success() {
        return Ok(bytes.to_vec());
    }
    let error: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let text = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let kind = text("__type").rsplit('#').next().unwrap_or_default().to_owned();
    let kind = if kind.is_empty() { status.to_string() } else { kind };
    Err(CallFailed { operation, kind, message: text("message") })
}

impl CallFailed {
    pub(super) fn unreached(operation: &'static str, error: &dyn std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        Self { operation, kind: String::new(), message }
    }
}
