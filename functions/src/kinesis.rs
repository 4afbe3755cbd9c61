//! Calls of Kinesis and of DynamoDB streams with the store's own client and signature: no SDK.

use std::time::Duration;

use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpRequest, HttpRequestBody, ReqwestConnector,
};
use object_store::{ClientConfigKey, HeaderValue};
use serde_json::Value;

use crate::context::AwsSettings;

/// What tells the two services apart, by the ARN of a stream.
struct Service {
    /// As signatures name it.
    signed: &'static str,
    host: &'static str,
    target: &'static str,
    content_type: &'static str,
    setting: &'static str,
}

const KINESIS: Service = Service {
    signed: "kinesis",
    host: "kinesis",
    target: "Kinesis_20131202",
    content_type: "application/x-amz-json-1.1",
    setting: "AWS_ENDPOINT_URL_KINESIS",
};

const DYNAMODB_STREAMS: Service = Service {
    signed: "dynamodb",
    host: "streams.dynamodb",
    target: "DynamoDBStreams_20120810",
    content_type: "application/x-amz-json-1.0",
    setting: "AWS_ENDPOINT_URL_DYNAMODB_STREAMS",
};

fn service(stream_arn: &str) -> &'static Service {
    if is_dynamodb_stream(stream_arn) { &DYNAMODB_STREAMS } else { &KINESIS }
}

/// Whether an ARN is that of a DynamoDB stream.
pub(crate) fn is_dynamodb_stream(arn: &str) -> bool {
    arn.starts_with("arn:") && arn.split(':').nth(2) == Some("dynamodb") && arn.contains("/stream/")
}

/// The region that an ARN names.
pub(crate) fn region(stream_arn: &str) -> Option<&str> {
    stream_arn.split(':').nth(3).filter(|region| !region.is_empty())
}

/// The stream's name: what follows the last `/` of its ARN; of a DynamoDB stream its table's.
pub fn name(stream_arn: &str) -> &str {
    let part = if is_dynamodb_stream(stream_arn) {
        stream_arn.split('/').nth(1)
    } else {
        stream_arn.rsplit('/').next()
    };
    part.unwrap_or_default()
}

/// The service of the stream's region, unless another endpoint is set.
pub(crate) fn endpoint(aws: &AwsSettings, stream_arn: &str) -> Result<String, String> {
    let service = service(stream_arn);
    let set = aws.get(service.setting).or_else(|| aws.get("AWS_ENDPOINT_URL"));
    if let Some(endpoint) = set {
        return Ok(endpoint.trim_end_matches('/').to_owned());
    }
    let region = region(stream_arn).ok_or("the ARN names no region")?;
    let suffix = if stream_arn.starts_with("arn:aws-cn:") { ".cn" } else { "" };
    Ok(format!("https://{}.{region}.amazonaws.com{suffix}", service.host))
}

/// A client; a request takes at most `patience`.
pub(crate) fn connect(endpoint: &str, patience: Duration) -> object_store::Result<HttpClient> {
    let allow_http = endpoint.starts_with("http://").to_string();
    let options = ClientOptions::new()
        .with_timeout(patience)
        .with_connect_timeout(patience)
        .with_config(ClientConfigKey::AllowHttp, allow_http);
    ReqwestConnector::default().connect(&options)
}

/// A signed request.
pub(crate) fn request(
    aws: &AwsSettings,
    endpoint: &str,
    arn: &str,
    operation: &str,
    body: &Value,
) -> Result<HttpRequest, String> {
    let key = |name: &str| aws.get(name).map(str::to_owned).ok_or(format!("{name} is not set"));
    let credential = AwsCredential {
        key_id: key("AWS_ACCESS_KEY_ID")?,
        secret_key: key("AWS_SECRET_ACCESS_KEY")?,
        token: key("AWS_SESSION_TOKEN").ok(),
    };
    let mut request = HttpRequest::new(HttpRequestBody::from(body.to_string()));
    *request.method_mut() = "POST".parse().map_err(|_| "no method")?;
    *request.uri_mut() = format!("{endpoint}/").parse().map_err(|e| format!("{endpoint}: {e}"))?;
    let service = service(arn);
    let headers = request.headers_mut();
    headers.insert("content-type", HeaderValue::from_static(service.content_type));
    let target = format!("{}.{operation}", service.target);
    headers.insert("x-amz-target", target.parse().map_err(|_| "no operation")?);
    let region = region(arn).ok_or("the ARN names no region")?;
    AwsAuthorizer::new(&credential, service.signed, region).authorize(&mut request, None);
    Ok(request)
}
