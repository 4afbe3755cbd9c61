//! The SDK's client, made with the first request.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_glue::config::retry::RetryConfig;
use aws_sdk_glue::config::timeout::TimeoutConfig;
use aws_sdk_glue::config::{
    BehaviorVersion, Builder, IdentityCache, Region, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_sdk_glue::{Client, Config};

use super::access::AwsAccess;
use super::connector::{Connector, StoreCredentials};
use crate::error::Result;

/// Tries at one request. The SDK pauses in between, longer each time and never as long as others do.
const TRIES: u32 = 6;
/// Before the second try, at most; doubles.
const PAUSE: Duration = Duration::from_millis(100);

/// A client of Glue that is made when it is needed.
#[derive(Debug)]
pub struct GlueClient {
    access: Arc<AwsAccess>,
    seed: u64,
    made: OnceLock<Client>,
}

impl GlueClient {
    /// With these credentials, in their region. `seed` is another one in each process, so that those
    /// who are throttled together don't come again together.
    pub fn new(access: Arc<AwsAccess>, seed: u64) -> Self {
        Self { access, seed, made: OnceLock::new() }
    }

    /// Who asks.
    pub fn access(&self) -> &Arc<AwsAccess> {
        &self.access
    }

    pub(super) fn get(&self) -> Result<&Client> {
        Ok(self.made.get_or_init(|| Client::from_conf(self.config())))
    }

    /// Between half of `pause` and one and a half of it.
    pub(super) fn jittered(&self, pause: Duration, of: &impl Hash) -> Duration {
        let mut hasher = DefaultHasher::new();
        (self.seed, pause, of).hash(&mut hasher);
        pause / 2 + pause.mul_f64((hasher.finish() >> 11) as f64 / (1u64 << 53) as f64)
    }

    fn config(&self) -> Config {
        let access = &self.access;
        let patience = access.patience();
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(patience.of_a_try)
            .operation_timeout(patience.in_all)
            .build();
        let mut config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(access.region().to_owned()))
            .credentials_provider(SharedCredentialsProvider::new(StoreCredentials(access.provider())))
            .identity_cache(IdentityCache::no_cache())
            .http_client(SharedHttpClient::new(Connector(access.http().clone())))
            .retry_config(RetryConfig::standard().with_max_attempts(TRIES).with_initial_backoff(PAUSE))
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .timeout_config(timeouts);
        config.set_endpoint_url(access.endpoint("glue").map(str::to_owned));
        config.build()
    }
}

/// For requests that must not be repeated without a look at what the first try did.
pub(super) fn once() -> Builder {
    Config::builder().retry_config(RetryConfig::disabled())
}
