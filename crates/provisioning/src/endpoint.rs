//! Where a channel is reached: told with the order, the ready event and the channel's status.

use headgate_catalog::{CatalogError, feeds, subscriptions};
use headgate_database::Tx;
use headgate_types::channel::Direction;
use headgate_types::{ChannelId, ElementId, TenantId};
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
    /// The endpoint of a channel below the data listener's public address.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn of(
        tx: &mut Tx,
        data_url: &Url,
        tenant: TenantId,
        channel: ChannelId,
        direction: Direction,
    ) -> Result<Self, CatalogError> {
        let base = data_url.as_str().trim_end_matches('/');
        let url = format!("{base}/v1/{direction}/{channel}");
        let streams = match direction {
            Direction::In => feeds::list(tx, tenant, channel)
                .await?
                .into_iter()
                .map(|feed| ChannelStream {
                    url: Some(format!("{url}/{}", feed.name)),
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
        let (host, port) = (data_url.host_str().map(str::to_owned), data_url.port_or_known_default());
        Ok(Self { url, host, port, streams })
    }
}
