//! Keys and a request → the headers that sign it, by the client of the store. The embedded endpoint
//! wants only the form of a signature, the service the real one.

use std::fmt;
use std::sync::Arc;

use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{HttpRequest, HttpRequestBody};
use reqwest::header::HeaderMap;

/// Keys that sign requests to Kinesis or DynamoDB in one region.
#[derive(Clone)]
pub struct Keys {
    credential: Arc<AwsCredential>,
    region: String,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("region", &self.region).finish_non_exhaustive()
    }
}

impl Keys {
    /// Those of an environment, by the names of the AWS tools in lower case; none if there are none.
    pub fn of(settings: &[(String, String)], endpoint: &str) -> Option<Self> {
        let get = |name: &str| settings.iter().find(|(known, _)| known == name).map(|(_, v)| v.clone());
        // An address of the service names its region, which counts: another one's signature is refused.
        let hosts = ["://kinesis.", "://streams.dynamodb."];
        let named = hosts.iter().find_map(|host| endpoint.split(host).nth(1)?.split('.').next());
        let region = named.map(str::to_owned).or(get("aws_region")).or(get("aws_default_region"));
        let credential = AwsCredential {
            key_id: get("aws_access_key_id")?,
            secret_key: get("aws_secret_access_key")?,
            token: get("aws_session_token"),
        };
        Some(Self { credential: Arc::new(credential), region: region.unwrap_or_else(|| "us-east-1".into()) })
    }

    /// `headers` with those that sign them and the body, for a service.
    pub(super) fn sign(
        &self,
        service: &str,
        url: &str,
        headers: HeaderMap,
        body: &str,
    ) -> Result<HeaderMap, String> {
        let mut request = HttpRequest::new(HttpRequestBody::from(body.to_owned()));
        *request.method_mut() = reqwest::Method::POST;
        *request.uri_mut() = format!("{url}/").parse().map_err(|e| format!("{url}: {e}"))?;
        *request.headers_mut() = headers;
        AwsAuthorizer::new(&self.credential, service, &self.region).authorize(&mut request, None);
        Ok(std::mem::take(request.headers_mut()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sign_for_the_region_of_the_address_or_of_the_environment() {
        let settings = |list: &[(&str, &str)]| -> Vec<(String, String)> {
            list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let keys = [("aws_access_key_id", "AKID"), ("aws_secret_access_key", "secret")];
        let here = [&keys[..], &[("aws_region", "eu-west-1")]].concat();
        let cases = [
            (settings(&keys), "http://127.0.0.1:4567", Some("us-east-1")),
            (settings(&here), "http://127.0.0.1:4567", Some("eu-west-1")),
            (settings(&here), "https://kinesis.us-east-2.amazonaws.com", Some("us-east-2")),
            (settings(&here), "https://streams.dynamodb.us-east-2.amazonaws.com", Some("us-east-2")),
            (settings(&keys[..1]), "https://kinesis.us-east-2.amazonaws.com", None),
        ];
        for (settings, endpoint, region) in cases {
            let keys = Keys::of(&settings, endpoint);
            assert_eq!(keys.as_ref().map(|keys| keys.region.as_str()), region, "{endpoint}");
            let Some(keys) = keys else { continue };
            let headers = keys.sign("kinesis", endpoint, HeaderMap::new(), "{}").unwrap();
            let authorization = headers["authorization"].to_str().unwrap();
            assert!(
                authorization.contains(&format!("/{}/kinesis/aws4_request", keys.region)),
                "{authorization}"
            );
            assert!(!format!("{keys:?}").contains("secret"));
        }
    }
}
