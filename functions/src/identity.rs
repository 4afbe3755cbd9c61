//! The ARN of a stream → what tells it from one made again under the same name: when it was made,
//! asked of the stream itself.
//!
//! A stream made again begins its numbers anew, so that under the ARN alone its records could look
//! committed and be passed over in silence. The event does not say when the stream was made;
//! `DescribeStreamSummary` does, which the role that reads the stream may call anyway. It is asked
//! with a process's first event and once a minute after that, never at init and never per batch,
//! with the signature and the client of the store: no SDK. A stream that cannot be asked is a bad
//! moment, and nothing is acknowledged.

use std::collections::HashMap;
use std::time::Duration;

use object_store::client::{HttpClient, HttpRequest};
use serde::Deserialize;
use weir::clock::EpochMicros;
use weir::{Error, Result};

use crate::context::{AwsSettings, Config, LakeAddress, StreamIdentity};
use crate::kinesis::{self, endpoint};

/// How long an answer is taken as it is. Who deletes a stream, makes it again and maps it to the
/// function waits this long in between (docs/OPERATIONS.md).
const FRESH: Duration = Duration::from_secs(60);
/// How long an answer serves when the service does not give another one (it answers 20 requests a
/// second for all functions of an account).
const STALE: Duration = Duration::from_secs(600);
/// One try; the mapping delivers the batch again if it was in vain.
const PATIENCE: Duration = Duration::from_secs(2);

/// The streams a process has met.
#[derive(Debug)]
pub struct StreamIdentities {
    source: Source,
    known: HashMap<String, (String, EpochMicros)>,
}

#[derive(Debug)]
enum Source {
    /// As set.
    Fixed(String),
    /// The stream.
    Ask { aws: AwsSettings, client: Option<HttpClient> },
}

impl StreamIdentities {
    /// As the settings say. A lake in a folder of one machine is far from AWS: there it is what is
    /// set, or the ARN alone.
    pub fn new(config: &Config) -> Self {
        let source = match (&config.stream_identity, &config.lake) {
            (StreamIdentity::Set(identity), _) => Source::Fixed(identity.clone()),
            (StreamIdentity::ArnOnly, _) | (StreamIdentity::Ask, LakeAddress::Folder(_)) => {
                Source::Fixed(String::new())
            }
            (StreamIdentity::Ask, LakeAddress::S3 { .. }) => Self::asking(config.aws.clone()),
        };
        Self { source, known: HashMap::new() }
    }

    /// As these settings say, for a lake in the cloud.
    pub fn set(identity: &StreamIdentity, aws: AwsSettings) -> Self {
        let source = match identity {
            StreamIdentity::Set(identity) => Source::Fixed(identity.clone()),
            StreamIdentity::ArnOnly => Source::Fixed(String::new()),
            StreamIdentity::Ask => Self::asking(aws),
        };
        Self { source, known: HashMap::new() }
    }

    /// Always of the stream, whatever the lake.
    pub fn of_the_stream(aws: AwsSettings) -> Self {
        Self { source: Self::asking(aws), known: HashMap::new() }
    }

    fn asking(aws: AwsSettings) -> Source {
        Source::Ask { aws, client: None }
    }

    /// The identity of the stream at `now`.
    ///
    /// # Errors
    /// Retryable: the stream does not answer, and has not for a while.
    pub async fn of(&mut self, stream_arn: &str, now: EpochMicros) -> Result<String> {
        let (aws, client) = match &mut self.source {
            Source::Fixed(identity) => return Ok(identity.clone()),
            Source::Ask { aws, client } => (aws, client),
        };
        let age = |asked: EpochMicros| Duration::from_micros(now.0.saturating_sub(asked.0).unsigned_abs());
        let known = self.known.get(stream_arn);
        if let Some((identity, _)) = known.filter(|(_, asked)| age(*asked) < FRESH) {
            return Ok(identity.clone());
        }
        match ask(aws, client, stream_arn).await {
            Ok(identity) => {
                self.known.insert(stream_arn.to_owned(), (identity.clone(), now));
                Ok(identity)
            }
            Err(error) => match known.filter(|(_, asked)| age(*asked) < STALE) {
                Some((identity, _)) => Ok(identity.clone()),
                None => Err(error),
            },
        }
    }
}

/// Milliseconds since the epoch at which the stream was made, as text.
async fn ask(aws: &AwsSettings, client: &mut Option<HttpClient>, stream_arn: &str) -> Result<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        stream_description_summary: Summary,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Summary {
        stream_creation_timestamp: f64,
    }
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Store {
        operation: "ask when the stream was made (DescribeStreamSummary; or set WEIR_STREAM_IDENTITY):",
        object: stream_arn.to_owned(),
        retryable: true,
        source,
    };
    let endpoint = endpoint(aws, stream_arn).map_err(|e| failed(e.into()))?;
    if client.is_none() {
        *client = Some(kinesis::connect(&endpoint, PATIENCE).map_err(|e| failed(e.into()))?);
    }
    let Some(client) = client else { return Err(failed("no client".into())) };
    let request = request(aws, &endpoint, stream_arn).map_err(|e| failed(e.into()))?;
    let response = client.execute(request).await.map_err(|e| failed(e.into()))?;
    let status = response.status();
    let body = response.into_body().bytes().await.map_err(|e| failed(e.into()))?;
    if !status.is_success() {
        let said: String = String::from_utf8_lossy(&body).chars().take(300).collect();
        return Err(failed(format!("{status}: {said}").into()));
    }
    let answer: Answer = serde_json::from_slice(&body).map_err(|e| failed(e.into()))?;
    Ok(format!("{:.0}", answer.stream_description_summary.stream_creation_timestamp * 1_000.0))
}

