//! Channels: what is desired of them and what is observed.

mod conditions;
mod lanes;
mod list;
mod spec;
mod state;
mod store;
mod terms;

use chrono::{DateTime, Utc};
use headgate_types::channel::{Binding, ChannelState, Direction};
use headgate_types::limits::Limits;
use headgate_types::selection::Scope;
use headgate_types::{ChannelId, TenantId};
use serde::Serialize;

use crate::feeds::Feed;

pub use conditions::{Condition, NewCondition, condition_holds, conditions, set_condition};
pub use lanes::{Lanes, lanes, set_lanes};
pub use list::{ChannelFilter, list};
pub use spec::{ChannelSpec, FeedSpec, History, InSpec, MAX_FEEDS, MAX_SELECTION, OutSpec, PinnedSize, SpecChange};
pub use state::{ALLOWED, is_allowed};
pub use store::{
    apply_spec, count_open, desired, find, get, heads, insert, set_binding, set_observed, touch, transition, versions,
};
pub(crate) use store::{lock, set_follows};
pub use terms::{FormerTerms, occupied_since};

/// A data-in or data-out channel.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Channel {
    /// Its id.
    pub id: ChannelId,
    /// Its owner.
    pub tenant: TenantId,
    /// Which way it carries data.
    pub direction: Direction,
    /// The channel profile: the key of a technology.
    pub profile: String,
    /// The performance profile: the key of a size.
    pub size: String,
    /// The revision of the profiles the size was priced with.
    pub profile_revision: u32,
    /// For people; need not be unique.
    pub name: String,
    /// Where it is in its life.
    pub state: ChannelState,
    /// Why it is there, where there is something to say.
    pub state_reason: Option<String>,
    /// What is desired.
    pub spec: ChannelSpec,
    /// What its size allows, pinned when it was ordered.
    pub limits: Limits,
    /// Counts the specs, from 1.
    pub generation: u64,
    /// The generation the engine serves; 0 before it serves any.
    pub observed_generation: u64,
    /// Where its resource is, once it is made.
    pub binding: Option<Binding>,
    /// Counts every change of what is desired, its state, binding, lanes and scopes; the ETag.
    /// Conditions and the observed generation do not count.
    pub version: u64,
    /// When it was ordered.
    pub created_at: DateTime<Utc>,
    /// When `version` last changed.
    pub updated_at: DateTime<Utc>,
    /// When it was first ACTIVE: its hours are billed from here.
    pub activated_at: Option<DateTime<Utc>>,
    /// When it was DELETED: its hours are billed to here.
    pub deleted_at: Option<DateTime<Utc>>,
}

/// A channel to be made; it starts in PROVISIONING with generation 1.
#[derive(Debug, Clone, PartialEq)]
pub struct NewChannel {
    /// Its id, made by the caller so that the order can name it.
    pub id: ChannelId,
    /// Its owner.
    pub tenant: TenantId,
    /// The channel profile.
    pub profile: String,
    /// The performance profile.
    pub size: PinnedSize,
    /// For people.
    pub name: String,
    /// What is desired; decides the direction.
    pub spec: ChannelSpec,
}

/// Enough to see whether a channel changed: what the engine polls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelHead {
    /// The owner.
    pub tenant: TenantId,
    /// The channel.
    pub id: ChannelId,
    /// Its state.
    pub state: ChannelState,
    /// Changes whenever something desired changes.
    pub version: u64,
}

/// All that is desired of one channel, read in one transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// The channel.
    pub channel: Channel,
    /// The lanes that should run.
    pub lanes: Lanes,
    /// The feeds of a data-in channel, by name.
    pub feeds: Vec<Feed>,
    /// The resolved scopes of a data-out channel, in the order of the selection.
    pub scopes: Vec<Scope>,
}
