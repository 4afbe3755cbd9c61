//! A Kinesis stream as close asks it: shards, and when the first record after a position arrived.
//! Times are the service's: of its answers' `Date`, and of arrivals.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use weir::Result;
use weir::clock::EpochMicros;
use weir::close::{GivenUpRange, Look, Shards, Stream, StreamShard};
use weir::record::SequenceNumber;

use super::caller::{Caller, Refused};
use super::failures::Failures;
use crate::context::AwsSettings;
use crate::kinesis;

/// Pauses between empty answers: a shard answers five reads a second, one of which is the mapping's.
const PAUSE: Duration = Duration::from_millis(400);
/// Empty answers in a row that are read past. Each covers minutes of a shard without records.
const EMPTY_ANSWERS: u32 = 100;

/// A stream.
pub struct KinesisStream {
    caller: Caller,
    key: String,
    held_back: Option<Duration>,
    failures: Option<Arc<Failures>>,
}

impl KinesisStream {
    /// The stream of that ARN, whose key in the lake is `key`.
    ///
    /// # Errors
    /// The ARN names no region.
    pub fn new(aws: AwsSettings, arn: &str, key: String) -> Result<Self> {
        let caller = Caller::new(aws, arn)?;
        Ok(Self { caller, key, held_back: None, failures: None })
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

    fn stream(&self) -> Value {
        json!({"StreamARN": self.caller.arn, "StreamName": kinesis::name(&self.caller.arn)})
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
            let page = self
                .caller
                .call::<ListedShards>(operation, body)
                .await
                .map_err(|e| self.caller.told(operation, e))?;
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
        let mut at = match self.caller.call::<Iterator>(operation, body).await {
            Ok(answer) => answer.content.shard_iterator,
            // Its records are all past their retention.
            Err(Refused::Said(kind, _)) if kind == "ResourceNotFoundException" => return Ok(Look::Ended),
            Err(refused) => return Err(self.caller.told(operation, refused)),
        };
        let operation = "GetRecords";
        for _ in 0..EMPTY_ANSWERS {
            let body = json!({"ShardIterator": at, "Limit": 1, "StreamARN": self.caller.arn});
            let got = self
                .caller
                .call::<Records>(operation, body)
                .await
                .map_err(|e| self.caller.told(operation, e))?;
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
        Err(self.caller.failed(operation, problem.into()))
    }

    async fn given_up(&self) -> Result<Vec<GivenUpRange>> {
        match &self.failures {
            Some(failures) => failures.of(&self.caller.arn).await,
            None => Ok(Vec::new()),
        }
    }

    fn held_back(&self) -> Option<Duration> {
        self.held_back
    }
}
