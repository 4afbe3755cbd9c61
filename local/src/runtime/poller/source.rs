//! The stream that a mapping reads: Kinesis by its name, or DynamoDB by its ARN.

use bytes::Bytes;
use weir::clock::EpochMicros;

use super::dynamodb::{DynamoDb, is_dynamodb_stream};
use super::envelope::{Names, record_json};
use super::kinesis::{CallFailed, From, GotRecord, GotRecords, Kinesis, ShardInfo, StreamSummary, client};

/// A client of one stream.
#[derive(Debug)]
pub(super) struct Source {
    stream: String,
    service: Service,
}

#[derive(Debug)]
enum Service {
    Kinesis(Kinesis),
    DynamoDb(DynamoDb),
}

impl Source {
    pub(super) fn new(endpoint: &str, stream: &str) -> Result<Self, CallFailed> {
        let service = if is_dynamodb_stream(stream) {
            Service::DynamoDb(DynamoDb::new(client()?, endpoint, stream))
        } else {
            Service::Kinesis(Kinesis::new(endpoint)?)
        };
        Ok(Self { stream: stream.to_owned(), service })
    }

    pub(super) async fn describe(&self) -> Result<StreamSummary, CallFailed> {
        match &self.service {
            Service::Kinesis(kinesis) => kinesis.describe(&self.stream).await,
            Service::DynamoDb(dynamodb) => dynamodb.describe(&self.stream).await,
        }
    }

    pub(super) async fn list_shards(&self) -> Result<Vec<ShardInfo>, CallFailed> {
        match &self.service {
            Service::Kinesis(kinesis) => kinesis.list_shards(&self.stream).await,
            Service::DynamoDb(dynamodb) => dynamodb.list_shards(&self.stream).await,
        }
    }

    pub(super) async fn iterator(&self, shard: &str, from: &From) -> Result<String, CallFailed> {
        match &self.service {
            Service::Kinesis(kinesis) => kinesis.iterator(&self.stream, shard, from).await,
            Service::DynamoDb(dynamodb) => dynamodb.iterator(&self.stream, shard, from).await,
        }
    }

    pub(super) async fn get_records(&self, iterator: &str, limit: usize) -> Result<GotRecords, CallFailed> {
        match &self.service {
            Service::Kinesis(kinesis) => kinesis.get_records(iterator, limit).await,
            Service::DynamoDb(dynamodb) => dynamodb.get_records(&self.stream, iterator, limit).await,
        }
    }

    /// The element of an event's `Records` for a record of a shard.
    pub(super) fn record_json(
        &self,
        names: &Names,
        shard: &str,
        record: &GotRecord,
        arrived_at: EpochMicros,
    ) -> Bytes {
        match &self.service {
            Service::Kinesis(_) => record_json(
                names,
                shard,
                &record.sequence_number,
                &record.partition_key,
                &record.data,
                arrived_at,
            ),
            Service::DynamoDb(_) => Bytes::copy_from_slice(record.data.as_bytes()),
        }
    }
}
