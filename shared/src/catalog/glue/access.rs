//! `AWS_*` settings → where the services beside S3 are, who asks them, and over which connection.
//!
//! Nothing is connected here. Credentials are the store's: keys, a container's or a web identity,
//! renewed by it. So is the HTTP client, so that a program has one TLS stack.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, AwsCredentialProvider};
use object_store::client::{ClientOptions, HttpClient, HttpConnector, ReqwestConnector};
use object_store::{ClientConfigKey, CredentialProvider};

use crate::error::{Error, Result};

/// How long a program waits for such a service.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For one try.
    pub of_a_try: Duration,
    /// For all tries at one request and the pauses between them.
    pub in_all: Duration,
    /// For all partitions of one batch to be registered.
    pub registering: Duration,
}

impl Patience {
    /// Of a function that has a batch to answer. Its init has ten seconds; what is not registered in
    /// one second, which its reserve has left after the commit, close makes good.
    pub const SHORT: Patience = Patience {
        of_a_try: Duration::from_millis(1_500),
        in_all: Duration::from_secs(7),
        registering: Duration::from_secs(1),
    };
    /// Of a command, and of close: a throttle passes.
    pub const LONG: Patience = Patience {
        of_a_try: Duration::from_secs(10),
        in_all: Duration::from_secs(60),
        registering: Duration::from_secs(300),
    };
}

/// Who asks AWS, where, and how patiently.
#[derive(Clone)]
pub struct AwsAccess {
    region: String,
    credentials: AwsCredentialProvider,
    options: Vec<(String, String)>,
    http: HttpClient,
    patience: Patience,
}

impl fmt::Debug for AwsAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsAccess").field("region", &self.region).finish_non_exhaustive()
    }
}

impl AwsAccess {
    /// As the settings of the store say (`aws_region`, `aws_access_key_id`, …; names in any case).
    ///
    /// # Errors
    /// No region.
    pub fn from_options(options: &[(String, String)], patience: Patience) -> Result<Self> {
        let options: Vec<_> = options.iter().map(|(k, v)| (k.to_ascii_lowercase(), v.clone())).collect();
        let setting = |problem: String| Error::Setting {
            setting: "AWS_REGION".into(),
            problem,
            example: "eu-west-1".into(),
        };
        let get = |name: &str| options.iter().find(|(k, v)| k == name && !v.is_empty()).map(|(_, v)| v);
        let region = get("aws_region").or_else(|| get("aws_default_region")).cloned();
        let region = region.ok_or_else(|| setting("is not set; Glue is asked in a region".to_owned()))?;
        // Plain HTTP only where the settings name such an endpoint.
        let plain = |(k, v): &(String, String)| k.starts_with("aws_endpoint_url") && v.starts_with("http://");
        let client = ClientOptions::new()
            .with_timeout(patience.of_a_try)
            .with_connect_timeout(patience.of_a_try)
            .with_config(ClientConfigKey::AllowHttp, options.iter().any(plain).to_string());
        let http = ReqwestConnector::default().connect(&client).map_err(|e| setting(e.to_string()))?;
        Ok(Self { credentials: credentials(&options, &region)?, region, options, http, patience })
    }

    /// The region.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The address set for a service (`AWS_ENDPOINT_URL_GLUE`, or `AWS_ENDPOINT_URL` for all).
    pub(crate) fn endpoint(&self, service: &str) -> Option<&str> {
        let get = |name: &str| self.options.iter().find(|(k, v)| k == name && !v.is_empty());
        let own = get(&format!("aws_endpoint_url_{service}")).or_else(|| get("aws_endpoint_url"));
        own.map(|(_, address)| address.trim_end_matches('/'))
    }

    pub(crate) fn http(&self) -> &HttpClient {
        &self.http
    }

    pub(crate) fn patience(&self) -> Patience {
        self.patience
    }

    pub(crate) async fn credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        self.credentials.get_credential().await
    }
}

/// The store's way to credentials, whatever bucket it would be for.
fn credentials(options: &[(String, String)], region: &str) -> Result<AwsCredentialProvider> {
    let mut builder = AmazonS3Builder::new().with_bucket_name("weir").with_region(region);
    for (name, value) in options {
        if let Ok(key) = name.parse::<AmazonS3ConfigKey>() {
            builder = builder.with_config(key, value);
        } else if name == "aws_allow_http" {
            builder = builder.with_allow_http(value == "true");
        }
    }
    let store = builder.build().map_err(|e| Error::Setting {
        setting: "AWS_ACCESS_KEY_ID".into(),
        problem: e.to_string(),
        example: "AKIAIOSFODNN7EXAMPLE".into(),
    })?;
    Ok(Arc::clone(store.credentials()) as Arc<dyn CredentialProvider<Credential = AwsCredential>>)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(options: &[(&str, &str)]) -> Result<AwsAccess> {
        let options: Vec<_> = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        AwsAccess::from_options(&options, Patience::SHORT)
    }

    #[test]
    fn the_own_endpoint_of_a_service_comes_before_the_common_one() {
        let none = access(&[("AWS_REGION", "eu-west-1")]).unwrap();
        assert_eq!((none.region(), none.endpoint("glue")), ("eu-west-1", None));
        let both = [
            ("aws_default_region", "us-east-1"),
            ("AWS_ENDPOINT_URL", "http://a:1/"),
            ("AWS_ENDPOINT_URL_GLUE", "http://b:2"),
        ];
        let both = access(&both).unwrap();
        assert_eq!((both.endpoint("glue"), both.endpoint("sfn")), (Some("http://b:2"), Some("http://a:1")));
    }

    #[tokio::test]
    async fn keys_are_taken_as_set_and_never_printed() {
        let keys = [
            ("AWS_REGION", "r"),
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "hush"),
            ("AWS_SESSION_TOKEN", "token"),
        ];
        let access = access(&keys).unwrap();
        let credential = access.credential().await.unwrap();
        assert_eq!((credential.key_id.as_str(), credential.token.as_deref()), ("id", Some("token")));
        assert!(!format!("{access:?}").contains("hush"));
        let error = super::tests::access(&[]).unwrap_err().to_string();
        assert!(error.starts_with("AWS_REGION: is not set"), "{error}");
    }
}
