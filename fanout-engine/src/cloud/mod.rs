//! Sessions with the cloud that holds a channel's resource, each under the role of that channel alone.
//!
//! Nothing is asked of a cloud before a channel has its resource there: credentials, region and
//! endpoint are looked up by the first session. All sessions share one pool of connections.

mod place;

use std::sync::Arc;
use std::time::Duration;

use headgate_aws::{Failure, Kind, Patience, Reach, Role, SdkConfig};
use headgate_types::ChannelId;
use headgate_types::channel::CloudBinding;
use tokio::sync::OnceCell;

pub use self::place::{Place, QueueName};

/// Whoever asked has a pace of its own.
const PATIENCE: Patience = Patience { tries: 3, one_try: Duration::from_secs(20), one_call: Duration::from_secs(60) };

/// Whether the cloud asks to be asked less often. Of what is asked here, limits are of requests too.
pub fn is_throttle(failure: &Failure) -> bool {
    matches!(failure.kind(), Kind::Throttled | Kind::Limited)
}

/// Makes sessions. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Cloud(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    reach: Reach,
    platform: OnceCell<SdkConfig>,
}

impl Cloud {
    /// Asks nothing.
    #[must_use]
    pub fn new(reach: Reach) -> Self {
        Self(Arc::new(Inner { reach, platform: OnceCell::new() }))
    }

    /// Over a configuration that a test has made.
    #[cfg(test)]
    pub(crate) fn of(platform: SdkConfig) -> Self {
        Self(Arc::new(Inner { reach: Reach::default(), platform: OnceCell::new_with(Some(platform)) }))
    }

    /// A session of the platform with one channel's resource. It takes up the channel's role when it is
    /// used first, and again before that ends.
    pub async fn session(&self, channel: ChannelId, cloud: &CloudBinding) -> SdkConfig {
        let platform = self.0.platform.get_or_init(|| self.0.reach.load(PATIENCE)).await;
        let session = format!("headgate-{channel}");
        let (arn, external_id, region) = (&cloud.role, &cloud.external_id, &cloud.region);
        Role { arn, external_id, session: &session, region }.of(platform).await
    }
}
