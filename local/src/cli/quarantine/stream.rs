//! The positions of a batch that was given up → its records, as long as the stream has them.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::value::RawValue;

use weir::clock::EpochMicros;
use weir::event::Source;
use weir::record::SequenceNumber;
use weir::replay::failures::FailedBatch;

use crate::runtime::poller::dynamodb::DynamoDb;
use crate::runtime::poller::envelope::{Names, record_json};
use crate::runtime::poller::kinesis::{From, GotRecords, Kinesis, client};
use crate::runtime::poller::signature::Keys;

use super::super::lake::{is_here, kinesis, store_options};

/// Records asked of the stream at once.
const GET_RECORDS: usize = 5_000;
/// Empty answers of a DynamoDB stream in a row after which nothing more is awaited: it does not say
/// whether the reader is at the end. The pause between them is that of the mappings.
const EMPTY_ANSWERS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(250);

enum Service {
    Kinesis(Kinesis),
    DynamoDb(DynamoDb),
}

/// Reads a batch.
pub(super) struct BatchReader<'a> {
    batch: &'a FailedBatch,
    service: Service,
    names: Names,
    at: VecDeque<String>,
    empty: u32,
}

impl<'a> BatchReader<'a> {
    /// From the batch's first record on.
    pub(super) async fn open(endpoint: &str, batch: &'a FailedBatch) -> Result<Self> {
        let from = From::At(batch.first.to_string());
        let (service, at) = match batch.source {
            Source::Kinesis => {
                let (kinesis, stream) = (kinesis(endpoint)?, batch.stream());
                let found = kinesis.describe(stream).await;
                let found = found.with_context(|| format!("stream {stream} at {endpoint}"))?;
                if found.stream_arn != batch.stream_arn {
                    bail!(
                        "the stream at {endpoint} is {}, the batch is of {}",
                        found.stream_arn,
                        batch.stream_arn
                    );
                }
                let at = kinesis.iterator(stream, &batch.shard, &from).await?;
                (Service::Kinesis(kinesis), at)
            }
            Source::DynamoDb => {
                let keys = Keys::of(&store_options(), endpoint);
                if keys.is_none() && !is_here(endpoint) {
                    bail!(
                        "--endpoint {endpoint} wants signed requests: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                    );
                }
                let dynamodb = DynamoDb::new(client()?, endpoint, &batch.stream_arn).signed(keys);
                // It also learns how the stream writes its numbers.
                let shards = dynamodb.list_shards(&batch.stream_arn).await;
                shards.with_context(|| format!("stream {} at {endpoint}", batch.stream_arn))?;
                let at = dynamodb.iterator(&batch.stream_arn, &batch.shard, &from).await?;
                (Service::DynamoDb(dynamodb), at)
            }
        };
        let names = Names::new(&batch.stream_arn, "replay");
        Ok(Self { batch, service, names, at: VecDeque::from([at]), empty: 0 })
    }

    /// Elements of an event's `Records`; none behind the batch's last one. With several lanes a shard,
    /// records of other batches stand between them: they are committed, or soon would be.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Box<RawValue>>>> {
        let Some(at) = self.at.pop_front() else { return Ok(None) };
        let got = match &self.service {
            Service::Kinesis(kinesis) => kinesis.get_records(&at, GET_RECORDS).await?,
            Service::DynamoDb(dynamodb) => {
                dynamodb.get_records(&self.batch.stream_arn, &at, GET_RECORDS).await?
            }
        };
        let GotRecords { records: got, next_shard_iterator, millis_behind_latest } = got;
        self.empty = if got.is_empty() { self.empty + 1 } else { 0 };
        let mut passed = match &self.service {
            Service::Kinesis(_) => got.is_empty() && millis_behind_latest == 0,
            Service::DynamoDb(_) => self.empty >= EMPTY_ANSWERS,
        };
        if got.is_empty() && !passed {
            tokio::time::sleep(PAUSE).await;
        }
        let mut records = Vec::new();
        for record in got {
            let sequence: SequenceNumber = record.sequence_number.parse()?;
            passed |= sequence >= self.batch.last;
            if !(self.batch.first..=self.batch.last).contains(&sequence) {
                continue;
            }
            let text = match &self.service {
                Service::DynamoDb(_) => record.data,
                Service::Kinesis(_) => {
                    let arrived =
                        EpochMicros((record.approximate_arrival_timestamp * 1_000.0).round() as i64 * 1_000);
                    let (number, key) = (&record.sequence_number, &record.partition_key);
                    let shard = &self.batch.shard;
                    let text = record_json(&self.names, shard, number, key, &record.data, arrived);
                    String::from_utf8(text.to_vec())?
                }
            };
            records.push(RawValue::from_string(text)?);
        }
        self.at.extend(next_shard_iterator.filter(|_| !passed));
        Ok(Some(records))
    }
}
