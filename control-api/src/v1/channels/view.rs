//! A channel as it is shown: what is desired and what is observed, apart.

use chrono::{DateTime, Utc};
use headgate_catalog::CatalogError;
use headgate_catalog::channels::{self, Channel, ChannelSpec, Condition};
use headgate_database::Tx;
use headgate_provisioning::ChannelEndpoint;
use headgate_types::channel::{ChannelState, Direction};
use headgate_types::limits::Limits;
use headgate_types::{ChannelId, TenantId};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::etag::ETag;
use crate::state::ApiState;

/// A channel.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ChannelView {
    /// Its id.
    pub id: ChannelId,
    /// Its owner.
    pub tenant: TenantId,
    /// Which way it carries data.
    pub direction: Direction,
    /// Its name.
    pub name: String,
    /// How it carries data.
    pub channel_profile: String,
    /// Its size.
    pub performance_profile: String,
    /// Where it is in its life. An open enum.
    pub state: ChannelState,
    /// What is desired, as ordered.
    pub spec: ChannelSpec,
    /// Counts the specs, from 1.
    pub generation: u64,
    /// What is observed.
    pub status: StatusView,
    /// What its size allows, pinned when it was ordered.
    pub limits: Limits,
    /// The revision of the profiles that the limits are of.
    pub profile_revision: u32,
    /// When it was ordered.
    pub created_at: DateTime<Utc>,
    /// When it last changed, observations aside.
    pub updated_at: DateTime<Utc>,
    /// When it was first ACTIVE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activated_at: Option<DateTime<Utc>>,
    /// When it was removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<DateTime<Utc>>,
    #[serde(skip)]
    version: u64,
}

/// What is observed of a channel.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct StatusView {
    /// Why it is in its state, where there is something to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The generation that is served; behind `generation` while a change is being made.
    pub observed_generation: u64,
    /// One by one; absent in lists.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Where clients reach it; absent in lists and before it is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<ChannelEndpoint>,
}

impl ChannelView {
    /// The tag of what a tenant can change about it; observations do not move it.
    pub(crate) fn etag(&self) -> ETag {
        ETag::version(self.version)
    }

    /// Where it is looked at.
    pub(crate) fn collection(direction: Direction) -> &'static str {
        match direction {
            Direction::In => "/v1/data-in-channels",
            Direction::Out => "/v1/data-out-channels",
        }
    }

    /// The channel with its conditions and addresses.
    pub(crate) async fn full(state: &ApiState, tx: &mut Tx, channel: Channel) -> Result<Self, CatalogError> {
        let (tenant, id, direction) = (channel.tenant, channel.id, channel.direction);
        let binding = channel.binding.clone();
        let mut view = Self::from(channel);
        view.status.conditions = channels::conditions(tx, tenant, id).await?;
        if let Some(binding) = binding {
            let data_url = &state.config.data_url;
            view.status.endpoint = Some(ChannelEndpoint::of(tx, data_url, tenant, id, direction, &binding).await?);
        }
        Ok(view)
    }
}

/// The start of a channel's addresses, without a slash at its end.
pub(crate) fn data_url(state: &ApiState) -> &str {
    state.config.data_url.as_str().trim_end_matches('/')
}

impl From<Channel> for ChannelView {
    fn from(channel: Channel) -> Self {
        Self {
            id: channel.id,
            tenant: channel.tenant,
            direction: channel.direction,
            name: channel.name,
            channel_profile: channel.profile,
            performance_profile: channel.size,
            state: channel.state,
            spec: channel.spec,
            generation: channel.generation,
            status: StatusView {
                reason: channel.state_reason,
                observed_generation: channel.observed_generation,
                conditions: Vec::new(),
                endpoint: None,
            },
            limits: channel.limits,
            profile_revision: channel.profile_revision,
            created_at: channel.created_at,
            updated_at: channel.updated_at,
            activated_at: channel.activated_at,
            deleted_at: channel.deleted_at,
            version: channel.version,
        }
    }
}
