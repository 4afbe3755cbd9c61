//! A Firehose delivery stream, by PutRecordBatch.

use anyhow::Result;
use aws_sdk_firehose::Client;
use aws_sdk_firehose::primitives::Blob;

use super::settings::AwsArgs;
use super::{Answer, Limits, PutFailure, Record};

/// 500 records and 4 MiB a request, 1,000 KiB a record.
pub(super) const LIMITS: Limits =
    Limits { records: 500, bytes: 4 << 20, record_bytes: 1_000 << 10, frame: 0 };

/// An open delivery stream.
#[derive(Debug)]
pub struct Firehose {
    client: Client,
    stream: String,
}

impl Firehose {
    pub(super) fn open(stream: &str, aws: &AwsArgs) -> Result<Self> {
        let mut config = aws_sdk_firehose::Config::builder()
            .behavior_version(aws_sdk_firehose::config::BehaviorVersion::latest())
            .http_client(super::http::client()?)
            .region(aws_sdk_firehose::config::Region::new(aws.region().to_owned()))
            .credentials_provider(aws.credentials()?)
            .retry_config(aws_sdk_firehose::config::retry::RetryConfig::disabled())
            .timeout_config(aws_sdk_firehose::config::timeout::TimeoutConfig::disabled())
            // A target that is slow is what is measured: the HTTP client alone decides when it is too slow.
            .stalled_stream_protection(aws_sdk_firehose::config::StalledStreamProtectionConfig::disabled());
        config.set_endpoint_url(aws.endpoint().map(str::to_owned));
        Ok(Self { client: Client::from_conf(config.build()), stream: stream.to_owned() })
    }

    pub(super) async fn put(&self, records: &[Record]) -> Result<Vec<Answer>, PutFailure> {
        let entries: Result<Vec<_>, _> = records
            .iter()
            .map(|record| {
                aws_sdk_firehose::types::Record::builder().data(Blob::new(record.data.clone())).build()
            })
            .collect();
        let put = self.client.put_record_batch().delivery_stream_name(&self.stream);
        let put = put.set_records(Some(entries.map_err(|e| PutFailure::unmade(&e))?));
        let answer = put.send().await.map_err(PutFailure::of)?;
        Ok(answer
            .request_responses()
            .iter()
            .map(|record| match record.error_code() {
                None => Answer::Stored,
                Some("ServiceUnavailableException" | "ThrottlingException") => Answer::Throttled,
                Some(code) => Answer::Failed(code.to_owned()),
            })
            .collect())
    }
}
