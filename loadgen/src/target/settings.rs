//! Region, endpoint and credentials: flags over environment, as the store of the lake takes them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use clap::Args;
use object_store::StaticCredentialProvider;
use object_store::aws::{AmazonS3Builder, AwsCredential, AwsCredentialProvider};
use weir::catalog::glue::{AwsAccess, GlueClient, Patience};

/// How the account, or a stand-in on this machine, is reached.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Account")]
pub struct AwsArgs {
    /// Endpoint of the target instead of the region's (`weir up` prints its own)
    #[arg(long, env = "AWS_ENDPOINT_URL_KINESIS")]
    pub endpoint: Option<String>,
    #[arg(long, env = "AWS_ENDPOINT_URL", hide = true)]
    any_endpoint: Option<String>,
    /// Region
    #[arg(long, env = "AWS_REGION")]
    pub region: Option<String>,
    /// Access key; else the container's or the instance's role (profiles:
    /// `eval $(aws configure export-credentials --format env)`)
    #[arg(long, env = "AWS_ACCESS_KEY_ID", hide_env_values = true)]
    access_key_id: Option<String>,
    #[arg(long, env = "AWS_SECRET_ACCESS_KEY", hide = true, hide_env_values = true)]
    secret_access_key: Option<String>,
    #[arg(long, env = "AWS_SESSION_TOKEN", hide = true, hide_env_values = true)]
    session_token: Option<String>,
    #[arg(long, env = "AWS_WEB_IDENTITY_TOKEN_FILE", hide = true)]
    web_identity_token_file: Option<String>,
    #[arg(long, env = "AWS_ROLE_ARN", hide = true)]
    role_arn: Option<String>,
    #[arg(long, env = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", hide = true)]
    container_credentials_relative_uri: Option<String>,
    #[arg(long, env = "AWS_CONTAINER_CREDENTIALS_FULL_URI", hide = true)]
    container_credentials_full_uri: Option<String>,
    #[arg(long, env = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", hide = true)]
    container_authorization_token_file: Option<String>,
    /// Endpoint of the lake's store (an S3 stand-in)
    #[arg(long, env = "AWS_ENDPOINT_URL_S3")]
    s3_endpoint: Option<String>,
    /// Endpoint of the catalog (`--catalog glue://…`)
    #[arg(long, env = "AWS_ENDPOINT_URL_GLUE")]
    glue_endpoint: Option<String>,
    #[arg(long, env = "AWS_ALLOW_HTTP", hide = true)]
    allow_http: Option<String>,
}

impl AwsArgs {
    /// The region; stand-ins don't care.
    pub fn region(&self) -> &str {
        self.region.as_deref().unwrap_or("us-east-1")
    }

    /// Where the target is, unless in the region.
    pub fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref().or(self.any_endpoint.as_deref())
    }

    /// What opens the store of the lake.
    pub fn store_options(&self) -> Vec<(String, String)> {
        let given = [
            ("aws_region", &self.region),
            ("aws_access_key_id", &self.access_key_id),
            ("aws_secret_access_key", &self.secret_access_key),
            ("aws_session_token", &self.session_token),
            ("aws_web_identity_token_file", &self.web_identity_token_file),
            ("aws_role_arn", &self.role_arn),
            ("aws_container_credentials_relative_uri", &self.container_credentials_relative_uri),
            ("aws_container_credentials_full_uri", &self.container_credentials_full_uri),
            ("aws_container_authorization_token_file", &self.container_authorization_token_file),
            ("aws_endpoint", if self.s3_endpoint.is_some() { &self.s3_endpoint } else { &self.any_endpoint }),
            ("aws_allow_http", &self.allow_http),
        ];
        given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))).collect()
    }

    /// The HTTP client of SDK clients, whose calls may take that long.
    pub(crate) fn http_client(&self, patience: Duration) -> Result<SharedHttpClient> {
        super::http::client_within(patience)
    }

    /// Credentials for SDK clients.
    pub(crate) fn credentials(&self) -> Result<SharedCredentialsProvider> {
        Ok(SharedCredentialsProvider::new(StoreCredentials(self.store_credentials()?)))
    }

    /// Credentials as the store has them. An endpoint of one's own without a key gets made-up ones.
    pub(super) fn store_credentials(&self) -> Result<AwsCredentialProvider> {
        if self.endpoint().is_some() && self.access_key_id.is_none() {
            let made_up =
                AwsCredential { key_id: "test".to_owned(), secret_key: "test".to_owned(), token: None };
            return Ok(Arc::new(StaticCredentialProvider::new(made_up)));
        }
        let mut builder = AmazonS3Builder::new().with_bucket_name("none").with_region(self.region());
        for (name, value) in self.store_options() {
            if let Ok(key) = name.parse() {
                builder = builder.with_config(key, value);
            }
        }
        let store =
            builder.build().context("could not find credentials; set AWS_ACCESS_KEY_ID and its secret")?;
        Ok(Arc::clone(store.credentials()))
    }

    /// Who asks Glue, and where.
    pub(crate) fn glue(&self) -> Result<GlueClient> {
        let mut options = self.store_options();
        let endpoint = self.glue_endpoint.clone().or_else(|| self.any_endpoint.clone());
        options.extend(endpoint.map(|endpoint| ("aws_endpoint_url_glue".to_owned(), endpoint)));
        let access = AwsAccess::from_options(&options, Patience::LONG)?;
        // One process asks: nobody else is throttled with it.
        Ok(GlueClient::new(Arc::new(access), 0))
    }
}

/// The store's way to credentials, renewed by it.
#[derive(Debug)]
struct StoreCredentials(AwsCredentialProvider);

impl ProvideCredentials for StoreCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let found = self.0.get_credential().await.map_err(CredentialsError::provider_error)?;
            let token = found.token.clone();
            Ok(Credentials::new(&found.key_id, &found.secret_key, token, None, "store"))
        })
    }
}
