//! The few calls that a reader of a DynamoDB stream makes, as plain JSON over HTTP, in the terms of
//! the Kinesis reader. Without keys the signature is a fixed text: stand-ins on this machine want its
//! form and do not check it.
//!
//! What differs: an answer does not say how far behind it is, so that an empty one counts as caught
//! up; there is no iterator by time; a shard ends after some four hours and has children.

use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::header::{HeaderMap, HeaderValue};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::kinesis::{
    CallFailed, From, GotRecord, GotRecords, HashKeyRange, SequenceNumberRange, ShardInfo, StreamSummary,
    post,
};
use super::signature::Keys;

const TARGET: &str = "DynamoDBStreams_20120810";
/// Most records of one answer (quota of the service).
const MAX_LIMIT: usize = 1_000;
/// Shards of one answer (the same).
const SHARDS_A_PAGE: usize = 100;

/// Whether a stream's name is the ARN of a DynamoDB stream.
pub fn is_dynamodb_stream(stream: &str) -> bool {
    stream.starts_with("arn:") && stream.split(':').nth(2) == Some("dynamodb") && stream.contains("/stream/")
}

/// An endpoint of DynamoDB streams.
#[derive(Debug)]
pub struct DynamoDb {
    http: reqwest::Client,
    url: String,
    authorization: String,
    keys: Option<Keys>,
    /// Digits of a sequence number, where the endpoint writes leading zeros and wants them back.
    padded_to: AtomicUsize,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    stream_description: Description,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Description {
    stream_arn: String,
    stream_status: String,
    /// Absent from some stand-ins; the ARN says it, too.
    #[serde(default)]
    creation_request_date_time: f64,
    shards: Vec<Shard>,
    last_evaluated_shard_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Shard {
    shard_id: String,
    parent_shard_id: Option<String>,
    sequence_number_range: Option<Range>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Range {
    starting_sequence_number: Option<String>,
    ending_sequence_number: Option<String>,
}

impl DynamoDb {
    /// A client of the endpoint at `url` for a stream.
    pub fn new(http: reqwest::Client, url: &str, stream: &str) -> Self {
        let region = stream.split(':').nth(3).filter(|region| !region.is_empty()).unwrap_or("us-east-1");
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=local/20200101/{region}/dynamodb/aws4_request, SignedHeaders=host, \
             Signature={}",
            "0".repeat(64)
        );
        Self { http, url: url.to_owned(), authorization, keys: None, padded_to: AtomicUsize::new(0) }
    }

    /// The same, with requests signed by these keys.
    pub fn signed(mut self, keys: Option<Keys>) -> Self {
        self.keys = keys;
        self
    }

    async fn ask<T: DeserializeOwned>(&self, operation: &'static str, body: &Value) -> Result<T, CallFailed> {
        let body = body.to_string();
        let failed = |message| CallFailed { operation, kind: "cannot be signed:".to_owned(), message };
        let headers = self.headers(operation, &body).map_err(failed)?;
        let url = format!("{}/", self.url.trim_end_matches('/'));
        let bytes = post(operation, self.http.post(url).headers(headers).body(body)).await?;
        serde_json::from_slice(&bytes).map_err(|e| CallFailed::unreached(operation, &e))
    }

    fn headers(&self, operation: &str, body: &str) -> Result<HeaderMap, String> {
        let text = |text: &str| HeaderValue::try_from(text).map_err(|e| e.to_string());
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/x-amz-json-1.0"));
        headers.insert("x-amz-target", text(&format!("{TARGET}.{operation}"))?);
        if let Some(keys) = &self.keys {
            return keys.sign("dynamodb", self.url.trim_end_matches('/'), headers, body);
        }
        headers.insert("x-amz-date", HeaderValue::from_static("20200101T000000Z"));
        headers.insert("authorization", text(&self.authorization)?);
        Ok(headers)
    }

    /// What the stream says of itself.
    pub async fn describe(&self, stream: &str) -> Result<StreamSummary, CallFailed> {
        let body = json!({"StreamArn": stream, "Limit": 1});
        let Described { stream_description: found } = self.ask("DescribeStream", &body).await?;
        Ok(StreamSummary {
            stream_arn: found.stream_arn,
            stream_status: found.stream_status,
            // Never 0, which stands for a stream that was not met before.
            stream_creation_timestamp: found.creation_request_date_time.max(1.0),
        })
    }

    /// All shards, closed ones included.
    pub async fn list_shards(&self, stream: &str) -> Result<Vec<ShardInfo>, CallFailed> {
        let mut shards = Vec::new();
        let mut body = json!({"StreamArn": stream, "Limit": SHARDS_A_PAGE});
        loop {
            let Described { stream_description: page } = self.ask("DescribeStream", &body).await?;
            shards.extend(page.shards.into_iter().map(|shard| self.shard(shard)));
            let Some(last) = page.last_evaluated_shard_id else { return Ok(shards) };
            body["ExclusiveStartShardId"] = json!(last);
        }
    }

    fn shard(&self, shard: Shard) -> ShardInfo {
        let range = shard.sequence_number_range;
        let (starting, ending) =
            range.map_or((None, None), |r| (r.starting_sequence_number, r.ending_sequence_number));
        if let Some(starting) = starting.filter(|number| number.len() > 1 && number.starts_with('0')) {
            self.padded_to.store(starting.len(), Ordering::Relaxed);
        }
        let all = || "0".to_owned();
        ShardInfo {
            shard_id: shard.shard_id,
            parent_shard_id: shard.parent_shard_id,
            adjacent_parent_shard_id: None,
            hash_key_range: HashKeyRange { starting_hash_key: all(), ending_hash_key: all() },
            sequence_number_range: SequenceNumberRange { ending_sequence_number: ending },
        }
    }

    /// An iterator. There is none by time: who wants one reads from the oldest record and passes over
    /// what came before.
    pub async fn iterator(&self, stream: &str, shard: &str, from: &From) -> Result<String, CallFailed> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            shard_iterator: String,
        }
        let mut body = json!({"StreamArn": stream, "ShardId": shard});
        match from {
            From::TrimHorizon | From::AtTimestamp(_) => body["ShardIteratorType"] = json!("TRIM_HORIZON"),
            From::Latest => body["ShardIteratorType"] = json!("LATEST"),
            From::At(sequence) | From::After(sequence) => {
                let width = self.padded_to.load(Ordering::Relaxed);
                let from_it = matches!(from, From::At(_));
                let kind = if from_it { "AT_SEQUENCE_NUMBER" } else { "AFTER_SEQUENCE_NUMBER" };
                body["ShardIteratorType"] = json!(kind);
                body["SequenceNumber"] = json!(format!("{sequence:0>width$}"));
            }
        }
        let answer = match self.ask::<Answer>("GetShardIterator", &body).await {
            // All that is left was written later than the position.
            Err(failed) if failed.kind == "TrimmedDataAccessException" => {
                let body =
                    json!({"StreamArn": stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"});
                self.ask::<Answer>("GetShardIterator", &body).await?
            }
            answer => answer?,
        };
        Ok(answer.shard_iterator)
    }

    /// The next records; the data of each is the element of an event's `Records`.
    pub async fn get_records(
        &self,
        stream: &str,
        iterator: &str,
        limit: usize,
    ) -> Result<GotRecords, CallFailed> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            records: Vec<Map<String, Value>>,
            next_shard_iterator: Option<String>,
        }
        let body = json!({"ShardIterator": iterator, "Limit": limit.min(MAX_LIMIT)});
        let answer: Answer = self.ask("GetRecords", &body).await?;
        let records: Option<Vec<_>> = answer.records.into_iter().map(|record| got(stream, record)).collect();
        let broken = || CallFailed {
            operation: "GetRecords",
            kind: String::new(),
            message: "a record without dynamodb.SequenceNumber or its time".to_owned(),
        };
        let records = records.ok_or_else(broken)?;
        let millis_behind_latest = u64::from(!records.is_empty());
        Ok(GotRecords { records, next_shard_iterator: answer.next_shard_iterator, millis_behind_latest })
    }
}

