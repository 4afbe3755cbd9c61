//! A DynamoDB stream as close asks it. An answer does not say how far behind it is, so a shard is idle
//! only by the rule of [`Idleness`]; arrivals are whole seconds.
//!
//! An event names its shard only where the mapping has a tumbling window. Without one all shards share
//! a chain whose largest number proves nothing of the others: then the stream is one shard without an
//! end, of which all counts as committed that is older than the mapping may hold a record back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use weir::Result;
use weir::clock::EpochMicros;
use weir::close::{GivenUpRange, Idleness, Look, Shards, Stream, StreamShard};
use weir::event::ALL_SHARDS;
use weir::record::SequenceNumber;

use super::caller::{Answer, Caller, Refused};
use super::failures::Failures;
use crate::context::AwsSettings;

/// Between empty answers: five of them take the ten seconds that count as idle.
const PAUSE: Duration = Duration::from_millis(2_600);
/// Answers without a record, and iterators that expire, before a shard is left for the next run.
const ANSWERS: u32 = 20;
/// Shards of one answer (quota of the service).
const SHARDS_A_PAGE: usize = 100;
/// Times are whole seconds, and a list of shards may be some seconds old.
const LEAST_LATENESS: Duration = Duration::from_secs(60);

/// A stream.
pub struct DynamoDbStream {
    caller: Caller,
    key: String,
    /// For a mapping without a tumbling window.
    held_back: Option<Duration>,
    failures: Option<Arc<Failures>>,
    pause: Duration,
    /// Digits of a sequence number, where the endpoint writes leading zeros and wants them back.
    padded_to: AtomicUsize,
}

impl DynamoDbStream {
    /// The stream of that ARN, whose key in the lake is `key`.
    ///
    /// # Errors
    /// The ARN names no region.
    pub fn new(aws: AwsSettings, arn: &str, key: String) -> Result<Self> {
        let caller = Caller::new(aws, arn)?;
        let padded_to = AtomicUsize::new(0);
        Ok(Self { caller, key, held_back: None, failures: None, pause: PAUSE, padded_to })
    }

    /// Of a mapping without a tumbling window: how long it may hold a record back.
    pub fn held_back(mut self, held_back: Option<Duration>) -> Self {
        self.held_back = held_back;
        self
    }

    /// Where the mapping puts what it gives up on.
    pub fn failures(mut self, failures: Option<Arc<Failures>>) -> Self {
        self.failures = failures;
        self
    }

    async fn describe(&self, after: Option<&str>, limit: usize) -> Result<Answer<Described>> {
        let operation = "DescribeStream";
        let mut body = json!({"StreamArn": self.caller.arn, "Limit": limit});
        if let Some(after) = after {
            body["ExclusiveStartShardId"] = json!(after);
        }
        self.caller.call(operation, body).await.map_err(|e| self.caller.told(operation, e))
    }

    /// None if the shard is gone: its records are all past their retention.
    async fn iterator(&self, shard: &str, after: Option<SequenceNumber>) -> Result<Option<String>> {
        let operation = "GetShardIterator";
        let oldest = json!({
            "StreamArn": self.caller.arn, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON",
        });
        let body = match after {
            None => oldest.clone(),
            Some(number) => {
                let width = self.padded_to.load(Ordering::Relaxed);
                let mut body = oldest.clone();
                body["ShardIteratorType"] = json!("AFTER_SEQUENCE_NUMBER");
                body["SequenceNumber"] = json!(format!("{number:0>width$}"));
                body
            }
        };
        let answer = match self.caller.call::<Iterator>(operation, body).await {
            // All that is left was written later than the position.
            Err(Refused::Said(kind, _)) if kind == "TrimmedDataAccessException" => {
                self.caller.call::<Iterator>(operation, oldest).await
            }
            answer => answer,
        };
        match answer {
            Ok(answer) => Ok(Some(answer.content.shard_iterator)),
            Err(Refused::Said(kind, _)) if kind == "ResourceNotFoundException" => Ok(None),
            Err(refused) => Err(self.caller.told(operation, refused)),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    stream_description: Description,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Description {
    shards: Vec<ListedShard>,
    #[serde(default)]
    last_evaluated_shard_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedShard {
    shard_id: String,
    #[serde(default)]
    sequence_number_range: Option<Range>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Range {
    #[serde(default)]
    starting_sequence_number: Option<String>,
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
}

#[derive(Deserialize)]
struct Record {
    dynamodb: Change,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Change {
    approximate_creation_date_time: f64,
}

#[async_trait]
impl Stream for DynamoDbStream {
    fn key(&self) -> &str {
        &self.key
    }

    async fn shards(&self) -> Result<Shards> {
        if self.held_back.is_some() {
            let at = self.describe(None, 1).await?.at;
            return Ok(Shards { at, shards: vec![StreamShard { id: ALL_SHARDS.to_owned(), closed: false }] });
        }
        let mut shards = Vec::new();
        let (mut first, mut after) = (None, None::<String>);
        loop {
            let page = self.describe(after.as_deref(), SHARDS_A_PAGE).await?;
            // A shard that is made while pages are read may be missing in those before.
            let at = *first.get_or_insert(page.at);
            for shard in page.content.stream_description.shards {
                let (starting, ending) = shard.sequence_number_range.map_or((None, None), |range| {
                    (range.starting_sequence_number, range.ending_sequence_number)
                });
                if let Some(padded) = starting.filter(|number| number.len() > 1 && number.starts_with('0')) {
                    self.padded_to.store(padded.len(), Ordering::Relaxed);
                }
                shards.push(StreamShard { id: shard.shard_id, closed: ending.is_some() });
            }
            after = page.content.stream_description.last_evaluated_shard_id;
            if after.is_none() {
                return Ok(Shards { at, shards });
            }
        }
    }

    async fn first_after(&self, shard: &str, after: Option<SequenceNumber>) -> Result<Look> {
        if shard == ALL_SHARDS {
            return Ok(Look::Nothing { at: self.describe(None, 1).await?.at });
        }
        let Some(mut at) = self.iterator(shard, after).await? else { return Ok(Look::Ended) };
        let operation = "GetRecords";
        let mut idle = Idleness::default();
        for _ in 0..ANSWERS {
            let body: Value = json!({"ShardIterator": at, "Limit": 1});
            let got = match self.caller.call::<Records>(operation, body).await {
                Ok(got) => got,
                Err(Refused::Said(kind, _)) if kind == "ExpiredIteratorException" => {
                    let Some(again) = self.iterator(shard, after).await? else { return Ok(Look::Ended) };
                    (at, idle) = (again, Idleness::default());
                    continue;
                }
                Err(refused) => return Err(self.caller.told(operation, refused)),
            };
            if let Some(record) = got.content.records.first() {
                let arrived = EpochMicros((record.dynamodb.approximate_creation_date_time * 1e6) as i64);
                return Ok(Look::Record { arrived });
            }
            let Some(next) = got.content.next_shard_iterator else { return Ok(Look::Ended) };
            if let Some(at) = idle.empty(got.at) {
                return Ok(Look::Nothing { at });
            }
            at = next;
            tokio::time::sleep(self.pause).await;
        }
        let problem = format!("shard {shard}: {ANSWERS} answers without a record prove nothing");
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

    fn least_lateness(&self) -> Duration {
        LEAST_LATENESS
    }
}

#[cfg(test)]
mod tests;