fn request(aws: &AwsSettings, endpoint: &str, arn: &str) -> std::result::Result<HttpRequest, String> {
    // The name alone is the caller's own account's stream; some endpoints know nothing but names.
    let body = serde_json::json!({"StreamARN": arn, "StreamName": kinesis::name(arn)});
    kinesis::request(aws, endpoint, arn, "DescribeStreamSummary", &body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Config;

    const ARN: &str = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks";

    fn settings(list: &[(&'static str, &str)]) -> AwsSettings {
        AwsSettings(list.iter().map(|(name, value)| (*name, (*value).to_owned())).collect())
    }

    #[test]
    fn the_service_of_the_streams_region_is_asked_unless_an_endpoint_is_set() {
        type Set = &'static [(&'static str, &'static str)];
        let changes = "arn:aws:dynamodb:eu-west-1:1:table/orders/stream/2026-11-20T05:00:00.000";
        let cases: [(Set, &str, &str); 6] = [
            (&[], changes, "https://streams.dynamodb.eu-west-1.amazonaws.com"),
            (&[("AWS_ENDPOINT_URL_DYNAMODB_STREAMS", "http://d:3")], changes, "http://d:3"),
            (&[], ARN, "https://kinesis.eu-west-1.amazonaws.com"),
            (&[], "arn:aws-cn:kinesis:cn-north-1:1:stream/s", "https://kinesis.cn-north-1.amazonaws.com.cn"),
            (&[("AWS_ENDPOINT_URL", "http://127.0.0.1:1/")], ARN, "http://127.0.0.1:1"),
            (
                &[("AWS_ENDPOINT_URL", "http://127.0.0.1:1"), ("AWS_ENDPOINT_URL_KINESIS", "http://k:2")],
                ARN,
                "http://k:2",
            ),
        ];
        for (set, arn, expected) in cases {
            assert_eq!(endpoint(&settings(set), arn).unwrap(), expected);
        }
        assert!(endpoint(&settings(&[]), "clicks").is_err());
    }

    #[test]
    fn a_request_is_signed_for_kinesis_with_the_roles_keys() {
        let keys = [
            ("AWS_ACCESS_KEY_ID", "AKID"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_SESSION_TOKEN", "token"),
        ];
        let request = request(&settings(&keys), "https://kinesis.eu-west-1.amazonaws.com", ARN).unwrap();
        let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
        let authorization = header("authorization");
        assert!(authorization.contains("Credential=AKID/"), "{authorization}");
        assert!(authorization.contains("/eu-west-1/kinesis/aws4_request"), "{authorization}");
        assert!(authorization.contains("x-amz-security-token;x-amz-target"), "{authorization}");
        assert_eq!(header("host"), "kinesis.eu-west-1.amazonaws.com");
        assert!(super::request(&settings(&keys[..1]), "https://x", ARN).unwrap_err().contains("SECRET"));
    }

    #[tokio::test]
    async fn what_is_set_is_not_asked_and_a_stream_that_cannot_be_asked_is_a_bad_moment() {
        let config = |lake: &str, identity: Option<&str>| {
            let settings = [("WEIR_LAKE", Some(lake)), ("WEIR_TABLE", Some("t"))];
            let settings = settings.into_iter().chain([
                ("WEIR_STREAM_IDENTITY", identity),
                ("AWS_ACCESS_KEY_ID", Some("x")),
                ("AWS_SECRET_ACCESS_KEY", Some("x")),
                ("AWS_ENDPOINT_URL_KINESIS", Some("http://127.0.0.1:1")),
            ]);
            let settings: Vec<_> = settings.collect();
            Config::from_env(|n| settings.iter().find(|s| s.0 == n)?.1.map(str::to_owned)).unwrap()
        };
        let cases = [
            ("s3://bucket", Some("2026"), Some("2026")),
            ("s3://bucket", Some("arn-only"), Some("")),
            ("file:///lake", None, Some("")),
            ("s3://bucket", None, None),
        ];
        for (lake, set, expected) in cases {
            let identity = StreamIdentities::new(&config(lake, set)).of(ARN, EpochMicros(0)).await;
            match (identity, expected) {
                (Ok(identity), Some(expected)) => assert_eq!(identity, expected),
                (Err(error), None) => {
                    assert!(error.retryable());
                    assert!(error.to_string().contains("WEIR_STREAM_IDENTITY"), "{error}");
                }
                (other, _) => panic!("{lake} {set:?}: {other:?}"),
            }
        }
    }
}