/// A record of the API as a mapping hands it on.
fn got(stream: &str, mut record: Map<String, Value>) -> Option<GotRecord> {
    let images = record.get("dynamodb")?;
    let sequence_number = images.get("SequenceNumber")?.as_str()?.to_owned();
    let approximate_arrival_timestamp = images.get("ApproximateCreationDateTime")?.as_f64()?;
    let partition_key = images.get("Keys").map(Value::to_string).unwrap_or_default();
    if let Some(Value::Object(identity)) = record.get_mut("userIdentity") {
        let renamed = identity.iter().map(|(key, value)| {
            let lower = key[..1].to_lowercase() + &key[1..];
            (lower, value.clone())
        });
        *identity = renamed.collect();
    }
    record.insert("eventSourceARN".to_owned(), json!(stream));
    let data = Value::Object(record).to_string();
    Some(GotRecord { sequence_number, partition_key, data, approximate_arrival_timestamp })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_of_dynamodb_is_known_by_its_arn() {
        for (stream, expected) in [
            ("arn:aws:dynamodb:us-east-1:1:table/orders/stream/2026-11-20T00:00:00.000", true),
            ("arn:aws:dynamodb:us-east-1:1:table/orders", false),
            ("arn:aws:kinesis:us-east-1:1:stream/orders", false),
            ("orders/stream/x", false),
        ] {
            assert_eq!(is_dynamodb_stream(stream), expected, "{stream}");
        }
    }

    #[test]
    fn a_record_is_handed_on_as_an_event_has_it() {
        let record = json!({
            "eventName": "REMOVE", "userIdentity": {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"},
            "dynamodb": {"SequenceNumber": "007", "ApproximateCreationDateTime": 1_480_642_020,
                         "Keys": {"id": {"N": "1"}}},
        });
        let Value::Object(map) = record.clone() else { unreachable!() };
        let got = got("arn", map).unwrap();
        assert_eq!(
            (got.sequence_number.as_str(), got.approximate_arrival_timestamp),
            ("007", 1_480_642_020.0)
        );
        let mut expected = record;
        expected["userIdentity"] = json!({"principalId": "dynamodb.amazonaws.com", "type": "Service"});
        expected["eventSourceARN"] = json!("arn");
        assert_eq!(serde_json::from_str::<Value>(&got.data).unwrap(), expected);
        assert!(super::got("arn", Map::new()).is_none());
    }
}
