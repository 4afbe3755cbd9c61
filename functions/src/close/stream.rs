//! A Kinesis stream as close asks it: shards, and when the first record after a position arrived.
//! Times are the service's: of its answers' `Date`, and of arrivals.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use weir::Result;
use weir::clock::EpochMicros;
use weir::close::{GivenUpRange, Look, Shards, Stream, StreamShard};
use weir::record::SequenceNumber;

use super::caller::{Answer, Caller, Refused};
use super::failures::Failures;
use crate::context::AwsSettings;
use crate::kinesis;

/// Pauses between empty answers: a shard answers five reads a second, one of which is the mapping's.
const PAUSE: Duration = Duration::from_millis(400);
/// How long a place is good for: an iterator expires after five minutes (API of GetShardIterator).
const PLACE_GOOD: Duration = Duration::from_secs(270);
/// What the service says of an iterator that it does not take.
const STALE: [&str; 3] =
    ["ExpiredIteratorException", "InvalidArgumentException", "ResourceNotFoundException"];
/// Empty answers in a row that are read past. Each covers minutes of a shard without records.
const EMPTY_ANSWERS: u32 = 100;

/// A stream.
pub struct KinesisStream {
    caller: Caller,
    key: String,
    held_back: Option<Duration>,
    failures: Option<Arc<Failures>>,
    /// By shard, where the last look ended: a warm process asks an idle shard with one call.
    places: Mutex<HashMap<String, Place>>,
}

/// Between `after` and what `iterator` stands at, the shard has no record.
struct Place {
    after: Option<SequenceNumber>,
    iterator: String,
    kept_at: Instant,
}

