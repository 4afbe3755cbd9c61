//! The store's HTTP client and credentials in the shape that the SDK takes.
//!
//! The SDK's own client would bring a second TLS stack, a megabyte and a half of code and its
//! start, for requests that the store's client can send as well.

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, future};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use object_store::aws::AwsCredentialProvider;
use object_store::client::{
    HttpClient as StoreClient, HttpError, HttpErrorKind, HttpRequest as StoreRequest, HttpRequestBody,
};

/// The SDK's requests over the store's client.
#[derive(Debug, Clone)]
pub(super) struct Connector(pub(super) StoreClient);

impl HttpClient for Connector {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        // Timeouts are those the store's client was made with.
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.0.clone();
        HttpConnectorFuture::new(async move {
            let request = request.try_into_http1x().map_err(|e| ConnectorError::user(e.into()))?;
            let (parts, body) = request.into_parts();
            let body = body.bytes().map(Bytes::copy_from_slice);
            let body = body.ok_or_else(|| ConnectorError::user("a body that is streamed".into()))?;
            let request = StoreRequest::from_parts(parts, HttpRequestBody::from(body));
            let (parts, body) = client.execute(request).await.map_err(failed)?.into_parts();
            let body = body.bytes().await.map_err(failed)?;
            let status = parts.status.as_u16().try_into().map_err(|_| {
                ConnectorError::other(format!("status {} of an answer", parts.status).into(), None)
            })?;
            let mut response = HttpResponse::new(status, SdkBody::from(body));
            for (name, value) in &parts.headers {
                if let Ok(value) = value.to_str() {
                    response.headers_mut().append(name.as_str().to_owned(), value.to_owned());
                }
            }
            Ok(response)
        })
    }
}

fn failed(error: HttpError) -> ConnectorError {
    match error.kind() {
        HttpErrorKind::Timeout => ConnectorError::timeout(error.into()),
        HttpErrorKind::Connect | HttpErrorKind::Request | HttpErrorKind::Interrupted => {
            ConnectorError::io(error.into())
        }
        _ => ConnectorError::other(error.into(), None),
    }
}

/// The store's credentials, asked for each request: the store keeps and renews them.
#[derive(Debug)]
pub(super) struct StoreCredentials(pub(super) AwsCredentialProvider);

impl ProvideCredentials for StoreCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.get())
    }
}

impl StoreCredentials {
    async fn get(&self) -> provider::Result {
        let found = self.0.get_credential().await.map_err(CredentialsError::provider_error)?;
        Ok(Credentials::new(&found.key_id, &found.secret_key, found.token.clone(), None, "store"))
    }
}
