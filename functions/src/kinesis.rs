//! Calls of Kinesis with the store's own client and signature: no SDK.

use std::time::Duration;

use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpRequest, HttpRequestBody, ReqwestConnector,
};
use object_store::{ClientConfigKey, HeaderValue};
use serde_json::Value;

use crate::context::AwsSettings;

/// The region that an ARN names.
pub(crate) fn region(stream_arn: &str) -> Option<&str> {
    stream_arn.split(':').nth(3).filter(|region| !region.is_empty())
}

/// The stream's name: what follows the last `/` of its ARN.
pub(crate) fn name(stream_arn: &str) -> &str {
    stream_arn.rsplit('/').next().unwrap_or_default()
}

/// The service of the stream's region, unless another endpoint is set.
pub(crate) fn endpoint(aws: &AwsSettings, stream_arn: &str) -> Result<String, String> {
    let set = aws.get("AWS_ENDPOINT_URL_KINESIS").or_else(|| aws.get("AWS_ENDPOINT_URL"));
    if let Some(endpoint) = set {
        return Ok(endpoint.trim_end_matches('/').to_owned());
    }
    let region = region(stream_arn).ok_or("the ARN names no region")?;
    let suffix = if stream_arn.starts_with("arn:aws-cn:") { ".cn" } else { "" };
    Ok(format!("https://kinesis.{region}.amazonaws.com{suffix}"))
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
    let headers = request.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/x-amz-json-1.1"));
    let target = format!("Kinesis_20131202.{operation}");
    headers.insert("x-amz-target", target.parse().map_err(|_| "no operation")?);
    let region = region(arn).ok_or("the ARN names no region")?;
    AwsAuthorizer::new(&credential, "kinesis", region).authorize(&mut request, None);
    Ok(request)
}
