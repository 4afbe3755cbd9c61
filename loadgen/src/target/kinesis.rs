//! A Kinesis stream, by PutRecords.

use anyhow::{Context, Result};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;

use super::settings::AwsArgs;
use super::{Answer, Limits, PutFailure, Record, chain};

/// 500 records and 5 MiB a request, 1 MiB a record with its key: what streams take that were not set
/// up for more.
pub(super) const LIMITS: Limits = Limits { records: 500, bytes: 5 << 20, record_bytes: 1_000_000, frame: 0 };

/// An open stream.
#[derive(Debug)]
pub struct Kinesis {
    client: Client,
    stream: String,
}

impl Kinesis {
    pub(super) async fn open(stream: &str, aws: &AwsArgs) -> Result<Self> {
        let mut config = aws_sdk_kinesis::Config::builder()
            .behavior_version(aws_sdk_kinesis::config::BehaviorVersion::latest())
            .http_client(super::http::client()?)
            .region(aws_sdk_kinesis::config::Region::new(aws.region().to_owned()))
            .credentials_provider(aws.credentials()?)
            .retry_config(aws_sdk_kinesis::config::retry::RetryConfig::disabled())
            .timeout_config(aws_sdk_kinesis::config::timeout::TimeoutConfig::disabled())
            // A target that is slow is what is measured: the HTTP client alone decides when it is too slow.
            .stalled_stream_protection(aws_sdk_kinesis::config::StalledStreamProtectionConfig::disabled());
        config.set_endpoint_url(aws.endpoint().map(str::to_owned));
        let opened = Self { client: Client::from_conf(config.build()), stream: stream.to_owned() };
        opened.shards().await?;
        Ok(opened)
    }

    /// Open shards of the stream.
    async fn shards(&self) -> Result<i32> {
        let asked = self.client.describe_stream_summary().stream_name(&self.stream).send().await;
        let answer = asked.map_err(|e| anyhow::anyhow!(chain(&e))).with_context(|| {
            format!("could not reach stream {}; give --stream, --region and --endpoint", self.stream)
        })?;
        Ok(answer.stream_description_summary().map_or(0, |s| s.open_shard_count()))
    }

    pub(super) async fn put(&self, records: &[Record]) -> Result<Vec<Answer>, PutFailure> {
        let entries = records.iter().map(|record| {
            let entry = PutRecordsRequestEntry::builder();
            entry.partition_key(&record.key).data(Blob::new(record.data.clone())).build()
        });
        let entries: Result<Vec<_>, _> = entries.collect();
        let entries = entries.map_err(|e| PutFailure::unmade(&e))?;
        let put = self.client.put_records().stream_name(&self.stream).set_records(Some(entries));
        let answer = put.send().await.map_err(PutFailure::of)?;
        Ok(answer
            .records()
            .iter()
            .map(|record| match record.error_code() {
                None => Answer::Stored,
                Some("ProvisionedThroughputExceededException") => Answer::Throttled,
                Some(code) => Answer::Failed(code.to_owned()),
            })
            .collect())
    }
}