impl KinesisStream {
    /// The stream of that ARN, whose key in the lake is `key`.
    ///
    /// # Errors
    /// The ARN names no region.
    pub fn new(aws: AwsSettings, arn: &str, key: String) -> Result<Self> {
        let caller = Caller::new(aws, arn)?;
        Ok(Self { caller, key, held_back: None, failures: None, places: Mutex::default() })
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

    /// None if the shard is gone: its records are all past their retention.
    async fn iterator(&self, shard: &str, after: Option<SequenceNumber>) -> Result<Option<String>> {
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
        match self.caller.call::<Iterator>(operation, body).await {
            Ok(answer) => Ok(Some(answer.content.shard_iterator)),
            Err(Refused::Said(kind, _)) if kind == "ResourceNotFoundException" => Ok(None),
            Err(refused) => Err(self.caller.told(operation, refused)),
        }
    }

    async fn records(&self, iterator: &str) -> Result<Answer<Records>, Refused> {
        let body = json!({"ShardIterator": iterator, "Limit": 1, "StreamARN": self.caller.arn});
        self.caller.call("GetRecords", body).await
    }

    /// Takes the place out; what is seen there is put back.
    fn take_place(&self, shard: &str, after: Option<SequenceNumber>) -> Option<String> {
        let place = self.places.lock().unwrap_or_else(PoisonError::into_inner).remove(shard)?;
        (place.after == after && place.kept_at.elapsed() < PLACE_GOOD).then_some(place.iterator)
    }

    fn keep_place(&self, shard: &str, after: Option<SequenceNumber>, iterator: String) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.insert(shard.to_owned(), Place { after, iterator, kept_at: Instant::now() });
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
        let kept = match self.take_place(shard, after) {
            Some(at) => match self.records(&at).await {
                Ok(got) => Some((at, got)),
                // Asked for again: it expired, or the stream was made again.
                Err(Refused::Said(kind, _)) if STALE.contains(&kind.as_str()) => None,
                Err(refused) => return Err(self.caller.told("GetRecords", refused)),
            },
            None => None,
        };
        let (mut at, mut got) = match kept {
            Some(place) => place,
            None => {
                let Some(at) = self.iterator(shard, after).await? else { return Ok(Look::Ended) };
                let got = self.records(&at).await.map_err(|e| self.caller.told("GetRecords", e))?;
                (at, got)
            }
        };
        for _ in 0..EMPTY_ANSWERS {
            if let Some(record) = got.content.records.first() {
                let arrived = EpochMicros((record.approximate_arrival_timestamp * 1e6) as i64);
                self.keep_place(shard, after, at);
                return Ok(Look::Record { arrived });
            }
            let Some(next) = got.content.next_shard_iterator else { return Ok(Look::Ended) };
            at = next;
            if got.content.millis_behind_latest == Some(0) {
                self.keep_place(shard, after, at);
                return Ok(Look::Nothing { at: got.at });
            }
            tokio::time::sleep(PAUSE).await;
            got = self.records(&at).await.map_err(|e| self.caller.told("GetRecords", e))?;
        }
        let problem = format!("shard {shard}: {EMPTY_ANSWERS} empty answers, and it says that there is more");
        Err(self.caller.failed("GetRecords", problem.into()))
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

#[cfg(test)]
mod tests {
    use super::super::scripted::{self, Scripted, at};
    use super::*;

    const ARN: &str = "arn:aws:kinesis:eu-west-1:1:stream/clicks";

    fn records(second: Option<i64>, next: Option<&str>, behind: u64) -> Value {
        let records: Vec<_> =
            second.iter().map(|s| json!({"ApproximateArrivalTimestamp": 1_795_258_800 + s})).collect();
        json!({"Records": records, "NextShardIterator": next, "MillisBehindLatest": behind})
    }

    /// What is asked, and what comes of it, of one shard after these positions in turn.
    async fn look(answers: Vec<Scripted>, after: &[u128]) -> (Vec<Look>, Vec<(String, Value)>) {
        let (endpoint, serving) = scripted::serve(answers, "/eu-west-1/kinesis/");
        let aws = scripted::settings("AWS_ENDPOINT_URL_KINESIS", endpoint);
        let stream = KinesisStream::new(aws, ARN, "clicks-1".to_owned()).unwrap();
        let mut looks = Vec::new();
        for number in after {
            let number = SequenceNumber::parse(number.to_string().as_bytes()).unwrap();
            looks.push(stream.first_after("shardId-000000000000", Some(number)).await.unwrap());
        }
        (looks, serving.join().unwrap())
    }

    #[tokio::test]
    async fn an_idle_shard_is_asked_again_with_one_call() {
        let iterator = |name: &str| json!({"ShardIterator": name});
        let (looks, asked) = look(
            vec![
                (0, 200, iterator("a")),
                (1, 200, records(None, Some("b"), 60_000)),
                (2, 200, records(None, Some("c"), 0)),
                (60, 200, records(None, Some("d"), 0)),
                (120, 200, records(Some(119), Some("e"), 0)),
                (180, 200, records(Some(119), Some("e"), 0)),
                // Its record was committed: another position.
                (240, 200, iterator("f")),
                (241, 200, records(None, Some("g"), 0)),
            ],
            &[7, 7, 7, 7, 8],
        )
        .await;
        let nothing = |second| Look::Nothing { at: at(second) };
        let record = Look::Record { arrived: at(119) };
        assert_eq!(looks, [nothing(2), nothing(60), record, record, nothing(241)]);
        let used: Vec<_> = asked.iter().filter_map(|(_, body)| body["ShardIterator"].as_str()).collect();
        assert_eq!(used, ["a", "b", "c", "d", "d", "f"], "a record is seen again from where it was seen");
    }

    #[tokio::test]
    async fn an_iterator_that_expired_is_asked_for_again() {
        let iterator = |name: &str| json!({"ShardIterator": name});
        let expired = json!({"__type": "ExpiredIteratorException", "message": "5 minutes"});
        let (looks, asked) = look(
            vec![
                (0, 200, iterator("a")),
                (1, 200, records(None, Some("b"), 0)),
                (400, 400, expired),
                (400, 200, iterator("c")),
                (401, 200, records(None, None, 0)),
            ],
            &[7, 7],
        )
        .await;
        assert_eq!(looks, [Look::Nothing { at: at(1) }, Look::Ended]);
        assert_eq!(asked[3].1["StartingSequenceNumber"], "7");
    }
}
