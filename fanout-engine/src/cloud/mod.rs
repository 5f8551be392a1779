//! Sessions with the cloud that holds a channel's resource, each under the role of that channel alone.
//!
//! Nothing is asked of a cloud before a channel has its resource there: credentials, region and
//! endpoint are looked up by the first session. All sessions share one pool of connections.

mod failure;
mod place;

use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use headgate_types::ChannelId;
use headgate_types::channel::CloudBinding;
use tokio::sync::OnceCell;

pub use self::failure::Failure;
pub use self::place::{Place, QueueName};

/// Tries of one call within the SDK, for what passes in a moment; beyond that whoever asked has a pace of its own.
const TRIES: u32 = 3;
const ONE_TRY: Duration = Duration::from_secs(20);
const ONE_CALL: Duration = Duration::from_secs(60);

/// What an installation says about the cloud; everything else is found by the SDK.
#[derive(Debug, Clone, Default)]
pub struct CloudSettings {
    /// Where the platform's own role is asked for; None: as the SDK finds it.
    pub region: Option<String>,
    /// Where every service is reached, in place of its public endpoint; None: as the SDK finds it.
    pub endpoint_url: Option<String>,
}

/// Makes sessions. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Cloud(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    settings: CloudSettings,
    platform: OnceCell<SdkConfig>,
}

impl Cloud {
    /// With these settings; asks nothing.
    #[must_use]
    pub fn new(settings: CloudSettings) -> Self {
        Self(Arc::new(Inner { settings, platform: OnceCell::new() }))
    }

    /// Over a configuration that a test has made.
    #[cfg(test)]
    pub(crate) fn of(platform: SdkConfig) -> Self {
        Self(Arc::new(Inner { settings: CloudSettings::default(), platform: OnceCell::new_with(Some(platform)) }))
    }

    /// A session of the platform with one channel's resource. It takes up the channel's role when it is
    /// used first, and again before that ends.
    pub async fn session(&self, channel: ChannelId, cloud: &CloudBinding) -> SdkConfig {
        let platform = self.0.platform.get_or_init(|| self.load()).await;
        let region = Region::new(cloud.region.clone());
        let role = AssumeRoleProvider::builder(&cloud.role)
            .external_id(&cloud.external_id)
            .session_name(format!("headgate-{channel}"))
            .region(region.clone())
            .configure(platform)
            .build()
            .await;
        platform.to_builder().region(region).credentials_provider(SharedCredentialsProvider::new(role)).build()
    }

    async fn load(&self) -> SdkConfig {
        let settings = &self.0.settings;
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .retry_config(RetryConfig::standard().with_max_attempts(TRIES))
            .timeout_config(
                TimeoutConfig::builder().operation_attempt_timeout(ONE_TRY).operation_timeout(ONE_CALL).build(),
            );
        if let Some(region) = &settings.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(url) = &settings.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        loader.load().await
    }
}
