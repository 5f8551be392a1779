//! Where AWS is reached, and as whom.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;

/// What an installation says of AWS; credentials and all else are found by the SDK, as by every program of AWS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// None: as the SDK finds it.
    pub region: Option<String>,
    /// Where every service is reached, in place of its public endpoint; None: as the SDK finds it.
    pub endpoint_url: Option<String>,
}

/// How long one call may take. The SDK tries again by itself what passes in a moment; beyond that whoever
/// asked has a pace of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Tries of one call, the first among them; 1 for what must not be done twice.
    pub tries: u32,
    pub one_try: Duration,
    /// All tries of one call.
    pub one_call: Duration,
}

/// A role that is taken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Role<'a> {
    pub arn: &'a str,
    pub external_id: &'a str,
    /// What the account's trail calls the session.
    pub session: &'a str,
    /// Where it is taken up, and used.
    pub region: &'a str,
}

impl Reach {
    /// Looks for region and credentials; reads the environment and the profile, and asks nothing yet.
    pub async fn load(&self, patience: Patience) -> SdkConfig {
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(patience.one_try)
            .operation_timeout(patience.one_call)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .retry_config(RetryConfig::standard().with_max_attempts(patience.tries))
            .timeout_config(timeouts);
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(url) = &self.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        loader.load().await
    }
}

impl Role<'_> {
    /// Sessions under this role, on the connections of `own`. It is taken up when it is used first, and again
    /// before that ends.
    pub async fn of(self, own: &SdkConfig) -> SdkConfig {
        let region = Region::new(self.region.to_owned());
        let role = AssumeRoleProvider::builder(self.arn)
            .external_id(self.external_id)
            .session_name(self.session)
            .region(region.clone())
            .configure(own)
            .build()
            .await;
        own.to_builder().region(region).credentials_provider(SharedCredentialsProvider::new(role)).build()
    }
}
