//! The HTTP client that the stores use, lent to the SDK clients: one TLS stack in the program, and no
//! C code to build for a second one.

use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;

/// A request that has no answer by then may or may not have been taken.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone)]
struct Client(reqwest::Client);

/// A client with connections of its own.
pub(super) fn client() -> anyhow::Result<SharedHttpClient> {
    client_within(PATIENCE)
}

/// The same with another patience.
pub(super) fn client_within(patience: Duration) -> anyhow::Result<SharedHttpClient> {
    Ok(SharedHttpClient::new(Client(plain(patience)?)))
}

/// The same without the SDK around it.
fn plain(patience: Duration) -> anyhow::Result<reqwest::Client> {
    let client = reqwest::Client::builder()
        .timeout(patience)
        .connect_timeout(Duration::from_secs(5))
        .tcp_nodelay(true)
        .pool_max_idle_per_host(256)
        .no_proxy();
    Ok(client.build()?)
}

impl HttpClient for Client {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Client {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.0.clone();
        HttpConnectorFuture::new(send(client, request))
    }
}

async fn send(client: reqwest::Client, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
    let request = request.try_into_http1x().map_err(|e| ConnectorError::user(e.into()))?;
    let request = request.map(|body| Bytes::copy_from_slice(body.bytes().unwrap_or_default()));
    let request = reqwest::Request::try_from(request).map_err(|e| ConnectorError::user(e.into()))?;
    let response = client.execute(request).await.map_err(failed)?;
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let body = response.bytes().await.map_err(failed)?;
    let status = status.try_into().map_err(|_| ConnectorError::user(format!("status {status}").into()))?;
    let mut answer = HttpResponse::new(status, SdkBody::from(body));
    for (name, value) in &headers {
        if let Ok(value) = value.to_str() {
            answer.headers_mut().append(name.as_str().to_owned(), value.to_owned());
        }
    }
    Ok(answer)
}

fn failed(error: reqwest::Error) -> ConnectorError {
    match error.is_timeout() && !error.is_connect() {
        true => ConnectorError::timeout(error.into()),
        false => ConnectorError::io(error.into()),
    }
}
