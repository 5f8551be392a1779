//! Where a channel is reached: told with the order, the ready event and the channel's status.

use headgate_catalog::{CatalogError, feeds, subscriptions};
use headgate_database::Tx;
use headgate_types::channel::{Binding, CloudBinding, CloudClient, Direction};
use headgate_types::{ChannelId, ElementId, TenantId};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

/// Where clients reach a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChannelEndpoint {
    /// The start of its addresses, without a slash at its end.
    pub url: String,
    /// The host of `url`, for firewalls and allow-lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The port of `url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Its feeds (data-in) or tables (data-out).
    pub streams: Vec<ChannelStream>,
    /// How clients get in, where a cloud holds the channel and `url` names a resource of it:
    /// `s3://<bucket>`, `sqs://<region>/<account>/<queue>`, `kinesis://<region>/<stream>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud: Option<CloudEndpoint>,
}

/// How clients get at a channel that a cloud holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CloudEndpoint {
    /// The region it is in.
    pub region: String,
    /// The role that the ordered principal takes up; absent where there are access keys instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// What the principal names as external id when it takes up `role`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// Further addresses, for example `dead_letters`.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub further: IndexMap<String, String>,
}

impl CloudEndpoint {
    fn of(binding: &CloudBinding, direction: Direction) -> Self {
        let (role, external_id) = match &binding.client {
            CloudClient::User { .. } => (None, None),
            CloudClient::Role { role, external_id } => (Some(role.clone()), Some(external_id.clone())),
        };
        // Who pushes has nothing to read: notifications and dead letters are the platform's then.
        let further = if direction == Direction::Out { binding.further.clone() } else { IndexMap::new() };
        Self { region: binding.region.clone(), role, external_id, further }
    }
}

/// One feed or table of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChannelStream {
    /// Its name in addresses, tables and files.
    pub name: String,
    /// The element behind it.
    pub element: ElementId,
    /// Where a feed takes payloads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

impl ChannelEndpoint {
    /// The endpoint of a channel: the resource itself where a cloud holds it, else below the data
    /// listener's public address.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn of(
        tx: &mut Tx,
        data_url: &Url,
        tenant: TenantId,
        channel: ChannelId,
        direction: Direction,
        binding: &Binding,
    ) -> Result<Self, CatalogError> {
        let base = data_url.as_str().trim_end_matches('/');
        let cloud = binding.cloud.as_ref().map(|cloud| CloudEndpoint::of(cloud, direction));
        let url = match &cloud {
            Some(_) => binding.url.clone(),
            None => format!("{base}/v1/{direction}/{channel}"),
        };
        let streams = match direction {
            Direction::In => feeds::list(tx, tenant, channel)
                .await?
                .into_iter()
                .map(|feed| ChannelStream {
                    url: cloud.is_none().then(|| format!("{url}/{}", feed.name)),
                    name: feed.name,
                    element: feed.element,
                })
                .collect(),
            Direction::Out => subscriptions::scopes(tx, tenant, channel)
                .await?
                .into_iter()
                .map(|scope| ChannelStream { name: scope.name, element: scope.element, url: None })
                .collect(),
        };
        let listener = data_url.host_str().map(str::to_owned).zip(data_url.port_or_known_default());
        let (host, port) = listener.filter(|_| cloud.is_none()).unzip();
        Ok(Self { url, host, port, streams, cloud })
    }
}
