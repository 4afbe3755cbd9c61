//! Requests to a service of AWS that speaks JSON, signed with the store's credentials and sent by its
//! HTTP client: for the few calls that are not worth an SDK.

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use object_store::ClientOptions;
use object_store::HeaderValue;
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{
    HttpClient, HttpConnector, HttpErrorKind, HttpRequest, HttpRequestBody, ReqwestConnector,
};

use super::{AwsArgs, PutFailure};

/// A service as host names, signatures and `x-amz-target` have it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Service {
    pub(super) name: &'static str,
    pub(super) target: &'static str,
    pub(super) content_type: &'static str,
}

/// Who asks a service, and where.
#[derive(Debug)]
pub(super) struct Signed {
    http: HttpClient,
    credentials: AwsCredentialProvider,
    service: Service,
    region: String,
    address: String,
}

impl Signed {
    pub(super) fn new(service: Service, aws: &AwsArgs) -> Result<Self> {
        let region = aws.region().to_owned();
        let address = match aws.endpoint() {
            Some(endpoint) => format!("{}/", endpoint.trim_end_matches('/')),
            None => {
                let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
                format!("https://{}.{region}.amazonaws.com{suffix}/", service.name)
            }
        };
        let options = ClientOptions::new()
            .with_timeout(super::http::PATIENCE)
            .with_connect_timeout(Duration::from_secs(5))
            .with_allow_http(address.starts_with("http://"));
        let http = ReqwestConnector::default().connect(&options).context("could not make an HTTP client")?;
        Ok(Self { http, credentials: aws.store_credentials()?, service, region, address })
    }

    /// Ask once.
    pub(super) async fn call(&self, operation: &str, body: Vec<u8>) -> Result<Bytes, PutFailure> {
        let refused =
            |text: String| PutFailure { may_be_stored: false, throttled: false, permanent: false, text };
        let credential = self.credentials.get_credential().await.map_err(|e| refused(super::chain(&e)))?;
        let mut request = HttpRequest::new(HttpRequestBody::from(body));
        let unusable = |what: &str| refused(format!("{what} of {} cannot be used", self.address));
        *request.method_mut() = "POST".parse().map_err(|_| unusable("the method"))?;
        *request.uri_mut() = self.address.parse().map_err(|_| unusable("the address"))?;
        let target = format!("{}.{operation}", self.service.target);
        let target = HeaderValue::from_str(&target).map_err(|_| unusable("the operation"))?;
        request.headers_mut().insert("content-type", HeaderValue::from_static(self.service.content_type));
        request.headers_mut().insert("x-amz-target", target);
        AwsAuthorizer::new(&credential, self.service.name, &self.region).authorize(&mut request, None);
        let without_answer = |error: object_store::client::HttpError| PutFailure {
            may_be_stored: error.kind() != HttpErrorKind::Connect,
            throttled: false,
            permanent: false,
            text: super::chain(&error),
        };
        let response = self.http.execute(request).await.map_err(without_answer)?;
        let status = response.status();
        let body = response.into_body().bytes().await.map_err(without_answer)?;
        match status.is_success() {
            true => Ok(body),
            false => Err(refusal(&body, status.as_u16())),
        }
    }
}

/// What an answer that says no says.
fn refusal(body: &[u8], status: u16) -> PutFailure {
    let answer: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |names: [&str; 2]| names.iter().find_map(|name| answer.get(*name)?.as_str());
    let code = text(["__type", "code"]).map_or_else(|| format!("status {status}"), str::to_owned);
    let code = code.rsplit('#').next().unwrap_or_default();
    PutFailure::refused(code, text(["message", "Message"]).unwrap_or("no message"), status >= 500)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_whether_another_try_helps() {
        let cases: [(&str, u16, [bool; 3]); 5] = [
            // Throttled, permanent, may be stored.
            (
                r#"{"__type":"a.b#ProvisionedThroughputExceededException","message":"m"}"#,
                400,
                [true, false, false],
            ),
            (r#"{"__type":"ThrottlingException","Message":"m"}"#, 400, [true, false, false]),
            (r#"{"__type":"a.b#ResourceNotFoundException","message":"m"}"#, 400, [false, true, false]),
            (r#"{"__type":"InternalServerError"}"#, 500, [false, false, true]),
            ("<html>", 502, [false, false, true]),
        ];
        for (body, status, expected) in cases {
            let failure = refusal(body.as_bytes(), status);
            assert_eq!([failure.throttled, failure.permanent, failure.may_be_stored], expected, "{body}");
        }
    }
}
